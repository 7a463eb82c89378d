#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Device memory that several processes have, by descriptor or by handle: charged to its creator, and when that gave it
back or is gone, to who still has it open; to nobody when nobody has."""
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import MIB, NO_MEMORY, OK, REGION, DeviceGround, Program, hand_over  # noqa: E402
from real_programs import main, test, tests, wait_for  # noqa: E402

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


for By_ in (Descriptor, Handle):
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
           ("cuIpcOpenMemHandle_v2", "open", Handle), ("cuMemFree_v2", "give", Handle), ("cuIpcCloseMemHandle", "close", Handle)]


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
