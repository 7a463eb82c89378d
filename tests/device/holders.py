#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What keeps device memory alive beside its own address or handle: sparse arrays, multicast objects, pools that were
ended; and contexts that have no memory of their own. Charged until the last of them is gone, and not longer."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import (BAD_HANDLE, INVALID, MIB, NO_CONTEXT, NO_MEMORY, OK, REGION, SECOND, UNSUPPORTED,  # noqa: E402
                          DeviceGround, Program)
from real_programs import main, test, tests  # noqa: E402

TILE = 64  # of 16 bytes an element: 64 KiB


def used(p):
    """What the driver says is in use, whatever we charge."""
    return p.do("nvml1 0")[3]


def finish(g, p, group):
    assert "partial" not in g.do("ps", group)
    p.end()
    g.empty(group)


# ---- sparse arrays ----------------------------------------------------------------------------------------------------

@test("memory that is mapped into a sparse array lives on without its handle: nothing passes the limit")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    arrays = [p.keep("sparse 2048 2048") for _ in range(3)]
    for i, array in enumerate(arrays):
        result, memory, _ = p.do("create 32M 0")
        assert result == (OK if i < 2 else NO_MEMORY)
        if result == OK:
            assert p.result("tiles %d %d 0 0 1024 1024" % (array, memory)) == OK and p.result("drop %d" % memory) == OK
            assert g.current(group) == (i + 1) * 32 * MIB
    assert p.result("endarray %d" % arrays[0]) == OK and g.current(group) == 32 * MIB
    assert p.result("tiles %d - 0 0 1024 1024" % arrays[1]) == OK and g.current(group) == 0
    finish(g, p, group)


@test("tiles are unmapped in other parts than they were mapped in; the last one counts")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    array, memory = p.keep("sparse 1024 1024"), p.keep("create 16M 0")
    assert p.result("tiles %d %d 0 0 1024 1024" % (array, memory)) == OK
    assert p.result("drop %d" % memory) == OK
    assert p.result("tiles %d - %d 0 %d 1024" % (array, TILE, 1024 - TILE)) == OK  # all columns but one
    for y in range(0, 1024, TILE):
        assert g.current(group) == 16 * MIB
        assert p.result("tilesptsz %d - 0 %d %d %d" % (array, y, TILE, TILE)) == OK
    assert g.current(group) == 0
    finish(g, p, group)


@test("what is mapped over another memory takes its place")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    array = p.keep("sparse 512 512")
    first, second = p.keep("create 16M 0"), p.keep("create 8M 0")
    assert p.result("tiles %d %d 0 0 512 512" % (array, first)) == OK
    assert p.result("drop %d" % first) == OK and g.current(group) == 24 * MIB
    assert p.result("tiles %d %d 0 0 512 256" % (array, second)) == OK and g.current(group) == 24 * MIB
    assert p.result("tiles %d %d 0 256 512 256" % (array, second)) == OK and g.current(group) == 8 * MIB
    assert p.result("tiles %d %d 0 0 512 512" % (array, second)) == OK  # by itself
    assert p.result("drop %d" % second) == OK and g.current(group) == 8 * MIB
    assert p.result("endarray %d" % array) == OK and g.current(group) == 0
    finish(g, p, group)


@test("in a mipmap each level and its tail hold what is mapped there")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    array = p.keep("sparsemip 512 512 8")
    memory = [p.keep("create 4M 0") for _ in range(3)]
    assert p.result("tilesmip %d %d 0 0 512 512 0" % (array, memory[0])) == OK
    assert p.result("tilesmip %d %d 0 0 256 256 1" % (array, memory[1])) == OK
    assert p.result("tail %d %d 0 65536" % (array, memory[2])) == OK
    for each in memory:
        assert p.result("drop %d" % each) == OK
    assert g.current(group) == 12 * MIB
    assert p.result("tilesmip %d - 0 0 512 512 0" % array) == OK and g.current(group) == 8 * MIB
    assert p.result("tail %d - 0 65536" % array) == OK and g.current(group) == 4 * MIB
    assert p.result("endmipmap %d" % array) == OK and g.current(group) == 0
    finish(g, p, group)


