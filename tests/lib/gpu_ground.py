# SPDX-License-Identifier: MIT
"""A ground with the machine's own device in place of the fake one; skipped where there is none."""
import ctypes
import os

from cuda_program import MIB, OK, DeviceGround, Program
from real_programs import Skip, wait_for

SLACK = 8 * MIB  # what drivers round up, and take for a context meanwhile


def why_not():
    """Why nothing can be tested here; None: it can."""
    if not os.path.exists("/dev/nvidiactl") and not os.path.exists("/dev/dxg"):
        return "no NVIDIA device on this machine"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as e:
        return "no CUDA driver: %s" % e
    count = ctypes.c_int(0)
    result = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if result or not count.value:
        return "the CUDA driver finds no device (result %d)" % result
    return None


class GpuGround(DeviceGround):
    reason = why_not()

    def __init__(self):
        super().__init__()
        self.region = None

    def fresh(self, **settings):
        self.device_env = {"MEMCTL_DEVICE": "on"}

    def group(self, limit="max", **settings):
        if self.reason:
            raise Skip(self.reason)
        return super().group(limit)

    def begin(self, group, how="dlsym", space="max"):
        """A program with a context on the first device, and what that takes; then its group may have `space` more."""
        p = Program(self, group, how).begin()
        self.region = self.region or next(iter(self.table("/", "dmem.capacity")))
        base = self.held(group)
        if space != "max":
            self.do("set", group, "dmem.max=%s %d" % (self.region, base + space))
        return p, base

    def held(self, group):
        return self.number(group, "dmem.current", self.region)

    def finish(self, *groups):
        for group in groups:
            wait_for("%s holds nothing" % group, lambda p=group: self.held(p) == 0)
            self.do("rm", group)


__all__ = ["GpuGround", "OK", "SLACK"]
