# SPDX-License-Identifier: MIT
"""A CUDA program by dictation, in front of the driver without a device: tests/device/client and fake_*."""
import os
import signal

from real_programs import Ground, wait_for
from told_program import ToldProgram

MIB = 1 << 20
GIB = 1 << 30
BUILD = os.environ["MEMCTL_BUILD"] + "/tests/device"
OK, INVALID, NO_MEMORY, UNINITIALIZED, NO_CONTEXT, BAD_HANDLE, UNSUPPORTED = 0, 1, 2, 3, 201, 400, 801
REGION = "cuda/GPU-fafbfcfd-feff-0001-0203-040506070809/vram"
SECOND = "cuda/GPU-0a0b0c0d-0e0f-1011-1213-141516171819/vram"


def read(text):
    return [int(float(word)) for word in text.split()]


class Program(ToldProgram):
    """Its client."""

    def __init__(self, g, group=None, how="dlsym", env=None, options=()):
        client = BUILD + ("/client_linked" if how == "linked" else "/client")
        super().__init__(g, group, [client, how], {**g.device_env, **(env or {})}, options)
        self.how = how

    def read(self, line):
        return read(line)

    def begin(self, device=0):
        assert self.result("init") == OK
        assert self.result("context %d" % device) == OK  # kept as 0
        return self

    def keep(self, line):
        """Done, and its number."""
        result, at, _ = self.do(line)
        assert result == OK, (line, result)
        return at

    def kill(self):
        pid = self.do("pid")[1]
        os.kill(pid, signal.SIGKILL)
        self.end(128 + signal.SIGKILL)


def hand_over(g, giver, taker, fd):
    """The same open file, in another process."""
    path = g.path("socket-%d" % fd)
    assert taker.do("receive " + path) == [OK, 0]
    assert giver.result("send %d %s" % (fd, path)) == OK
    return taker.answer()[1]


class DeviceGround(Ground):
    def __init__(self):
        super().__init__()
        self.fresh()

    def fresh(self, **settings):
        """A new machine, with empty devices."""
        self.device_env = {"LD_LIBRARY_PATH": BUILD + "/driver:" + self.env.get("LD_LIBRARY_PATH", ""),
                           "MEMCTL_DEVICE": "on",
                           "FAKE_CUDA_STATE": self.path("state-%d" % self.groups)}
        self.device_env.update({"FAKE_CUDA_" + k.upper(): str(v) for k, v in settings.items()})

    def group(self, limit="max", **settings):
        name = self.new_group()
        self.do("create", name, "dmem.max=all %s" % limit)
        self.fresh(**settings)
        return name

    def table(self, group, key):
        return dict((k, v) for k, v in (line.rsplit(" ", 1) for line in self.get(group, key).splitlines()))

    def number(self, group, key, region=REGION):
        return int(self.table(group, key).get(region, "0"))

    def current(self, group, region=REGION):
        return self.number(group, "dmem.current", region)

    def empty(self, *groups):
        for group in (*groups, "/"):
            wait_for("%s holds nothing on devices" % group, lambda p=group: self.current(p) == 0 and self.current(p, SECOND) == 0)
        for group in groups:
            self.do("rm", group)