@test("an array whose mapping is deferred is mapped as a whole")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    array, memory = p.keep("deferred 512 512"), p.keep("create 4M 0")
    assert p.result("tiles %d %d 0 0 512 512" % (array, memory)) == OK and p.result("drop %d" % memory) == OK
    assert g.current(group) == 4 * MIB
    assert p.result("endarray %d" % array) == OK and g.current(group) == 0
    finish(g, p, group)


@test("what a driver does not map is not counted as mapped")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    array, plain, memory = p.keep("sparse 512 512"), p.keep("array 64 64"), p.keep("create 4M 0")
    held = g.current(group)
    for line in ("tiles %d %d 1 0 64 64" % (array, memory), "tiles %d %d 0 0 1024 64" % (array, memory),
                 "tiles %d %d 0 0 64 64" % (plain, memory), "tiles %d %d 0 0 64 64" % (memory, memory),
                 "tilesmip %d %d 0 0 64 64 0" % (array, memory), "tiles %d %d 0 0 64 64" % (array, array)):
        assert p.result(line) == INVALID, line
    assert p.result("drop %d" % memory) == OK and g.current(group) == held - 4 * MIB
    assert p.result("tiles %d %d 0 0 64 64" % (array, memory)) == INVALID  # it is gone
    assert p.result("endarray %d" % array) == OK and p.result("endarray %d" % array) == BAD_HANDLE
    assert p.result("endarray %d" % plain) == OK and g.current(group) == 0
    finish(g, p, group)


@test("a context that ends takes sparse arrays along, and what is mapped into them")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    array, memory = p.keep("sparse 512 512"), p.keep("create 4M 0")
    assert p.result("tiles %d %d 0 0 512 512" % (array, memory)) == OK and p.result("drop %d" % memory) == OK
    assert g.current(group) == 4 * MIB
    assert p.result("destroy 0") == OK and g.current(group) == 0
    finish(g, p, group)


@test("memory of another process, mapped into an array and closed: its heir holds it")
def _(g):
    group, other = g.group(), g.group()
    a, b = Program(g, group).begin(), Program(g, other).begin()
    memory = a.keep("create 4M 0")
    _, _, fd = a.do("export %d" % memory)
    pid = a.do("pid")[1]
    opened = b.keep("import %d" % b.do("descriptor %d %d" % (pid, fd))[1])
    array = b.keep("sparse 512 512")
    assert b.result("tiles %d %d 0 0 512 512" % (array, opened)) == OK and b.result("drop %d" % opened) == OK
    assert a.result("drop %d" % memory) == OK
    assert (g.current(group), g.current(other)) == (0, 4 * MIB)
    assert b.result("endarray %d" % array) == OK and g.current(other) == 0
    a.end()
    b.end()
    g.empty(group, other)


@test("memory in a part of a device is the device's; in a place that no driver knows, the driver's to refuse")
def _(g):
    group = g.group("4M", devices=2)
    p = Program(g, group).begin()
    memory = p.keep("createat 5 0x101 1 0 4M")  # the second part of the second device
    assert g.current(group, SECOND) == 4 * MIB and g.current(group) == 0
    assert p.result("createat 5 1 1 0 2M") == NO_MEMORY
    for line in ("createat 6 1 1 0 8M", "createat 77 1 1 0 8M", "createat 5 1 1 0 3M"):
        assert p.result(line) == INVALID, line
    assert p.result("drop %d" % memory) == OK and g.current(group, SECOND) == 0
    finish(g, p, group)


# ---- multicast objects --------------------------------------------------------------------------------------------------

