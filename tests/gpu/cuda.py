#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What tests/device/cuda.py and sharing.py try in front of a driver without a device, on a real one: programs of the
driver's interface alone. Needs a few hundred MiB of the first device."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import MIB, NO_MEMORY, OK, Program, hand_over  # noqa: E402
from gpu_ground import SLACK, GpuGround  # noqa: E402
from real_programs import main, test, tests, wait_for  # noqa: E402

WAYS = ("dlsym", "deepbind", "default", "dlmopen", "gpa1", "gpa2", "streams")


for way in WAYS:
    @test("found by %s: charged, refused at the limit, given back" % way)
    def _(g, way=way):
        group = g.group()
        p, base = g.begin(group, way, 256 * MIB)
        a = p.keep("alloc 64M")
        assert g.held(group) == base + 64 * MIB
        assert p.result("alloc 200M") == NO_MEMORY
        result, free, total = p.do("info")
        assert result == OK and free <= 192 * MIB and total <= base + 256 * MIB
        assert p.result("free %d" % a) == OK and g.held(group) == base
        p.end()
        g.finish(group)


@test("what a context takes is charged, and goes with it")
def _(g):
    group = g.group()
    p, base = g.begin(group)
    assert base > 0 and int(g.table(group, "dmem.stat")[g.region + ".context"]) == base
    assert p.result("destroy 0") == OK and g.held(group) <= base
    p.end()
    g.finish(group)


@test("rows, managed memory, arrays and mipmaps")
def _(g):
    group = g.group()
    p, base = g.begin(group, space=256 * MIB)
    for make, end, least in (("pitch 1000 65536", "free", 62 * MIB), ("managed 64M", "free", 64 * MIB),
                             ("array 1024 1024", "endarray", 16 * MIB), ("mipmap 1024 1024 4", "endmipmap", 21 * MIB)):
        at = p.keep(make)
        assert least <= g.held(group) - base <= 2 * least + SLACK, make
        assert p.result("%s %d" % (end, at)) == OK and g.held(group) == base, make
    assert p.result("array 8192 8192") == NO_MEMORY and p.result("managed 300M") == NO_MEMORY
    p.end()
    g.finish(group)


@test("stream-ordered memory: what the pool has reserved, trimmed before a refusal")
def _(g):
    group = g.group()
    p, base = g.begin(group, space=256 * MIB)
    a = p.keep("async 64M")
    assert 64 * MIB <= g.held(group) - base <= 64 * MIB + 4 * SLACK
    assert p.result("async 300M") == NO_MEMORY
    pool = p.keep("standard 0")
    assert p.result("threshold %d 1G" % pool) == OK
    assert p.result("freeasync %d" % a) == OK and p.result("sync") == OK
    assert g.held(group) - base >= 64 * MIB
    p.keep("alloc 240M")
    assert g.held(group) - base <= 256 * MIB
    p.end()
    g.finish(group)


@test("physical memory goes with its last handle and its last mapping")
def _(g):
    group = g.group()
    p, base = g.begin(group, space=64 * MIB)
    va = p.keep("range 256M")
    for _ in range(3):
        h = p.keep("create 32M 0")
        assert p.result("map %d 0 32M %d" % (va, h)) == OK and p.result("drop %d" % h) == OK
        assert g.held(group) == base + 32 * MIB
        assert p.result("unmap %d 0 32M" % va) == OK and g.held(group) == base
    p.end()
    g.finish(group)


@test("captured allocations are charged when they are launched")
def _(g):
    group = g.group()
    p, base = g.begin(group)
    s = p.keep("stream")
    assert p.result("capture %d" % s) == OK
    p.keep("async 32M %d" % s)
    graph = p.keep("captured %d" % s)
    run = p.keep("instantiate %d" % graph)
    assert p.result("launch %d" % run) == OK
    assert g.held(group) - base >= 32 * MIB
    p.end()
    g.finish(group)


@test("memory that two processes have: its creator is killed, the other one inherits")
def _(g):
    for by in ("descriptor", "handle"):
        group, other = g.group(), g.group()
        (a, _), (b, base) = g.begin(group), g.begin(other)
        if by == "descriptor":
            h = a.keep("shareable 32M 0")
            result, _, fd = a.do("export %d" % h)
            assert result == OK
            at = b.keep("import %d" % hand_over(g, a, b, fd))
        else:
            h = a.keep("alloc 32M")
            assert a.result("share %d %s" % (h, g.path("handle"))) == OK
            at = b.keep("open " + g.path("handle"))
        assert g.held(other) == base
        a.kill()
        wait_for("it is inherited", lambda: g.held(other) == base + 32 * MIB and g.held(group) == 0)
        assert b.result("%s %d" % ("drop" if by == "descriptor" else "close", at)) == OK and g.held(other) == base
        b.end()
        g.finish(group, other)


@test("killed with whatever it held, nothing is left")
def _(g):
    group = g.group()
    p, _ = g.begin(group)
    for line in ("alloc 32M", "async 32M", "array 1024 1024", "create 8M 0", "managed 16M"):
        p.keep(line)
    p.kill()
    g.finish(group)


@test("two processes at the limit: never over, and each gets what fits")
def _(g):
    group = g.group()
    pair = [g.begin(group)[0] for _ in range(2)]
    g.do("set", group, "dmem.max=%s %d" % (g.region, g.held(group) + 64 * MIB))
    limit = int(g.table(group, "dmem.max")[g.region])
    for p in pair:
        p.say("churn 5000 40M")
    for p in pair:
        result, done, refused = p.answer()
        assert result == OK and done + refused == 5000 and done > 0
    assert g.number(group, "dmem.peak", g.region) <= limit
    for p in pair:
        p.end()
    g.finish(group)


BAD = ["alloc 1M", "info", "init", "alloc 1M", "allocnull 1M", "context 0", "alloc 0", "allocnull 1M", "alloc 17T", "pitch 0 5",
       "managed 0", "async 0", "freeraw 4096", "create 0 0", "create 1 0", "array 0 0", "infonull", "total 99"]


@test("what the driver refuses, it refuses by itself")
def _(g):
    answers = []
    for group in (None, g.group()):
        p = Program(g, group)
        answers.append([(line, p.result(line)) for line in BAD])
        p.end()
    assert answers[0] == answers[1], answers


if os.environ.get("ONLY"):
    tests[:] = [t for t in tests if os.environ["ONLY"] in t[0]]
sys.exit(main(GpuGround))
