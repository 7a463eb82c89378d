#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Device memory of Vulkan programs, in front of a real driver that needs no device: what is charged, refused, shown
and given back, however a program finds its loader and however it ends."""
import glob
import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import Ground, Skip, leave_room, listens, main, need, test, tests, wait_for  # noqa: E402
from told_program import ToldProgram  # noqa: E402

MIB = 1 << 20
BUILD = os.environ["MEMCTL_BUILD"] + "/tests/device"
WAYS = ("linked", "dlsym", "deepbind", "dlmopen", "instance")
OK, NO_MEMORY = 0, -2


class Program(ToldProgram):
    """Its client."""

    def __init__(self, g, group=None, how="dlsym", env=None):
        client = BUILD + ("/vulkan_client_linked" if how == "linked" else "/vulkan_client")
        need(client)
        super().__init__(g, group, [client, how], {**g.vulkan_env, **(env or {})})
        result, self.pid, _ = self.answer()
        assert result == OK, result
        assert self.do("open")[0] == OK

    def heaps(self):
        """Size, budget, usage; and the size that the older call says."""
        both = self.do("show")
        older = self.process.stdout.readline()  # perhaps read already, so there is nothing to select
        assert int(older.split()[0]) == both[0], (older, both)
        return both


class VulkanGround(Ground):
    def __init__(self):
        super().__init__()
        driver = glob.glob("/usr/share/vulkan/icd.d/lvp_icd.*.json")
        self.vulkan_env = {"MEMCTL_DEVICE": "on", "VK_ICD_FILENAMES": driver[0] if driver else "none"}
        for name in ("VK_INSTANCE_LAYERS", "VK_LAYER_PATH", "VK_ADD_LAYER_PATH"):
            self.env.pop(name, None)

    def group(self, limit="max", *more):
        if self.vulkan_env["VK_ICD_FILENAMES"] == "none":
            raise Skip("mesa-vulkan-drivers is missing")
        name = self.new_group()
        self.do("create", name, "dmem.max=all %s" % limit, *more)
        return name

    def rows(self, group, key):
        return [line.rsplit(" ", 1) for line in self.get(group, key).splitlines() if "vulkan/cpu-" in line]

    def current(self, group, key="dmem.current"):
        return sum(int(value) for _, value in self.rows(group, key))

    def events(self, group, name):
        return sum(int(v) for k, v in self.rows(group, "dmem.events") if k.endswith("." + name))

    def empty(self, *groups):
        for group in groups:
            wait_for("%s holds nothing" % group, lambda p=group: self.current(p) == 0)
            self.do("rm", group)


for way in WAYS:
    @test("found by %s: charged, refused at the limit, given back" % way)
    def _(g, way=way):
        group = g.group("64M")
        p = Program(g, group, way)
        assert p.result("alloc %d" % (32 * MIB)) == OK
        assert g.current(group) == 32 * MIB
        assert p.result("alloc %d" % (33 * MIB)) == NO_MEMORY
        assert p.result("alloc %d" % (32 * MIB)) == OK
        assert g.current(group) == 64 * MIB
        assert p.result("give") == OK
        assert g.current(group) == 0
        assert g.current(group, "dmem.peak") == 64 * MIB
        assert g.events(group, "oom") == 1
        p.end()
        g.empty(group)


@test("heaps and budget show the group's share; dmem.view=real shows the device's")
def _(g):
    plain = Program(g).heaps()
    group = g.group("64M")
    p = Program(g, group)
    assert p.heaps() == [64 * MIB, 64 * MIB, 0]
    p.do("alloc %d" % (16 * MIB))
    assert p.heaps() == [64 * MIB, 64 * MIB, 16 * MIB]
    g.do("set", group, "dmem.max=all 32M")
    assert p.heaps() == [32 * MIB, 32 * MIB, 16 * MIB]
    g.do("set", group, "dmem.view=real")
    assert p.heaps() == plain
    p.end()
    g.empty(group)


@test("what a device still has goes with it")
def _(g):
    group = g.group()
    p = Program(g, group)
    for _ in range(100):
        assert p.result("alloc %d" % MIB) == OK
    assert g.current(group) == 100 * MIB
    assert p.result("destroy") == OK
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("memory dedicated to one thing is charged once")
def _(g):
    group = g.group("64M")
    p = Program(g, group)
    assert p.result("dedicated %d" % (48 * MIB)) == OK and g.current(group) == 48 * MIB
    assert p.result("dedicated %d" % (32 * MIB)) == NO_MEMORY
    p.do("give")
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("memory that goes through a descriptor is its creator's, then who has imported it pays")
def _(g):
    for how in ("gives it back", "is killed", "exits"):
        group, other = g.group("64M"), g.group("64M")
        a, b = Program(g, group), Program(g, other)
        assert a.result("shareable %d" % (16 * MIB)) == OK
        result, fd, _ = a.do("export")
        assert result == OK
        pid = a.do("nothing")[1]
        assert b.result("take %d %d %d" % (16 * MIB, fd, pid)) == OK
        assert (g.current(group), g.current(other)) == (16 * MIB, 0)
        if how == "gives it back":
            a.do("give")
        elif how == "is killed":
            os.kill(pid, signal.SIGKILL)
            a.end(128 + signal.SIGKILL)
        else:
            a.end()
        wait_for("it is inherited", lambda: (g.current(group), g.current(other)) == (0, 16 * MIB))
        if how == "is killed":
            assert b.result("destroy") == OK
        else:
            b.do("give")
        assert g.current(other) == 0
        if how == "gives it back":
            a.end()
        b.end()
        g.empty(group, other)


@test("a driver that has no more: its own error, or another try when a shrinker has given some back")
def _(g):
    group = g.group()
    p = Program(g, group)
    leave_room(p.pid, 1536 * MIB)
    assert p.result("alloc %d" % (1024 * MIB)) == OK
    assert p.result("alloc %d" % (1024 * MIB)) == NO_MEMORY and g.current(group) == 1024 * MIB
    assert p.result("shrink") == OK
    listens(p.pid)
    assert p.result("alloc %d" % (1024 * MIB)) == OK and g.current(group) == 1024 * MIB
    assert p.result("alloc %d" % (1 << 50)) == NO_MEMORY and g.current(group) == 1024 * MIB  # what it never has
    p.end()
    g.empty(group)


@test("imported memory is not charged")
def _(g):
    group = g.group("1M")
    p = Program(g, group)
    assert p.result("import %d" % (8 * MIB)) == OK
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("killed: given back")
def _(g):
    group = g.group()
    p = Program(g, group)
    assert p.result("alloc %d" % (48 * MIB)) == OK
    assert g.current(group) == 48 * MIB
    os.kill(p.pid, signal.SIGKILL)
    p.end(128 + signal.SIGKILL)
    g.empty(group)


@test("a child of fork owns nothing of its parent's, and is charged itself")
def _(g):
    group = g.group("32M")
    p = Program(g, group)
    assert p.result("alloc %d" % (16 * MIB)) == OK
    assert p.result("fork %d" % (8 * MIB)) == 0
    wait_for("the child is gone", lambda: g.current(group) == 16 * MIB)
    assert p.result("fork %d" % (17 * MIB)) == 1
    wait_for("the child is gone", lambda: g.current(group) == 16 * MIB)
    p.end()
    g.empty(group)


@test("two processes at the limit: never over it")
def _(g):
    group = g.group("3M")
    both = [Program(g, group), Program(g, group)]
    for p in both:
        p.say("churn %d 20000" % (2 * MIB))
    for p in both:
        p.answer()
    assert g.current(group, "dmem.peak") <= 3 * MIB
    assert g.events(group, "over") == 0
    assert g.current(group) == 0
    for p in both:
        assert p.result("alloc %d" % (1 * MIB)) == OK
    for p in both:
        p.end()
    g.empty(group)


@test("absurd sizes are answered as without us")
def _(g):
    group = g.group()
    answers = []
    for member in (None, group):
        p = Program(g, member)
        answers.append([p.result("alloc %d" % n) for n in (1 << 62, (1 << 63) + 1, (1 << 64) - 1, 1 << 50, 1)])
        p.end()
    assert answers[0] == answers[1], answers
    g.empty(group)


def strip(text):
    """Without what lists layers, ours among them, and the loader's words about them."""
    text = re.sub(r"(?ms)^(Instance Extensions|Layers):.*?(?=^[A-Z][^\n]*\n=+\n|\Z)", "", text)
    return "\n".join(line for line in text.splitlines() if "MEMCTL" not in line)


