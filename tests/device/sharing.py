#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Device memory that several processes have, by descriptor or by handle: charged to its creator, and when that gave it
back or is gone, to who still has it open; to nobody when nobody has."""
import glob
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import (BAD_HANDLE, BUILD, INVALID, MIB, NO_MEMORY, OK, REGION, DeviceGround, Program,  # noqa: E402
                          hand_over)
from real_programs import Skip, main, need, test, tests, wait_for  # noqa: E402
from told_program import ToldProgram  # noqa: E402

ENDS = ("gives it back", "exits", "is killed", "becomes another program")


class By:
    """A way to share: what is made, made known, opened and closed."""

    def __init__(self, g):
        self.g = g


class Descriptor(By):
    title = "a descriptor"

    def make(self, p):
        self.at = p.keep("create 32M 0")

    def give(self, p):
        assert p.result("drop %d" % self.at) == OK

    def lend(self, p):
        result, _, self.fd = p.do("export %d" % self.at)
        assert result == OK

    def open(self, giver, taker):
        fd = hand_over(self.g, giver, taker, self.fd)
        at = taker.keep("import %d" % fd)
        assert taker.result("closefd %d" % fd) == OK
        return at

    def close(self, p, at):
        assert p.result("drop %d" % at) == OK


class Handle(By):
    title = "a handle of 64 bytes"

    def make(self, p):
        self.at = p.keep("alloc 32M")

    def give(self, p):
        assert p.result("free %d" % self.at) == OK

    def lend(self, p):
        assert p.result("share %d %s" % (self.at, self.g.path("handle"))) == OK

    def open(self, giver, taker):
        return taker.keep("open " + self.g.path("handle"))

    def close(self, p, at):
        assert p.result("close %d" % at) == OK


class External(Descriptor):
    title = "a descriptor, as another API's"

    def open(self, giver, taker):
        return taker.keep("external %d 32M" % hand_over(self.g, giver, taker, self.fd))

    def close(self, p, at):
        assert p.result("endexternal %d" % at) == OK


class Pooled(By):
    title = "a pool"

    def make(self, p):
        self.pool = p.keep("poolof 1 0 1 1")
        self.at = p.keep("frompool 32M %d" % self.pool)

    def give(self, p):
        assert p.result("freeasync %d" % self.at) == OK and p.result("sync") == OK

    def lend(self, p):
        assert p.result("exportptr %d %s" % (self.at, self.g.path("pointer"))) == OK
        result, _, self.fd = p.do("exportpool %d" % self.pool)
        assert result == OK

    def open(self, giver, taker):
        fd = hand_over(self.g, giver, taker, self.fd)
        pool = taker.keep("importpool %d" % fd)
        assert taker.result("closefd %d" % fd) == OK
        return taker.keep("importptr %d %s" % (pool, self.g.path("pointer")))

    def close(self, p, at):
        assert p.result("free %d" % at) == OK


def used(g):
    """What is in use of the device, whoever has it."""
    p = Program(g).begin()
    value = p.do("nvml1 0")[3]
    p.end()
    return value


def finish(p, how, way):
    if how == "gives it back":
        way.give(p)
    elif how == "exits":
        p.end()
    elif how == "is killed":
        p.kill()
    else:
        p.do("exec")


def nothing(g, *groups):
    g.empty(*groups)
    assert used(g) == 0, used(g)


for By_ in (Descriptor, Handle, External, Pooled):
    for how in ENDS:
        @test("by %s: its creator %s, who has opened it pays" % (By_.title, how))
        def _(g, By_=By_, how=how):
            group, other = g.group("64M"), g.new_group()
            g.do("create", other, "dmem.max=all 16M")
            way, a, b = By_(g), Program(g, group).begin(), Program(g, other).begin()
            way.make(a)
            way.lend(a)
            opened = way.open(a, b)
            assert (g.current(group), g.current(other)) == (32 * MIB, 0)
            finish(a, how, way)
            wait_for("it is inherited", lambda: (g.current(group), g.current(other)) == (0, 32 * MIB))
            assert b.result("alloc 1M") == NO_MEMORY  # beyond the limit, by what could not be refused
            assert int(g.table(other, "dmem.events")[REGION + ".max"]) > 0
            way.close(b, opened)
            assert g.current(other) == 0
            b.keep("alloc 16M")
            b.end()
            if how in ("gives it back", "becomes another program"):
                a.end()
            nothing(g, group, other)

    @test("by %s: who has opened it dies first, or closes it" % By_.title)
    def _(g, By_=By_):
        group, other = g.group("64M"), g.group("64M")
        way, a, b, c = By_(g), Program(g, group).begin(), Program(g, other).begin(), Program(g, other).begin()
        way.make(a)
        way.lend(a)
        way.open(a, b)
        opened = way.open(a, c)
        b.kill()
        way.close(c, opened)
        assert (g.current(group), g.current(other)) == (32 * MIB, 0)
        way.give(a)
        assert (g.current(group), g.current(other)) == (0, 0)
        a.end()
        c.end()
        nothing(g, group, other)

    @test("by %s: one heir after another, in the group that each is in" % By_.title)
    def _(g, By_=By_):
        groups = [g.group() for _ in range(3)]
        way, ps = By_(g), [Program(g, group).begin() for group in groups]
        way.make(ps[0])
        way.lend(ps[0])
        twice = [way.open(ps[0], ps[1]) for _ in range(2)]
        way.open(ps[0], ps[2])
        ps[0].kill()
        wait_for("the first inherits", lambda: [g.current(x) for x in groups] == [0, 32 * MIB, 0])
        way.close(ps[1], twice[0])
        assert [g.current(x) for x in groups] == [0, 32 * MIB, 0]
        way.close(ps[1], twice[1])
        assert [g.current(x) for x in groups] == [0, 0, 32 * MIB]
        ps[2].kill()
        ps[1].end()
        nothing(g, *groups)

    @test("by %s: a daemon that is killed is followed by one that knows" % By_.title)
    def _(g, By_=By_):
        group, other = g.group(), g.group()
        way, a, b = By_(g), Program(g, group).begin(), Program(g, other).begin()
        way.make(a)
        way.lend(a)
        opened = way.open(a, b)
        pid = int(next(line.split()[1] for line in g.do("daemon", "status").splitlines() if line.startswith("pid")))
        os.kill(pid, signal.SIGKILL)
        g.do("daemon", "start")
        a.kill()
        wait_for("it is inherited", lambda: (g.current(group), g.current(other)) == (0, 32 * MIB))
        way.close(b, opened)
        assert g.current(other) == 0
        b.end()
        nothing(g, group, other)


# Call, who makes it, in which way to share.
CRASHES = [("cuMemExportToShareableHandle", "lend", Descriptor), ("cuMemImportFromShareableHandle", "open", Descriptor),
           ("cuMemRelease", "give", Descriptor), ("cuMemRelease", "close", Descriptor), ("cuIpcGetMemHandle", "lend", Handle),
           ("cuIpcOpenMemHandle_v2", "open", Handle), ("cuMemFree_v2", "give", Handle), ("cuIpcCloseMemHandle", "close", Handle),
           ("cuImportExternalMemory", "open", External), ("cuDestroyExternalMemory", "close", External),
           ("cuMemPoolExportPointer", "lend", Pooled), ("cuMemPoolImportFromShareableHandle", "open", Pooled),
           ("cuMemPoolImportPointer", "open", Pooled), ("cuMemFreeAsync", "give", Pooled), ("cuMemFree_v2", "close", Pooled)]


def go_through(way, a, b, step):
    way.make(a)
    way.lend(a)
    way.opened = way.open(a, b)
    if step == "give":
        way.give(a)
    else:
        way.close(b, way.opened)


@test("killed in any of these calls, before or after the driver has done it: exact, and nobody hangs")
def _(g):
    for call, step, By_ in CRASHES:
        for where in ("before", "after"):
            group, other = g.group(), g.group()
            crash = {"FAKE_CUDA_CRASH": "%s:1:%s" % (call, where)}
            first = step in ("lend", "give")
            way = By_(g)
            a, b = Program(g, group, env=crash if first else None).begin(), Program(g, other, env=None if first else crash).begin()
            try:
                go_through(way, a, b, step)
                died = False
            except AssertionError as e:
                died = "no answer" in str(e)
            assert died, call
            (a if first else b).end(128 + signal.SIGKILL)
            want = (0, 32 * MIB) if step == "give" else (0, 0) if first else (32 * MIB, 0)
            wait_for("%s, %s: who is left pays" % (call, where), lambda: (g.current(group), g.current(other)) == want)
            if step == "give":
                way.close(b, way.opened)
            (b if first else a).end()
            nothing(g, group, other)


@test("a handle that is mapped, released and unmapped in another process")
def _(g):
    group, other = g.group(), g.group()
    way, a, b = Descriptor(g), Program(g, group).begin(), Program(g, other).begin()
    way.make(a)
    way.lend(a)
    at = way.open(a, b)
    va = b.keep("range 64M")
    assert b.result("map %d 0 32M %d" % (va, at)) == OK
    way.close(b, at)
    way.give(a)
    assert (g.current(group), g.current(other)) == (0, 32 * MIB)
    assert b.result("unmap %d 0 32M" % va) == OK
    assert (g.current(group), g.current(other)) == (0, 0)
    a.end()
    b.end()
    nothing(g, group, other)


@test("opened when its creator has long gone")
def _(g):
    group, other = g.group(), g.group()
    way, a, b = Descriptor(g), Program(g, group).begin(), Program(g, other).begin()
    way.make(a)
    way.lend(a)
    fd = hand_over(g, a, b, way.fd)
    a.kill()
    wait_for("its creator is settled", lambda: g.current(group) == 0)
    at = b.keep("import %d" % fd)
    assert g.current(other) == 32 * MIB
    way.close(b, at)
    b.end()
    nothing(g, group, other)


@test("what another API has made lives as long as its object or anything mapped of it")
def _(g):
    group, other = g.group(), g.group()
    way, a, b = External(g), Program(g, group).begin(), Program(g, other).begin()
    way.make(a)
    way.lend(a)
    opened = way.open(a, b)
    mapped = [b.keep("buffer %d 16M" % opened), b.keep("buffer %d 4M" % opened), b.keep("mipmapof %d" % opened)]
    assert b.result("buffer %d 64M" % opened) == INVALID
    way.give(a)
    assert (g.current(group), g.current(other)) == (0, 32 * MIB)
    way.close(b, opened)
    assert b.result("endexternal %d" % opened) == BAD_HANDLE and b.result("buffer %d 1M" % opened) == BAD_HANDLE
    for at, end in zip(mapped, ("free", "free", "endmipmap")):
        assert g.current(other) == 32 * MIB
        assert b.result("%s %d" % (end, at)) == OK
    assert b.result("free %d" % mapped[0]) == INVALID and b.result("endmipmap %d" % mapped[2]) == BAD_HANDLE
    assert g.current(other) == 0
    for p in (a, b):
        assert "partial" not in g.do("ps", group) + g.do("ps", other)
        p.end()
    nothing(g, group, other)


@test("what made it has it opened, too: charged once, until both are gone")
def _(g):
    for first, second, heir in (("drop", "endexternal", False), ("endexternal", "drop", False), ("drop", "endexternal", True),
                                ("drop", None, True), ("endexternal", None, True)):
        group, other = g.group("32M"), g.group()
        way, a, b = External(g), Program(g, group).begin(), Program(g, other).begin()
        way.make(a)
        way.lend(a)
        opened = way.open(a, b) if heir else None
        own = {"drop": way.at, "endexternal": a.keep("external %d 32M" % way.fd)}
        assert g.current(group) == 32 * MIB and a.result("alloc 1M") == NO_MEMORY
        assert a.result("%s %d" % (first, own[first])) == OK
        assert (g.current(group), g.current(other)) == (32 * MIB, 0), (first, second)
        if second:
            assert a.result("%s %d" % (second, own[second])) == OK
            assert (g.current(group), g.current(other)) == (0, 32 * MIB if heir else 0)
            a.end()
        else:
            a.kill()
            wait_for("it is inherited", lambda: (g.current(group), g.current(other)) == (0, 32 * MIB))
        if heir:
            way.close(b, opened)
        b.end()
        nothing(g, group, other)


@test("a context that ends takes what is another API's along, and what is mapped of it")
def _(g):
    group, other = g.group(), g.group()
    way, a = External(g), Program(g, group).begin()
    for end in ("destroy 0", "reset 0"):
        b = Program(g, other)
        assert b.result("init") == OK
        if end == "destroy 0":
            b.keep("context 0")
        else:
            assert b.result("current %d" % b.keep("retain 0")) == OK
        way.make(a)
        way.lend(a)
        opened = way.open(a, b)
        b.keep("buffer %d 16M" % opened)
        b.keep("mipmapof %d" % opened)
        way.give(a)
        assert g.current(other) == 32 * MIB
        assert b.result(end) == OK and g.current(other) == 0
        b.end()
    a.end()
    nothing(g, group, other)


@test("what Vulkan has made, CUDA imports: charged once, in Vulkan's region, to who has it")
def _(g):
    driver = glob.glob("/usr/share/vulkan/icd.d/lvp_icd.*.json")
    need(BUILD + "/vulkan_client")
    if not driver:
        raise Skip("mesa-vulkan-drivers is missing")
    group, other = g.group("64M"), g.group("64M")

    def held(name):
        return sum(int(value) for region, value in g.table(name, "dmem.current").items() if region.startswith("vulkan/"))

    a = ToldProgram(g, group, [BUILD + "/vulkan_client", "dlsym"], {**g.device_env, "VK_ICD_FILENAMES": driver[0]})
    assert a.answer()[0] == OK and a.do("open")[0] == OK
    b = Program(g, other).begin()
    assert a.result("shareable %d" % (16 * MIB)) == OK
    result, fd, _ = a.do("export")
    assert result == OK
    result, fd = b.do("descriptor %d %d" % (a.do("nothing")[1], fd))
    assert result == OK
    opened = b.keep("external %d 16M" % fd)
    buffer = b.keep("buffer %d 16M" % opened)
    assert (held(group), held(other), g.current(other)) == (16 * MIB, 0, 0)
    a.process.communicate()
    wait_for("it is inherited", lambda: (held(group), held(other)) == (0, 16 * MIB))
    assert b.result("endexternal %d" % opened) == OK and held(other) == 16 * MIB
    assert b.result("free %d" % buffer) == OK and held(other) == 0
    b.end()
    nothing(g, group, other)


@test("a pool that is imported hands out nothing; what it does not share cannot be imported")
def _(g):
    group, other = g.group(), g.group("4M")
    way, a, b = Pooled(g), Program(g, group).begin(), Program(g, other).begin()
    way.make(a)
    way.lend(a)
    fd = hand_over(g, a, b, way.fd)
    pool = b.keep("importpool %d" % fd)
    assert b.result("frompool 1M %d" % pool) == INVALID
    own = b.keep("pool 0")
    at = b.keep("frompool 2M %d" % own)
    assert b.result("exportptr %d %s" % (at, g.path("no"))) == INVALID and b.result("exportpool %d" % own) == INVALID
    assert b.result("importptr %d %s" % (own, g.path("pointer"))) == INVALID  # of no import
    assert b.result("importptr %d %s" % (pool, g.path("none"))) == INVALID
    opened = b.keep("importptr %d %s" % (pool, g.path("pointer")))
    assert g.current(other) == 2 * MIB
    assert b.result("freeasync %d" % at) == OK and b.result("sync") == OK and g.current(other) == 0
    assert b.result("destroy 0") == OK  # what is a pool's is no context's
    way.give(a)
    assert (g.current(group), g.current(other)) == (0, 32 * MIB)
    b.keep("context 0")
    assert b.result("freeasync %d" % opened) == OK and b.result("freeasync %d" % opened) == INVALID
    assert g.current(other) == 0
    assert b.result("endpool %d" % pool) == OK and b.result("endpool %d" % pool) == INVALID
    assert "partial" not in g.do("ps", group) + g.do("ps", other)
    a.end()
    b.end()
    nothing(g, group, other)


@test("a context that ends takes what was opened in it along")
def _(g):
    group, other = g.group(), g.group()
    way, a, b = Handle(g), Program(g, group).begin(), Program(g, other).begin()
    way.make(a)
    way.lend(a)
    way.open(a, b)
    way.give(a)
    assert g.current(other) == 32 * MIB
    assert b.result("destroy 0") == OK and g.current(other) == 0
    a.end()
    b.end()
    nothing(g, group, other)


@test("many at once, each by a name of its own; who has one of a program that is not charged does not pay")
def _(g):
    group, other = g.group(), g.group()
    a, b, plain = Program(g, group).begin(), Program(g, other).begin(), Program(g).begin()
    ways = [Descriptor(g) for _ in range(70)]
    for way in ways:
        way.make(a)
        way.lend(a)
    opened = [way.open(a, b) for way in ways]
    for way in ways[:35]:
        way.give(a)
    assert (g.current(group), g.current(other)) == (35 * 32 * MIB, 35 * 32 * MIB)
    for way, at in zip(ways, opened):
        way.close(b, at)
    assert (g.current(group), g.current(other)) == (35 * 32 * MIB, 0)
    assert "partial" not in g.do("ps", group)
    free = Descriptor(g)
    free.make(plain)
    free.lend(plain)
    free.open(plain, b)
    assert g.current(other) == 0
    for p in (plain, a, b):
        p.end()
    nothing(g, group, other)


if os.environ.get("ONLY"):
    tests[:] = [t for t in tests if os.environ["ONLY"] in t[0]]
sys.exit(main(DeviceGround))