@test("memory that is bound to a multicast object lives as long as it is bound")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    one = p.keep("multicast 64M")
    assert g.current(group) == 0
    memory = p.keep("create 32M 0")
    assert p.result("bindmem %d 0 %d 0 32M" % (one, memory)) == UNSUPPORTED  # its devices are still to come
    assert p.result("adddevice %d 0" % one) == OK and p.result("adddevice %d 0" % one) == INVALID
    assert p.result("bindmem %d 0 %d 0 32M" % (one, memory)) == OK and p.result("drop %d" % memory) == OK
    memory = p.keep("create 16M 0")
    assert p.result("bindmem2 %d 0 32M %d 0 16M" % (one, memory)) == OK and p.result("drop %d" % memory) == OK
    assert g.current(group) == 48 * MIB and p.result("create 32M 0") == NO_MEMORY
    assert p.result("unbind %d 0 0 16M" % one) == INVALID and g.current(group) == 48 * MIB
    assert p.result("unbind %d 0 0 32M" % one) == OK and g.current(group) == 16 * MIB
    assert p.result("unbind %d 0 0 32M" % one) == INVALID
    assert p.result("drop %d" % one) == OK and g.current(group) == 0  # with the object
    assert p.result("bindmem %d 0 %d 0 2M" % (one, memory)) == INVALID
    finish(g, p, group)


@test("by its address, too, wherever in a mapping; and the object lives while it is mapped")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    for bind in ("bindaddr %d 0 %d 2M 4M", "bindaddr2 %d 0 0 %d 2M 4M"):
        one, memory = p.keep("multicast 16M"), p.keep("create 8M 0")
        va, of_object = p.keep("range 8M"), p.keep("range 16M")
        assert p.result("adddevice %d 0" % one) == OK and p.result("map %d 0 8M %d" % (va, memory)) == OK
        assert p.result("drop %d" % memory) == OK
        assert p.result(bind % (one, va)) == OK and p.result("unmap %d 0 8M" % va) == OK
        assert g.current(group) == 8 * MIB
        assert p.result("map %d 0 16M %d" % (of_object, one)) == OK and p.result("drop %d" % one) == OK
        assert g.current(group) == 8 * MIB
        assert p.result("unmap %d 0 16M" % of_object) == OK and g.current(group) == 0
    finish(g, p, group)


@test("an object that was imported: what is bound to it here is held here")
def _(g):
    group, other = g.group(), g.group()
    a, b = Program(g, group).begin(), Program(g, other).begin()
    one = a.keep("multicast 16M")
    assert a.result("adddevice %d 0" % one) == OK
    _, _, fd = a.do("export %d" % one)
    theirs = b.keep("import %d" % b.do("descriptor %d %d" % (a.do("pid")[1], fd))[1])
    memory = b.keep("create 8M 0")
    assert b.result("bindmem %d 0 %d 0 8M" % (theirs, memory)) == OK and b.result("drop %d" % memory) == OK
    assert (g.current(group), g.current(other)) == (0, 8 * MIB)
    assert b.result("drop %d" % theirs) == OK and g.current(other) == 0
    assert a.result("drop %d" % one) == OK
    assert "partial" not in g.do("ps", group) + g.do("ps", other)
    a.end()
    b.end()
    g.empty(group, other)


# ---- pools ----------------------------------------------------------------------------------------------------------------

@test("what a pool had handed out when it was ended is charged until it is given back")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    pool = p.keep("pool 0")
    at = [p.keep("frompool %s %d" % (size, pool)) for size in ("16M", "8M", "4M")]
    assert p.result("freeasync %d" % at[2]) == OK
    assert p.result("endpool %d" % pool) == OK and g.current(group) == 24 * MIB
    assert p.result("endpool %d" % pool) == INVALID and p.result("trim %d 0" % pool) == INVALID
    assert p.result("freeasync %d" % at[0]) == OK and p.result("sync") == OK and g.current(group) == 8 * MIB
    assert used(p) == 8 * MIB
    assert p.result("free %d" % at[1]) == OK and p.result("sync") == OK and g.current(group) == 0
    assert p.result("free %d" % at[1]) == INVALID
    assert "partial" not in g.do("ps", group)
    other = p.keep("pool 0")  # perhaps with the same handle
    p.keep("frompool 16M %d" % other)
    assert g.current(group) == 16 * MIB
    finish(g, p, group)