@test("vulkaninfo tells the same, but for the heap and the layers")
def _(g):
    need("vulkaninfo")
    group = g.group("64M")
    plain = g.spawn(["vulkaninfo"], g.vulkan_env, space=None)
    inside = [g.memctl, "run", "-g", group, "--", "vulkaninfo"]
    limited = g.spawn(inside, g.vulkan_env, space=None)
    g.do("set", group, "dmem.view=real")
    real = g.spawn(inside, g.vulkan_env, space=None)
    assert plain.status == limited.status == real.status == 0, limited
    assert "size" in strip(plain.out)
    assert strip(real.out) == strip(plain.out)
    other = [b for a, b in zip(strip(plain.out).splitlines(), strip(limited.out).splitlines()) if a != b]
    assert other and all("67108864" in line or "budget" in line for line in other), other
    g.empty(group)


def many_devices(g):
    group = g.group("64M")
    p = Program(g, group)
    assert p.result("devices 1100") == OK
    assert p.result("alloc %d" % (32 * MIB)) == OK and g.current(group) == 32 * MIB
    assert p.result("alloc %d" % (48 * MIB)) == NO_MEMORY
    p.end()
    g.empty(group)


@test("the user's layers and paths stay, and children add nothing")
def _(g):
    group = g.group()
    say = ["sh", "-c", "env | grep ^VK_ | sort"]
    run = [g.memctl, "run", "-g", group, "--"]
    for mine, variable in (({"VK_INSTANCE_LAYERS": "mine", "VK_LAYER_PATH": "/mine"}, "VK_LAYER_PATH"),
                           ({"VK_INSTANCE_LAYERS": "mine", "VK_ADD_LAYER_PATH": "/mine"}, "VK_ADD_LAYER_PATH")):
        out = g.spawn([*run, "env", *say], {"MEMCTL_DEVICE": "on", **mine}, space=None).out
        found = dict(line.split("=", 1) for line in out.splitlines())
        assert set(found) == {"VK_INSTANCE_LAYERS", variable}, found
        assert found["VK_INSTANCE_LAYERS"] == "mine:VK_LAYER_MEMCTL_device"
        first, second = found[variable].split(":")
        assert first == "/mine" and os.path.exists(second + "/VK_LAYER_MEMCTL_device.json"), found
    g.do("rm", group)


if os.environ.get("LONG"):  # tens of seconds in the driver
    test("more devices at once than any table is made for")(many_devices)
if os.environ.get("ONLY"):
    tests[:] = [t for t in tests if os.environ["ONLY"] in t[0]]
sys.exit(main(VulkanGround))
