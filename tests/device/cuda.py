#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Device memory of CUDA programs, in front of a driver without a device: what is charged, refused, shown and given
back, however a program finds its driver and however it ends."""
import os
import select
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import (BUILD, GIB, INVALID, MIB, NO_CONTEXT, NO_MEMORY, OK, REGION, SECOND,  # noqa: E402
                          UNINITIALIZED, DeviceGround, Program, hand_over)
from events_client import Client  # noqa: E402
from real_programs import ROOT, Skip, main, need, test, tests, wait_for  # noqa: E402
from told_program import ToldProgram  # noqa: E402

WAYS = ("linked", "dlsym", "deepbind", "default", "dlmopen", "gpa1", "gpa2", "streams")


# ---- finding the driver -------------------------------------------------------------------------------------------

for way in WAYS:
    @test("found by %s: charged, refused at the limit, given back" % way)
    def _(g, way=way):
        group = g.group("256M")
        p = Program(g, group, way).begin()
        a = p.keep("alloc 64M")
        assert g.current(group) == 64 * MIB
        assert p.do("alloc 200M") == [NO_MEMORY, 2, 0]
        assert p.do("info") == [OK, 192 * MIB, 256 * MIB]
        assert p.result("free %d" % a) == OK
        assert g.current(group) == 0
        p.keep("alloc 256M")
        assert g.number(group, "dmem.peak") == 256 * MIB
        assert int(g.table(group, "dmem.events")[REGION + ".oom"]) == 1
        p.end()
        g.empty(group)


@test("every lookup answers as without us, but for the library that the address lies in")
def _(g):
    group = g.group()
    answers = []
    for member in (None, group):
        for how in ("gpa2", "dlmopen", "linked"):
            p = Program(g, member, how)
            p.say("lookups")
            p.process.stdin.close()
            answers.append(p.process.stdout.read())
            p.process.stdin = None
            p.end()
    assert len(answers[0].splitlines()) > 3000, answers[0][-500:]
    for plain, member in zip(answers[:3], answers[3:]):
        assert plain == member, [pair for pair in zip(plain.splitlines(), member.splitlines()) if pair[0] != pair[1]][:5]
    g.empty(group)


@test("a program that looks for a driver where there is none does not find us")
def _(g):
    group = g.group("1G")
    source = g.write("probe.py", "import ctypes\ntry:\n ctypes.CDLL(None).cuMemAlloc_v2\n print('found')\n"
                     "except AttributeError:\n print('none')\n")
    ran = g.spawn([g.memctl, "run", "-g", group, "--", "python3", source])
    assert ran.out == "none\n", ran
    g.empty(group)


@test("a driver that is closed and opened again")
def _(g):
    group = g.group("64M")
    for how in ("dlsym", "dlmopen", "gpa2"):
        p = Program(g, group, how).begin()
        a = p.keep("alloc 32M")
        if how == "dlmopen":  # that was another copy, it may be gone with all it had
            assert p.result("free %d" % a) == OK
        p.do("reopen")
        if how == "dlmopen":
            p.begin()
        p.keep("alloc 32M")
        assert p.result("alloc 48M") == NO_MEMORY
        p.end()
        wait_for("it is given back", lambda: g.current(group) == 0)
    g.empty(group)


# ---- kinds of memory ----------------------------------------------------------------------------------------------

@test("the interface of 32 bits, found by its own version")
def _(g):
    group = g.group("64M")
    for how in ("dlsym", "gpa2"):
        p = Program(g, group, how).begin()
        p.keep("alloc1 48M")
        assert g.current(group) == 48 * MIB
        assert p.result("alloc1 48M") == NO_MEMORY
        p.end()
        wait_for("it is given back", lambda: g.current(group) == 0)
    g.empty(group)


@test("rows are charged as long as the driver makes them")
def _(g):
    group = g.group("1G")
    p = Program(g, group).begin()
    a = p.keep("pitch 1 1048576")
    assert g.current(group) == 512 * MIB
    assert p.result("pitch 1 1048577") == NO_MEMORY
    assert p.result("free %d" % a) == OK
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("managed memory is charged in full")
def _(g):
    group = g.group("100M")
    p = Program(g, group).begin()
    a = p.keep("managed 96M")
    assert g.current(group) == 96 * MIB and p.result("managed 8M") == NO_MEMORY
    assert p.result("free %d" % a) == OK and g.current(group) == 0
    p.end()
    g.empty(group)


@test("a pool is charged with what it has reserved, until it gives it back")
def _(g):
    group = g.group("256M")
    p = Program(g, group).begin()
    a = p.keep("async 64M")
    b = p.keep("asyncptsz 32M")
    assert g.current(group) == 96 * MIB
    assert p.result("async 200M") == NO_MEMORY
    assert p.result("freeasync %d" % a) == OK
    assert g.current(group) == 96 * MIB  # nobody has waited yet
    p.keep("async 64M")  # what the pool has is used again
    assert g.current(group) == 96 * MIB
    assert p.result("freeasync %d" % b) == OK and p.result("sync") == OK
    assert g.current(group) == 64 * MIB
    p.end()
    g.empty(group)


@test("memory of a pool that is given back by cuMemFree, plain memory by cuMemFreeAsync")
def _(g):
    group = g.group("256M")
    p = Program(g, group).begin()
    a, b = p.keep("async 64M"), p.keep("alloc 32M")
    assert p.result("free %d" % a) == OK and p.result("sync") == OK
    assert g.current(group) in (32 * MIB, 96 * MIB)
    assert p.result("freeasync %d" % b) == INVALID  # this driver will not
    assert p.result("free %d" % b) == OK
    p.keep("async 2M")
    assert g.current(group) == 2 * MIB
    p.end()
    g.empty(group)


@test("before a refusal pools are trimmed")
def _(g):
    group = g.group("256M")
    p = Program(g, group).begin()
    pool = p.keep("standard 0")
    assert p.result("threshold %d 1G" % pool) == OK
    a = p.keep("async 200M")
    assert p.result("freeasync %d" % a) == OK and p.result("sync") == OK
    assert g.current(group) == 200 * MIB
    p.keep("alloc 128M")
    assert g.current(group) == 128 * MIB
    p.end()
    g.empty(group)


@test("dmem-pressure: a refusal is critical, on the group whose limit was met and above")
def _(g):
    group = g.group("64M")
    client = Client(g)
    heard = client.subscribe(group, "dmem-pressure:%s:critical" % REGION)
    above = client.subscribe("/", "dmem-pressure:%s:low,hierarchy" % REGION)
    other = client.subscribe(group, "pressure:low")
    p = Program(g, group).begin()
    p.keep("alloc 48M")
    assert heard.count() == 0
    assert p.result("alloc 32M") != OK
    heard.await_count(1)
    above.await_count(1)
    assert other.count() == 0
    p.end()
    client.socket.close()
    g.empty(group)


@test("a pool of the program's own, trimmed and ended")
def _(g):
    group = g.group("256M")
    p = Program(g, group).begin()
    pool = p.keep("pool 0")
    assert p.result("threshold %d 1G" % pool) == OK
    a, b = p.keep("frompool 64M %d" % pool), p.keep("frompool 64M %d" % pool)
    assert g.current(group) == 128 * MIB and p.result("frompool 130M %d" % pool) == NO_MEMORY
    assert p.result("freeasync %d" % a) == OK and p.result("sync") == OK and g.current(group) == 128 * MIB
    assert p.result("trim %d 0" % pool) == OK and g.current(group) == 64 * MIB
    assert p.result("freeasync %d" % b) == OK
    assert p.result("endpool %d" % pool) == OK and g.current(group) == 0
    p.end()
    g.empty(group)


@test("physical memory goes with its last handle and its last mapping")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    va = p.keep("range 256M")
    for _ in range(3):  # create, map, release the handle: the memory lives on
        h = p.keep("create 32M 0")
        assert p.result("map %d 0 32M %d" % (va, h)) == OK
        assert p.result("drop %d" % h) == OK
        assert g.current(group) == 32 * MIB
        again = p.keep("again %d" % va)
        assert p.result("unmap %d 0 32M" % va) == OK
        assert g.current(group) == 32 * MIB
        assert p.result("drop %d" % again) == OK
        assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("mapped three times over, nothing passes the limit")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    va = p.keep("range 256M")
    for i in range(3):
        result, at, _ = p.do("create 32M 0")
        assert result == (OK if i < 2 else NO_MEMORY)
        if result == OK:
            assert p.result("map %d %d 32M %d" % (va, i * 32 * MIB, at)) == OK and p.result("drop %d" % at) == OK
    assert g.current(group) == 64 * MIB
    assert p.result("unmap %d 0 64M" % va) == OK  # both at once
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("parts of one allocation mapped at several places, with gaps")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    va, h = p.keep("range 256M"), p.keep("create 8M 0")
    for offset in (0, 16, 64):
        assert p.result("map %d %dM 4M %d" % (va, offset, h)) == OK
    assert p.result("drop %d" % h) == OK
    assert p.result("unmap %d 0 2M" % va) == INVALID  # a part of a mapping
    assert p.result("unmap %d 64M 4M" % va) == OK and g.current(group) == 8 * MIB
    assert p.result("unmap %d 0 128M" % va) == OK and g.current(group) == 0
    p.end()
    g.empty(group)


@test("memory on the host, at a node, is no device's; a size that the driver refuses is not charged")
def _(g):
    group = g.group("4M")
    p = Program(g, group)
    assert p.result("init") == OK
    h = p.keep("createhost 32M 0")
    assert g.current(group) == 0 and p.result("drop %d" % h) == OK
    assert p.result("create 3M 0") == INVALID and p.result("create 2M 9") == 101
    assert g.current(group) == 0
    h = p.keep("create 4M 0")
    assert p.result("create 2M 0") == NO_MEMORY
    assert p.result("drop %d" % h) == OK and p.result("drop %d" % h) == INVALID and g.current(group) == 0
    p.end()
    g.empty(group)


@test("what is imported stays its creator's")
def _(g):
    group, other = g.group("64M"), g.group("64M")
    a, b = Program(g, group).begin(), Program(g, other).begin()
    h = a.keep("create 32M 0")
    result, _, fd = a.do("export %d" % h)
    assert result == OK
    i = a.keep("import %d" % fd)  # by itself
    assert a.result("drop %d" % h) == OK and g.current(group) == 32 * MIB
    j = b.keep("import %d" % hand_over(g, a, b, fd))
    assert g.current(other) == 0 and g.current(group) == 32 * MIB
    assert b.result("drop %d" % j) == OK and a.result("drop %d" % i) == OK
    assert g.current(group) == 0 and g.current(other) == 0
    a.end()
    b.end()
    g.empty(group, other)


@test("arrays and mipmaps are charged by their true size, sparse ones not")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    a = p.keep("array 1000 1000")  # 16 bytes an element, tiles of 64 KiB
    tiles = (16000000 + 65535) // 65536 * 65536
    assert g.current(group) == tiles
    b = p.keep("array3 64 64 64")
    assert g.current(group) == tiles + 4 * MIB
    m = p.keep("mipmap 1024 1024 4")
    assert g.current(group) == tiles + 4 * MIB + 16 * MIB + 4 * MIB + MIB + 256 * 1024
    p.keep("sparse 4096 4096 1")
    assert g.current(group) == tiles + 4 * MIB + 16 * MIB + 4 * MIB + MIB + 256 * 1024
    assert p.result("array 2000 1000") == NO_MEMORY
    assert p.result("endarray %d" % a) == OK and p.result("endarray %d" % b) == OK and p.result("endmipmap %d" % m) == OK
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("pinned host memory is host memory, counted once")
def _(g):
    group = g.group("max")
    g.do("set", group, "memory.max=256M")
    p = Program(g, group).begin()
    a = p.keep("host 64M")
    wait_for("it counts as pinned", lambda: "pinned %d" % (64 * MIB) in g.get(group, "memory.stat"))
    assert int(g.table(group, "memory.stat")["committed"]) < 96 * MIB
    wait_for("it is charged once", lambda: 64 * MIB <= int(g.get(group, "memory.current")) < 96 * MIB)
    assert g.current(group) == 0
    assert p.result("host 240M") == NO_MEMORY
    assert p.result("endhost %d" % a) == OK and p.result("endhost %d" % a) == INVALID
    wait_for("it is given back", lambda: "pinned 0" in g.get(group, "memory.stat") and
             int(g.get(group, "memory.current")) < 32 * MIB)
    p.end()
    g.empty(group)


@test("a child made while another thread is the first to look something up finds it, too")
def _(g):
    group = g.group()
    p = Program(g, group)
    assert p.do("forkmeanwhile") == [0, 1]
    p.end()
    g.empty(group)


@test("captured allocations are charged when they are launched, once")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    s = p.keep("stream")
    assert p.result("capture %d" % s) == OK
    p.keep("async 32M %d" % s)
    graph = p.keep("captured %d" % s)
    e = p.keep("instantiate %d" % graph)
    assert g.current(group) == 0
    for _ in range(2):
        assert p.result("launch %d" % e) == OK and g.current(group) == 32 * MIB
    assert p.result("endgraph %d" % e) == OK and g.current(group) == 32 * MIB
    p.keep("alloc 48M")  # the graph pool is trimmed for it
    assert g.current(group) == 48 * MIB
    p.end()
    g.empty(group)


@test("a node that would allocate beyond the limit is refused")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    graph = p.keep("graph")
    assert p.result("node %d 32M" % graph) == OK and p.result("node %d 65M" % graph) == NO_MEMORY
    p.end()
    g.empty(group)


# ---- contexts, processes -------------------------------------------------------------------------------------------

@test("with a context goes what was allocated in it")
def _(g):
    group = g.group("256M")
    p = Program(g, group).begin()
    for line in ("alloc 32M", "managed 16M", "array 1024 1024", "alloc 100"):
        p.keep(line)
    other = p.keep("context 0")
    p.keep("alloc 8M")
    assert p.result("destroy 0") == OK
    assert g.current(group) == 8 * MIB
    assert p.result("destroy 0") == NO_CONTEXT
    assert p.result("destroy %d" % other) == OK and g.current(group) == 0
    p.end()
    g.empty(group)


@test("a primary context: reset, and its last release")
def _(g):
    group = g.group("256M")
    p = Program(g, group)
    assert p.result("init") == OK
    for end in ("reset 0", "release 0"):
        c = p.keep("retain 0")
        assert p.result("current %d" % c) == OK
        p.keep("alloc 32M")
        p.keep("array 1024 1024")
        assert g.current(group) == 48 * MIB
        assert p.result(end) == OK and g.current(group) == 0
    c = p.keep("retain 0")
    p.keep("retain 0")
    assert p.result("current %d" % c) == OK
    p.keep("alloc 32M")
    assert p.result("release 0") == OK and g.current(group) == 32 * MIB
    p.end()
    g.empty(group)


@test("what contexts and modules take is charged as NVML shows it, beyond what may be allocated")
def _(g):
    group = g.group("400M", context=300 * MIB, module=16 * MIB)

    def overhead():
        return int(g.table(group, "dmem.stat")[REGION + ".context"])

    p = Program(g, group).begin()
    assert (g.current(group), overhead()) == (300 * MIB, 300 * MIB)
    a = p.keep("alloc 64M")
    assert p.result("alloc 64M") == NO_MEMORY and (g.current(group), overhead()) == (364 * MIB, 300 * MIB)
    m, n = p.keep("module"), p.keep("module")
    assert (g.current(group), overhead()) == (396 * MIB, 332 * MIB)
    told = 'memctl_dmem_stat_bytes{group="%s",region="%s",item="context"} %d\n' % (group, REGION, 332 * MIB)
    assert told in g.do("export", "--once")
    assert p.result("unload %d" % m) == OK and overhead() == 316 * MIB
    other = p.keep("context 0")  # nobody can be asked before
    assert (g.current(group), overhead()) == (680 * MIB, 616 * MIB)
    assert int(g.table(group, "dmem.events")[REGION + ".over"]) == 1
    assert p.result("destroy %d" % other) == OK and p.result("current 0") == OK
    assert p.result("unload %d" % n) == OK and (g.current(group), overhead()) == (364 * MIB, 300 * MIB)
    assert p.result("free %d" % a) == OK and g.current(group) == 300 * MIB
    assert p.result("destroy 0") == OK and (g.current(group), overhead()) == (0, 0)
    c = p.keep("retain 0")
    p.keep("retain 0")
    assert overhead() == 300 * MIB and p.result("current %d" % c) == OK
    assert p.result("release 0") == OK and overhead() == 300 * MIB
    assert p.result("release 0") == OK and overhead() == 0
    p.keep("retain 0")
    p.kill()
    g.empty(group)


@test("memory opened by IPC is its creator's")
def _(g):
    group, other = g.group("64M"), g.group("16M")
    a, b = Program(g, group).begin(), Program(g, other).begin()
    ptr = a.keep("alloc 32M")
    assert a.result("share %d %s" % (ptr, g.path("handle"))) == OK
    opened = b.keep("open %s" % g.path("handle"))
    assert g.current(other) == 0
    assert b.result("free %d" % opened) == INVALID and b.result("close %d" % opened) == OK
    b.keep("alloc 16M")
    assert g.current(other) == 16 * MIB and g.current(group) == 32 * MIB
    a.end()
    b.end()
    g.empty(group, other)


@test("a forked child owns nothing and can do nothing; a new image begins anew")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    p.keep("alloc 32M")  # kept as 1; 0 is the context
    assert p.do("fork") == [0, UNINITIALIZED * 16 + UNINITIALIZED]
    assert g.current(group) == 32 * MIB
    p.do("exec")
    p.begin()
    assert g.current(group) == 0
    p.keep("alloc 64M")
    p.end()
    g.empty(group)


@test("killed with whatever it held, nothing is left")
def _(g):
    group = g.group("256M")
    p = Program(g, group).begin()
    va = p.keep("range 64M")
    for line in ("alloc 32M", "async 32M", "array 1024 1024", "pitch 1 4096", "create 8M 0", "alloc 100"):
        at = p.keep(line)
        if line.startswith("create"):
            assert p.result("map %d 0 8M %d" % (va, at)) == OK
    assert g.current(group) > 90 * MIB
    p.kill()
    g.empty(group)


@test("a process that ends gives back at once")
def _(g):
    group = g.group("64M")
    for _ in range(5):
        p = Program(g, group).begin()
        p.keep("alloc 64M")
        p.end()
    g.empty(group)


CRASHES = [  # call, what is done before, what makes the call
    ("cuMemAlloc_v2", [], "alloc 16M"), ("cuMemFree_v2", ["alloc 16M"], "free 1"),
    ("cuMemAllocPitch_v2", [], "pitch 100 100"), ("cuMemAllocManaged", [], "managed 16M"),
    ("cuMemAllocAsync", [], "async 16M"), ("cuMemFreeAsync", ["async 16M"], "freeasync 1"),
    ("cuMemAllocFromPoolAsync", ["standard 0"], "frompool 16M 1"), ("cuMemPoolTrimTo", ["standard 0", "async 4M"], "trim 1 0"),
    ("cuStreamSynchronize", ["async 16M", "freeasync 1"], "sync"), ("cuMemPoolGetAttribute", [], "async 16M"),
    ("cuMemCreate", [], "create 16M 0"), ("cuMemRelease", ["create 16M 0"], "drop 1"),
    ("cuMemMap", ["range 16M", "create 16M 0"], "map 1 0 16M 2"),
    ("cuMemUnmap", ["range 16M", "create 16M 0", "map 1 0 16M 2", "drop 2"], "unmap 1 0 16M"),
    ("cuArrayCreate_v2", [], "array 512 512"), ("cuArrayDestroy", ["array 512 512"], "endarray 1"),
    ("cuMipmappedArrayCreate", [], "mipmap 512 512 3"), ("cuMemHostAlloc", [], "host 4M"),
    ("cuMemFreeHost", ["host 4M"], "endhost 1"), ("cuCtxDestroy_v2", ["alloc 16M"], "destroy 0"),
    ("cuPointerGetAttribute", ["alloc 16M"], "destroy 0"), ("cuDeviceGetUuid_v2", None, "context 0"),
    ("cuCtxCreate_v2", None, "context 0"), ("cuModuleLoadData", [], "module"), ("cuIpcGetMemHandle", ["alloc 16M"], "share 1 handle"),
    ("cuMemExportToShareableHandle", ["create 16M 0"], "export 1"),
    ("cuMemMapArrayAsync", ["create 16M 0", "sparse 64 64"], "tiles 2 1 0 0 64 64"),
    ("cuMemMapArrayAsync_ptsz", ["create 16M 0", "sparse 64 64", "tiles 2 1 0 0 64 64", "drop 1"], "tilesptsz 2 - 0 0 64 64"),
    ("cuArrayDestroy", ["create 16M 0", "sparse 64 64", "tiles 2 1 0 0 64 64", "drop 1"], "endarray 2"),
    ("cuMulticastCreate", [], "multicast 16M"),
    ("cuMulticastBindMem", ["create 16M 0", "multicast 16M", "adddevice 2 0"], "bindmem 2 0 1 0 16M"),
    ("cuMulticastBindAddr", ["create 16M 0", "range 16M", "map 2 0 16M 1", "multicast 16M", "adddevice 3 0"], "bindaddr 3 0 2 0 16M"),
    ("cuMulticastUnbind", ["create 16M 0", "multicast 16M", "adddevice 2 0", "bindmem 2 0 1 0 16M", "drop 1"], "unbind 2 0 0 16M"),
    ("cuMemPoolCreate", [], "poolof 1 0 1 1"), ("cuMemPoolDestroy", ["pool 0", "frompool 16M 1"], "endpool 1"),
    ("cuMemFreeAsync", ["pool 0", "frompool 16M 1", "endpool 1"], "freeasync 2"),
    ("cuMemGetDefaultMemPool", [], "standardof 2 0 1"), ("cuGraphAddNode", ["graph"], "anynode 1 16M"),
    ("cuGraphInstantiateWithParams", ["graph", "anynode 1 16M"], "instantiate2 1 2"),
    ("cuGreenCtxCreate", None, "green 0"), ("cuGreenCtxDestroy", ["green 0", "greenas 1", "current 2", "alloc 16M"], "endgreen 1"),
    ("cuCtxFromGreenCtx", ["green 0"], "greenas 1"), ("cuCtxDetach", ["alloc 16M"], "detach 0"),
]


def prepare(p, before):
    """None: not even a context."""
    for line in ["init"] + ([] if before is None else ["context 0", *before]):
        assert p.result(line) == OK, line


@test("killed in any call, before or after the driver has done it: exact, and nobody hangs")
def _(g):
    group = g.group("64M")
    witness = Program(g, group).begin()
    for call, before, line in CRASHES:
        for where in ("before", "after"):
            p = Program(g, group, env={"FAKE_CUDA_CRASH": "%s:1:%s" % (call, where)})
            prepare(p, before)
            p.say(line)
            p.end(128 + signal.SIGKILL)
            wait_for("nothing is left of %s, %s" % (call, where), lambda: g.current(group) == 0)
            at = witness.keep("alloc 64M")
            assert witness.result("free %d" % at) == OK, (call, where)
    witness.end()
    g.empty(group)


@test("two processes at the limit: never over, and each gets what fits")
def _(g):
    group = g.group("64M")
    pair = [Program(g, group).begin() for _ in range(2)]
    for p in pair:
        p.say("churn 200000 40M")
    for p in pair:
        result, done, refused = p.answer()
        assert result == OK and done + refused == 200000 and done > 0
    assert g.number(group, "dmem.peak") <= 64 * MIB and g.current(group) == 0
    for p in pair:
        p.say("churn 500000 32M")
    for p in pair:
        assert p.answer() == [OK, 500000, 0]  # both fit
    assert g.number(group, "dmem.peak") <= 64 * MIB
    for p in pair:
        p.end()
    g.empty(group)


@test("where the group waits, a refused program does, until there is room; what never fits fails at once")
def _(g):
    group = g.group("64M")
    g.do("set", group, "memory.oom.policy=wait")
    holder, waiter = Program(g, group).begin(), Program(g, group).begin()
    a = holder.keep("alloc 48M")
    assert waiter.result("alloc 65M") == NO_MEMORY
    for release in (lambda: holder.do("free %d" % a), lambda: g.do("set", group, "dmem.max=all 128M"),
                    lambda: g.do("set", group, "memory.oom.policy=fail")):
        refusals = int(g.table(group, "dmem.events")[REGION + ".max"])
        waiter.say("alloc 32M")
        wait_for("the limit was met", lambda: int(g.table(group, "dmem.events")[REGION + ".max"]) > refusals + 1)
        ready, _, _ = select.select([waiter.process.stdout], [], [], 0)
        assert not ready, waiter.answer()
        release()
        result, b, _ = waiter.answer()
        if result == NO_MEMORY:
            break  # the policy was changed
        assert result == OK and waiter.result("free %d" % b) == OK
        g.do("set", group, "dmem.max=all 64M")
        if g.current(group) == 0:
            holder.keep("alloc 48M")
    assert result == NO_MEMORY
    g.do("set", group, "memory.oom.policy=wait")
    pid = waiter.do("pid")[1]
    waiter.say("alloc 32M")
    os.kill(pid, signal.SIGKILL)  # who waits can be ended
    waiter.end(128 + signal.SIGKILL)
    holder.end()
    g.empty(group)


@test("10,000 live allocations, small and large")
def _(g):
    group = g.group("max")
    p = Program(g, group).begin()
    assert p.do("many 10000 4096") == [OK, 10000, 0]
    assert g.current(group) == 10000 * 4096
    assert p.result("destroy 0") == OK
    assert g.current(group) == 0
    p.end()
    g.empty(group)


# ---- groups ----------------------------------------------------------------------------------------------------------

@test("the limit of a group above holds for all below")
def _(g):
    group = g.group("64M")
    g.do("create", group + "/a")
    g.do("create", group + "/b", "dmem.max=all 48M")
    a, b = Program(g, group + "/a").begin(), Program(g, group + "/b").begin()
    a.keep("alloc 40M")
    b.keep("alloc 24M")
    assert a.result("alloc 1M") == NO_MEMORY and b.result("alloc 1M") == NO_MEMORY
    assert g.current(group) == 64 * MIB and g.current(group + "/b") == 24 * MIB
    assert a.do("info") == [OK, 0, 64 * MIB] and b.do("info") == [OK, 0, 48 * MIB]
    a.end()
    b.end()
    g.empty(group + "/a", group + "/b", group)


@test("limits are changed while programs run; below usage, nothing is free and nobody fails for it")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    a = p.keep("alloc 64M")
    g.do("set", group, "dmem.max=gpu0 32M")
    assert p.do("info") == [OK, 0, 32 * MIB] and p.result("alloc 1M") == NO_MEMORY
    assert p.result("free %d" % a) == OK and p.result("alloc 32M") == OK
    g.do("set", group, "dmem.max=%s max" % REGION)
    assert p.do("info")[2] == 8 * GIB and p.result("alloc 1G") == OK
    p.end()
    g.empty(group)


@test("who is moved pays where it was for what it has, and where it is for what comes")
def _(g):
    group, other = g.group("64M"), g.group("64M")
    p = Program(g, group).begin()
    a = p.keep("alloc 16M")
    pid = p.do("pid")[1]
    g.do("move", str(pid), other)
    b = p.keep("alloc 8M")
    assert (g.current(group), g.current(other)) == (16 * MIB, 8 * MIB)
    assert p.result("free %d" % a) == OK and g.current(group) == 0
    assert p.result("free %d" % b) == OK and g.current(other) == 0
    p.end()
    g.empty(group, other)


@test("regions are devices, whatever number a program knows them by")
def _(g):
    group = g.group("max", devices=2)
    first = Program(g, group).begin(1)
    first.keep("alloc 16M")
    assert (g.current(group), g.current(group, SECOND)) == (0, 16 * MIB)
    second = Program(g, group, env={"CUDA_VISIBLE_DEVICES": "1,0"}).begin(1)
    second.keep("alloc 8M")
    second.keep("context 0")
    second.keep("alloc 4M")
    second.keep("async 2M")
    assert (g.current(group), g.current(group, SECOND)) == (8 * MIB, 22 * MIB)
    g.do("set", group, "dmem.max=%s 9M" % REGION)
    assert second.result("alloc 4M") == OK  # the other one
    assert second.result("current 0") == OK and second.result("alloc 4M") == NO_MEMORY
    assert second.do("total 1") == [OK, 9 * MIB] and second.do("total 0") == [OK, 8 * GIB]
    assert g.table("/", "dmem.capacity") == {REGION: str(8 * GIB), SECOND: str(8 * GIB)}
    g.do("set", group, "dmem.max=gpu1 1G")
    assert g.table(group, "dmem.max")[SECOND] == str(GIB)
    first.end()
    second.end()
    g.empty(group)


@test("a device that another API knows by its address alone has one region")
def _(g):
    client = Client(g)
    group, other = g.group("1G", devices=4), "opencl/0000:04:00.0/vram"
    client.do("region", name=other, address="0000:04:00.0", capacity=8 * GIB)
    g.do("set", group, "dmem.max=%s 64M" % other)
    p = Program(g, group).begin(3)
    p.keep("alloc 48M")
    assert g.current(group, other) == 48 * MIB and p.result("alloc 32M") == NO_MEMORY
    assert p.do("nvml1 3") == [OK, 16 * MIB, 64 * MIB, 48 * MIB]
    assert not [r for r in g.table("/", "dmem.capacity") if "2a2b2c2d" in r]
    p.end()
    client.socket.close()
    wait_for("it is given back", lambda: g.current(group, other) == 0)
    g.empty(group)


class Elsewhere(Program):
    """In another pid namespace."""

    def __init__(self, g, group):
        ToldProgram.__init__(self, g, group, ["unshare", "--pid", "--fork", "--kill-child", BUILD + "/client", "dlsym"],
                             g.device_env)


@test("a program in another pid namespace is charged as any other")
def _(g):
    if not ROOT:
        raise Skip("needs root")
    need("unshare")
    group = g.group("64M")
    p = Elsewhere(g, group).begin()
    assert p.do("pid")[1] < 100
    a = p.keep("alloc 48M")
    assert g.current(group) == 48 * MIB and p.result("alloc 32M") == NO_MEMORY
    assert "partial" not in g.do("ps", group)
    assert p.result("free %d" % a) == OK and g.current(group) == 0
    p.keep("alloc 64M")
    assert p.do("fork") == [0, UNINITIALIZED * 16 + UNINITIALIZED]
    p.process.kill()  # of unshare, which takes the program along
    p.process.communicate()
    g.empty(group)


@test("a group's share is never more than the device has")
def _(g):
    group = g.group("100G")
    plain = Program(g).begin()
    plain.keep("alloc 6G")
    p = Program(g, group).begin()
    assert p.do("info") == [OK, 2 * GIB, 8 * GIB]
    assert p.result("alloc 3G") == NO_MEMORY and g.current(group) == 0  # the driver's own
    assert int(g.table(group, "dmem.events")[REGION + ".oom"]) == 0
    plain.end()
    p.end()
    g.empty(group)


@test("memctl run --device-max, and what is not for dmem.max")
def _(g):
    group = g.group("max")
    p = Program(g, group, options=("--device-max", "gpu0=16M")).begin()
    assert p.result("alloc 17M") == NO_MEMORY
    p.end()
    p = Program(g, group, options=("--device-max", "8M")).begin()
    assert p.result("alloc 9M") == NO_MEMORY and p.result("alloc 8M") == OK
    p.end()
    for value in ("1G", "gpu9 1G", "gpu0", "gpu0 1G 2G", "gpu0 nonsense", ""):
        ran = g.spawn([g.memctl, "set", group, "dmem.max=" + value])
        assert ran.status == 1 and ran.err.startswith("memctl: set: "), ran
    assert g.table(group, "dmem.max")[REGION] == str(8 * MIB)
    g.do("set", group, "dmem.peak=gpu0")
    assert g.number(group, "dmem.peak") == 0
    g.empty(group)


# ---- what a program does wrong ----------------------------------------------------------------------------------------

BAD = ["alloc 1M", "info", "init", "alloc 1M", "alloc 0", "allocnull 1M", "info", "context 7", "context 0", "alloc 0",
       "allocnull 1M", "alloc 17T", "pitch 0 5", "pitch 5 0", "managed 0", "async 0", "freeraw 4096", "freeraw 0",
       "freeraw 0xffffffffffff", "create 0 0", "create 1 0", "endarray 1", "endmipmap 1", "endhost 1", "array 0 0",
       "mipmap 16 16 0", "drop 1", "destroy 1", "release 0", "multicast", "multicast 3M", "infonull", "total 9",
       "external -1 1M", "buffer 1 1M", "endexternal 1", "mipmapof 1", "tiles 1 1 0 0 1 1", "tail 1 - 0 1", "bindmem 1 0 1 0 2M",
       "bindaddr 1 0 1 0 2M", "unbind 1 0 0 2M", "adddevice 1 0", "green 9", "greenas 1", "endgreen 1", "detach 1",
       "poolof 1 9 1", "poolof 7 0 1", "standardof 9 0 1", "exportpool 1", "exportptr 1 none", "importptr 1 none",
       "anynode 1 1M", "endpool 1"]


@test("what a driver refuses, it refuses by itself: before cuInit, without a context, NULL, 0, absurd")
def _(g):
    answers = []
    for group in (None, g.group("max"), g.group("0")):
        p = Program(g, group)
        answers.append([(line, p.result(line)) for line in BAD])
        p.end()
        if group:
            assert g.current(group) == 0
            g.empty(group)
    assert answers[0] == answers[1]
    assert answers[0] == answers[2], [pair for pair in zip(answers[0], answers[2]) if pair[0] != pair[1]]


# Every call that the client can find, with NULL and 0 for all that it takes.
CALLS = ["cuMemAlloc_v2", "cuMemAlloc", "cuMemAllocPitch_v2", "cuMemAllocManaged", "cuMemFree_v2", "cuMemGetInfo_v2",
         "cuDeviceTotalMem_v2", "cuMemAllocAsync", "cuMemAllocAsync_ptsz", "cuMemAllocFromPoolAsync", "cuMemFreeAsync",
         "cuMemPoolCreate", "cuMemPoolDestroy", "cuMemPoolTrimTo", "cuMemPoolSetAttribute", "cuMemCreate", "cuMemRelease",
         "cuMemMap", "cuMemUnmap", "cuMemRetainAllocationHandle", "cuMemExportToShareableHandle",
         "cuMemImportFromShareableHandle", "cuArrayCreate_v2", "cuArray3DCreate_v2", "cuArrayDestroy",
         "cuMipmappedArrayCreate", "cuMipmappedArrayDestroy", "cuMemHostAlloc", "cuMemFreeHost", "cuMemHostRegister_v2",
         "cuMemHostUnregister", "cuIpcGetMemHandle", "cuIpcCloseMemHandle", "cuCtxCreate_v2", "cuCtxDestroy_v2",
         "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuDevicePrimaryCtxReset_v2", "cuModuleLoadData",
         "cuModuleUnload", "cuMulticastCreate", "cuGraphAddMemAllocNode", "cuGraphExecDestroy", "cuDeviceGraphMemTrim",
         "cuMulticastAddDevice", "cuMulticastBindMem", "cuMulticastBindAddr", "cuMulticastUnbind", "cuMemMapArrayAsync",
         "cuMemMapArrayAsync_ptsz", "cuImportExternalMemory", "cuExternalMemoryGetMappedBuffer",
         "cuExternalMemoryGetMappedMipmappedArray", "cuDestroyExternalMemory", "cuMemPoolExportToShareableHandle",
         "cuMemPoolExportPointer", "cuMemPoolImportPointer", "cuMemGetDefaultMemPool", "cuMemGetMemPool", "cuGreenCtxCreate",
         "cuGreenCtxDestroy", "cuCtxFromGreenCtx", "cuCtxAttach", "cuCtxDetach", "cuGraphAddNode", "cuGraphInstantiateWithParams"]


@test("all calls with NULL and 0, before cuInit, without a context, with one, in a forked child: as without us")
def _(g):
    lines = ["null " + call for call in CALLS]
    steps = [*lines, "init", *lines, "context 0", *(line for line in lines if "CtxDestroy" not in line),
             *("child " + line for line in lines)]
    answers = []
    for group in (None, g.group("max"), g.group("0")):
        for how in ("dlsym", "gpa2"):
            p = Program(g, group, how)
            answers.append([(line, p.result(line)) for line in steps])
            p.end()
        if group:
            assert g.current(group) == 0
            g.empty(group)
    for other in answers[1:]:
        assert other == answers[0], [pair for pair in zip(other, answers[0]) if pair[0] != pair[1]]


@test("a forked child that uses what its parent has, and calls after main has returned: as without us")
def _(g):
    before = ["init", "context 0", "alloc 1M", "create 2M 0", "range 2M", "map 3 0 2M 2", "array 64 64", "async 1M", "host 1M"]
    steps = ["free 1", "freeasync 5", "drop 2", "unmap 3 0 2M", "again 3", "endarray 4", "endhost 6", "info", "total 0", "alloc 1M",
             "managed 1M", "create 2M 0", "mipmap 64 64 2", "destroy 0", "reset 0", "pitch 10 10", "sync", "export 2"]
    answers = []
    for group in (None, g.group("max")):
        p = Program(g, group)
        for line in before:
            assert p.result(line) == OK, line
        got = [(line, p.result("child " + line)) for line in steps]
        held = g.current(group) if group else 0
        p.end()
        for line in ("alloc 1M", "free 1", "info", "drop 2", "destroy 0"):
            p = Program(g, group)
            for each in before:
                assert p.result(each) == OK, each
            assert p.result("later " + line) == OK
            out, _ = p.process.communicate()  # in a handler of atexit, and in a destructor
            got.append(("later " + line, [said.split()[0] for said in out.splitlines()], p.process.returncode))
        answers.append(got)
        if group:
            assert held >= 5 * MIB, held
            g.empty(group)
    assert answers[0] == answers[1], [pair for pair in zip(*answers) if pair[0] != pair[1]]


@test("freed twice, foreign, or of the wrong kind: the driver's answer, and no charge is lost")
def _(g):
    group = g.group("64M")
    p = Program(g, group).begin()
    a = p.keep("alloc 16M")
    assert p.result("freeraw 12345") == INVALID
    assert p.result("freeasync %d" % a) == INVALID and g.current(group) == 16 * MIB
    assert p.result("free %d" % a) == OK and p.result("free %d" % a) == INVALID
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("when the driver fails, its answer is passed on and nothing stays charged")
def _(g):
    for call, before, line in CRASHES:
        group = g.group("64M")
        p = Program(g, group, env={"FAKE_CUDA_FAIL": "%s:1:999" % call})
        prepare(p, before)
        held = g.current(group)
        result = p.result(line)
        assert result in (999, OK), (call, result)
        if result == 999:
            assert g.current(group) == held, (call, held, g.current(group))
        p.end()
        g.empty(group)


@test("without a device and a limit of one nothing of this is loaded")
def _(g):
    group = g.new_group()
    g.do("create", group)
    maps = g.spawn([g.memctl, "run", "-g", group, "--", "cat", "/proc/self/maps"], {"MEMCTL_DEVICE": "off"}).out
    assert "libmemctl-preload" in maps and "libmemctl-device" not in maps
    maps = g.spawn([g.memctl, "run", "-g", group, "--", "env", "cat", "/proc/self/maps"], {"MEMCTL_DEVICE": "on"}).out
    assert "libmemctl-preload" in maps and "libmemctl-device" in maps
    g.do("rm", group)


if os.environ.get("ONLY"):
    tests[:] = [t for t in tests if os.environ["ONLY"] in t[0]]
sys.exit(main(DeviceGround))