@test("a pool of the host is no device's, whoever made it")
def _(g):
    group = g.group("4M")
    p = Program(g, group).begin()
    for line in ("poolof 2 0 1", "poolof 3 0 1", "standardof 2 0 1", "standardof 3 0 1", "currentof 2 0 1", "poolof 2 0 2"):
        pool = p.keep(line)
        at = p.keep("frompool 32M %d" % pool)
        assert g.current(group) == 0, line
        assert p.result("freeasync %d" % at) == OK and p.result("sync") == OK
        assert p.result("trim %d 0" % pool) == OK
        assert p.result("endpool %d" % pool) == (OK if "poolof" in line else INVALID)
    for line in ("standardof 1 0 1", "currentof 1 0 1", "poolof 1 0 2", "poolof 0 0 2"):  # managed memory, nowhere
        pool = p.keep(line)
        assert p.result("frompool 8M %d" % pool) == NO_MEMORY
        at = p.keep("frompool 4M %d" % pool)
        assert g.current(group) == 4 * MIB
        assert p.result("freeasync %d" % at) == OK and p.result("sync") == OK and g.current(group) == 0
    finish(g, p, group)


# ---- contexts -------------------------------------------------------------------------------------------------------------

@test("what is made in a green context is the primary context's, and goes with it")
def _(g):
    group = g.group("400M", context=300 * MIB)
    p = Program(g, group)
    assert p.result("init") == OK
    green = p.keep("green 0")
    assert g.current(group) == 300 * MIB  # of the primary context that it has retained
    other = p.keep("green 0")
    assert g.current(group) == 300 * MIB
    assert p.result("current %d" % p.keep("greenas %d" % green)) == OK
    p.keep("alloc 16M")
    p.keep("array 1024 1024")
    pool = p.keep("async 8M")
    assert g.current(group) == 340 * MIB and p.result("alloc 64M") == NO_MEMORY
    assert p.result("endgreen %d" % green) == OK and g.current(group) == 340 * MIB  # another one is still there
    assert p.result("endgreen %d" % green) == NO_CONTEXT
    assert p.result("current %d" % p.keep("greenas %d" % other)) == OK
    assert p.result("freeasync %d" % pool) == OK and p.result("sync") == OK and g.current(group) == 332 * MIB
    assert p.result("endgreen %d" % other) == OK and g.current(group) == 0
    assert p.result("alloc 1M") == NO_CONTEXT
    finish(g, p, group)


@test("an array of a green context goes when the primary one is reset")
def _(g):
    group = g.group("64M")
    p = Program(g, group)
    assert p.result("init") == OK
    p.keep("retain 0")
    green = p.keep("green 0")
    assert p.result("current %d" % p.keep("greenas %d" % green)) == OK
    p.keep("array 1024 1024")
    assert g.current(group) == 16 * MIB
    assert p.result("reset 0") == OK and g.current(group) == 0
    finish(g, p, group)


@test("a context that is detached from ends with its last use")
def _(g):
    group = g.group("400M", context=300 * MIB)
    p = Program(g, group).begin()
    p.keep("alloc 16M")
    p.keep("array 1024 1024")
    p.keep("attach")
    assert p.result("detach 0") == OK and g.current(group) == 332 * MIB
    assert p.result("detach 0") == OK and g.current(group) == 0
    assert p.result("detach 0") == NO_CONTEXT
    finish(g, p, group)


# ---- graphs ---------------------------------------------------------------------------------------------------------------

@test("nodes of any kind: those that would allocate beyond the limit are refused; uploaded, they are charged")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    graph = p.keep("graph")
    for node in ("anynode", "anynode2"):
        assert p.result("%s %d 16M" % (node, graph)) == OK and p.result("%s %d 65M" % (node, graph)) == NO_MEMORY
    assert g.current(group) == 0
    later = p.keep("instantiate2 %d 0" % graph)
    assert g.current(group) == 0
    now = p.keep("instantiate2 %d 2" % graph)  # and uploaded
    assert g.current(group) == 32 * MIB
    assert p.result("endgraph %d" % now) == OK and p.result("endgraph %d" % later) == OK
    assert p.result("trimgraphs 0") == OK and g.current(group) == 0
    assert int(g.table(group, "dmem.events")[REGION + ".oom"]) == 2
    finish(g, p, group)


if os.environ.get("ONLY"):
    tests[:] = [t for t in tests if os.environ["ONLY"] in t[0]]
sys.exit(main(DeviceGround))
