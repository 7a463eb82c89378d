#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What follows when a limit has refused device memory, in front of a driver without a device: who is asked to give
back, who is protected, who is killed, slowed or made to wait, what is said about it, and that nobody hangs when
somebody dies in it."""
import contextlib
import os
import select
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import GIB, MIB, NO_MEMORY, OK, REGION, DeviceGround, Program  # noqa: E402
from events_client import Client  # noqa: E402
from real_programs import DEADLINE, listens, main, tasks, test, wait_for  # noqa: E402


class Keeper(Program):
    """Its driver keeps so much in a pool, and nothing of it is used."""

    def __init__(self, g, group, size, is_primary=False, is_heard=True, **how):
        super().__init__(g, group, **how)
        if is_primary:  # as the runtime does
            assert self.result("init") == OK
            assert self.result("current %d" % self.keep("retain 0")) == OK
        else:
            self.begin()
        assert self.result("threshold %d 100G" % self.keep("standard 0")) == OK
        self.fill(size)
        self.pid = self.do("pid")[1]
        if is_heard:
            listens(self.pid)

    def fill(self, size):
        at = self.keep("async %s" % size)
        assert self.result("freeasync %d" % at) == OK and self.result("sync") == OK


class PolicyGround(DeviceGround):
    def start(self, *words, **options):
        self.started.append(super().start(*words, **options))
        return self.started[-1]


@contextlib.contextmanager
def groups(g, limit, *names, **settings):
    """A group with a limit, and groups below it. What was started ends with them, and leaves nothing."""
    g.started = []
    top = g.group(limit, **settings)
    below = ["%s/%s" % (top, name) for name in names]
    for path in below:
        g.do("create", path)
    try:
        yield [top, *below] if names else top
        for process in g.started:
            if process.returncode is None:
                _, errors = process.communicate(timeout=DEADLINE)
                assert process.returncode == 0, errors
    finally:
        for process in g.started:
            process.kill()
    g.empty(*below)
    g.empty(top)


def holder(g, group, size):
    p = Program(g, group).begin()
    p.at = p.keep("alloc %s" % size)
    p.pid = p.do("pid")[1]
    return p


def event(g, group, name, region=REGION):
    return int(g.table(group, "dmem.events")["%s.%s" % (region, name)])


def stalled(g, group, what="some", key="dmem.pressure"):
    """Microseconds."""
    row = "%s.%s" % (REGION, what) if key == "dmem.pressure" else what
    lines = [line for line in g.get(group, key).splitlines() if line.startswith(row + " ")]
    return int(lines[0].split("total=")[1])


def is_silent(p):
    return not select.select([p.process.stdout], [], [], 0)[0]


def first_of(*programs):
    ready, _, _ = select.select([p.process.stdout for p in programs], [], [], DEADLINE)
    assert ready, "nobody goes on"
    return [p for p in programs if p.process.stdout in ready][0]


# ---- who is asked -------------------------------------------------------------------------------------------------

@test("who is refused asks another member, whose driver gives back what it keeps")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        keeper = Keeper(g, a, "200M")
        assert g.current(a) == 200 * MIB
        p = Program(g, b).begin()
        p.keep("alloc 128M")
        assert g.current(a) == 0 and g.current(b) == 128 * MIB
        assert event(g, top, "max") > 0 and event(g, top, "oom") == 0
        keeper.fill("64M")  # and it can use it again
        assert g.current(a) == 64 * MIB


@test("a driver that wants a context gets the program's primary one, which stays the program's")
def _(g):
    with groups(g, "256M", "a", "b", trim_needs_context=1) as (top, a, b):
        keeper = Keeper(g, a, "200M", is_primary=True)
        p = Program(g, b).begin()
        p.keep("alloc 128M")
        assert g.current(a) == 0
        keeper.keep("alloc 64M")
        assert keeper.result("release 0") == OK  # the last reference: all it has goes
        wait_for("it has gone", lambda: g.current(a) == 0)
        assert keeper.result("release 0") != OK


@test("what a driver uses is not taken, only what it keeps")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        keeper = Keeper(g, a, "100M")
        used = keeper.keep("alloc 80M")
        p = Program(g, b).begin()
        p.keep("alloc 128M")
        assert g.current(a) == 80 * MIB
        assert p.result("alloc 128M") == NO_MEMORY and event(g, top, "oom") == 1
        assert keeper.result("free %d" % used) == OK


@test("nobody outside the group that refused is asked")
def _(g):
    with groups(g, "max", "a", "b") as (top, a, b):
        g.do("set", b, "dmem.max=all 64M")
        Keeper(g, a, "200M")
        p = Program(g, b).begin()
        p.keep("alloc 48M")
        assert p.result("alloc 32M") == NO_MEMORY
        assert g.current(a) == 200 * MIB


@test("what dmem.min protects is not asked for")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        g.do("set", a, "dmem.min=all 200M")
        Keeper(g, a, "200M")
        p = Program(g, b).begin()
        assert p.result("alloc 128M") == NO_MEMORY and g.current(a) == 200 * MIB
        assert event(g, a, "low") == 0
        g.do("set", a, "dmem.min=all 199M")
        p.keep("alloc 128M")
        assert g.current(a) == 0


@test("what dmem.low protects is asked for when nothing else is to be had, and that is counted")
def _(g):
    with groups(g, "256M", "a", "b", "c") as (top, a, b, c):
        g.do("set", a, "dmem.low=all 100M")
        Keeper(g, a, "100M")
        Keeper(g, c, "100M")
        p = Program(g, b).begin()
        p.keep("alloc 128M")
        assert g.current(a) == 100 * MIB and g.current(c) == 0 and event(g, a, "low") == 0
        p.keep("alloc 64M")
        assert g.current(a) == 0 and event(g, a, "low") == 1 and event(g, c, "low") == 0


@test("the protection of the group that refused does not count for its own members")
def _(g):
    with groups(g, "256M") as top:
        g.do("set", top, "dmem.min=all 256M", "dmem.low=all 256M")
        Keeper(g, top, "200M")
        p = Program(g, top).begin()
        p.keep("alloc 128M")
        assert g.current(top) == 128 * MIB


@test("a limit of the root stands for the device: what is protected below it stays so")
def _(g):
    with groups(g, "max", "a", "b") as (top, a, b):
        g.do("set", top, "dmem.min=all 200M")
        g.do("set", a, "dmem.min=all 200M")
        Keeper(g, a, "200M")
        g.do("set", "/", "dmem.max=all 256M")
        try:
            p = Program(g, b).begin()
            assert p.result("alloc 128M") == NO_MEMORY and g.current(a) == 200 * MIB
            g.do("set", top, "dmem.min=all 0")
            p.keep("alloc 128M")
            assert g.current(a) == 0
        finally:
            g.do("set", "/", "dmem.max=all max")


def launchable(p):
    graph = p.keep("graph")
    assert p.result("node %d 128M" % graph) == OK
    return "launch %d" % p.keep("instantiate %d" % graph)


FULL = {  # what is called, with what; how much it is
    "cuMemAlloc": (lambda p: "alloc 128M", 128), "cuMemAllocManaged": (lambda p: "managed 128M", 128),
    "cuMemAllocPitch": (lambda p: "pitch 1M 128", 128), "cuMemCreate": (lambda p: "create 128M 0", 128),
    "cuArrayCreate": (lambda p: "array 2048 4096", 128), "cuArray3DCreate": (lambda p: "array3 1024 1024 8", 128),
    "cuMipmappedArrayCreate": (lambda p: "mipmap 2048 2048 2", 80),
    "cuMemAllocAsync": (lambda p: "async 128M", 128), "cuMemAllocAsync_ptsz": (lambda p: "asyncptsz 128M", 128),
    "cuMemAllocFromPoolAsync": (lambda p: "frompool 128M %d" % p.keep("pool 0"), 128),
    "cuGraphLaunch": (launchable, 128)}


for call in FULL:
    @test("a device that is full, without any limit, for %s: others are asked, as far as nothing protects them" % call)
    def _(g, call=call):
        with groups(g, "max", "a", "b", memory=256 * MIB) as (top, a, b):
            Keeper(g, a, "200M")
            g.do("set", top, "dmem.min=all 200M")
            g.do("set", a, "dmem.min=all 200M")
            p = Program(g, b).begin()
            line, size = FULL[call][0](p), FULL[call][1]
            assert p.result(line) == NO_MEMORY and g.current(a) == 200 * MIB and g.current(b) == 0
            g.do("set", top, "dmem.min=all 0", "dmem.low=all 200M")
            g.do("set", a, "dmem.min=all 0", "dmem.low=all 200M")
            assert p.result(line) == OK
            assert g.current(a) == 0 and g.current(b) == size * MIB and event(g, a, "low") == 1
            assert p.result("alloc 200M") == NO_MEMORY and g.current(b) == size * MIB


@test("a device that is full: room for what a driver takes for a context, and for a module")
def _(g):
    with groups(g, "max", "a", "b", memory=256 * MIB, context=50 * MIB, module=50 * MIB) as (top, a, b):
        keeper = Keeper(g, a, "190M")
        p = Program(g, b).begin()
        keeper.fill("110M")
        assert p.result("module") == OK
        assert p.result("alloc 110M") == NO_MEMORY


@test("a device that is full: a program's own shrinkers are asked, and told of what")
def _(g):
    with groups(g, "max", "a", memory=256 * MIB) as (_, a):
        s = Shrinker(g, a, 200)
        assert s.take(128) == OK
        assert s.do("told") == REGION
        assert g.current(a) == 128 * MIB


@test("for what the device never has nobody is asked")
def _(g):
    with groups(g, "max", "a", "b", memory=256 * MIB) as (_, a, b):
        Keeper(g, a, "100M")
        p = Program(g, b).begin()
        for line in "alloc 9G", "async 9G":  # the region is known to have 8 GiB, from other tests' drivers
            assert p.result(line) == NO_MEMORY
        assert g.current(a) == 100 * MIB
        p.keep("alloc 256M")
        assert g.current(a) == 0


@test("a device that is full: little that is given back counts, too, and what a program's own driver keeps")
def _(g):
    with groups(g, "max", "a", "b", memory=64 * MIB) as (_, a, b):
        Keeper(g, a, "8M")
        p = Keeper(g, b, "8M")
        p.keep("alloc 60M")
        assert g.current(a) == 0 and g.current(b) == 60 * MIB


@test("a limit set below what is used: drivers give back what they keep")
def _(g):
    for key in ("dmem.max", "dmem.high"):
        with groups(g, "256M", "a") as (top, a):
            Keeper(g, a, "200M")
            g.do("set", top, "%s=%s 64M" % (key, REGION))
            wait_for("it is given back", lambda path=a: g.current(path) == 0)


@test("a member that forks goes on giving; its child gives nothing, and calls no driver")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        keeper = Keeper(g, a, "200M")
        keeper.do("fork")
        listens(keeper.pid)
        p = Program(g, b).begin()
        p.keep("alloc 128M")
        assert g.current(a) == 0


class Shrinker:
    """A program that holds so much of a device, and gives it back when it is asked."""

    SCRIPT = """
import ctypes, sys
cuda, memctl = ctypes.CDLL("libcuda.so.1"), ctypes.CDLL("%s/memctl/.libs/libmemctl.so")
context, at, told = ctypes.c_void_p(), ctypes.c_uint64(), set()
take = lambda n: cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(n << 20))
memctl.memctl_shrinking.restype = ctypes.c_char_p
@ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
def shrink(arg, wanted):
    told.add(memctl.memctl_shrinking().decode())
    if memctl.memctl_shrinking() == b"memory":
        return 0
    cuda.cuCtxSetCurrent(context)
    return wanted if at.value and cuda.cuMemFree_v2(at) == 0 else 0
assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
assert take(int(sys.argv[1])) == 0 and memctl.memctl_shrinker_register(shrink, None) == 0
assert memctl.memctl_shrinking() is None
print("ready", flush=True)
for line in sys.stdin:
    print(" ".join(sorted(told)) if line == "told\\n" else take(int(line)), flush=True)
""" % os.environ["MEMCTL_BUILD"]

    def __init__(self, g, group, size):
        script = g.write("shrinker.py", self.SCRIPT)
        self.process = g.start([g.memctl, "run", "-g", group, "--", sys.executable, script, "%d" % size], g.device_env,
                               space=None)
        assert self.process.stdout.readline() == "ready\n", self.process.stderr.read()
        listens(int(g.do("ps", group).splitlines()[1].split()[0]))

    def do(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def take(self, size):
        return int(self.do("%d" % size))


@test("a program's shrinkers are asked for memory of a device, its own and other members'")
def _(g):
    with groups(g, "256M", "a", "b") as (_, a, b):
        s = Shrinker(g, a, 200)
        p = Program(g, b).begin()
        at = p.keep("alloc 128M")
        assert g.current(a) == 0
        assert p.result("free %d" % at) == OK
        assert s.take(200) == OK and s.take(150) == OK  # the second one needs what the first one has
        assert g.current(a) == 150 * MIB


@test("a program's shrinkers are told which memory is short, the host's or a device's")
def _(g):
    with groups(g, "256M", "a", "b") as (_, a, b):
        s = Shrinker(g, a, 200)
        assert s.do("told") == ""
        with contextlib.suppress(AssertionError):  # it gives less
            g.do("reclaim", a, "64M")
        assert s.do("told") == "memory" and g.current(a) == 200 * MIB
        p = Program(g, b).begin()
        p.keep("alloc 128M")
        assert s.do("told") == REGION + " memory" and g.current(a) == 0


# ---- who does not listen, and whose driver is far ------------------------------------------------------------------

@test("a member without a helper gives at its next call about a pool")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        g.do("set", top, "memory.oom.policy=wait")
        keeper = Keeper(g, a, "200M", is_heard=False, env={"MEMCTL_HELPER": "off"})
        p = Program(g, b).begin()
        p.say("alloc 128M")
        wait_for("it waits", lambda: stalled(g, b) > 0)
        assert is_silent(p) and g.current(a) == 200 * MIB
        assert keeper.result("sync") == OK
        assert p.answer()[0] == OK and g.current(a) == 0
        keeper.fill("100M")
        g.do("set", top, "dmem.max=all 200M")
        assert g.current(a) == 100 * MIB
        used = keeper.keep("async 8M")
        assert g.current(a) == 8 * MIB
        assert keeper.result("freeasync %d" % used) == OK


@test("a member whose driver lies in another link namespace gives as others do")
def _(g):
    with groups(g, "256M", "a", "b") as (_, a, b):
        Keeper(g, a, "200M", how="dlmopen")
        p = Program(g, b).begin()
        p.keep("alloc 128M")
        assert g.current(a) == 0


# ---- what is captured ---------------------------------------------------------------------------------------------

@test("a capture stays whole whatever is asked of pools meanwhile: by its program, and by us for others")
def _(g):
    for mode in (0, 1, 2):
        with groups(g, "256M", "a", "b") as (_, a, b):
            keeper = Keeper(g, a, "200M")
            stream, other = keeper.keep("stream"), keeper.keep("stream")
            assert keeper.result("capture %d %d" % (stream, mode)) == OK
            keeper.keep("async 64M %d" % stream)
            keeper.keep("async 8M %d" % other)
            p = Program(g, b).begin()
            p.keep("alloc 128M")
            assert g.current(a) == 8 * MIB
            keeper.keep("async 120M %d" % other)
            assert keeper.result("async 8M %d" % other) == NO_MEMORY
            assert keeper.result("captured %d" % stream) == OK


# ---- who dies in it -----------------------------------------------------------------------------------------------

@test("a member that is stopped is not waited for, and gives when it goes on")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        keeper = Keeper(g, a, "200M")
        os.kill(keeper.pid, signal.SIGSTOP)
        wait_for("it is stopped", lambda: all(state == "T" for _, state in tasks(keeper.pid)))
        p = Program(g, b).begin()
        assert p.result("alloc 128M") == NO_MEMORY and g.current(a) == 200 * MIB
        os.kill(keeper.pid, signal.SIGCONT)
        wait_for("it gives", lambda: g.current(a) == 0)
        p.keep("alloc 128M")


@test("a member that is killed while it is asked: who asked gets what it had")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        g.do("set", top, "memory.oom.policy=wait")
        keeper = Keeper(g, a, "200M")
        os.kill(keeper.pid, signal.SIGSTOP)
        wait_for("it is stopped", lambda: all(state == "T" for _, state in tasks(keeper.pid)))
        p = Program(g, b).begin()
        p.say("alloc 128M")
        wait_for("it waits", lambda: stalled(g, b) > 0)
        os.kill(keeper.pid, signal.SIGKILL)
        assert p.answer()[0] == OK
        keeper.end(128 + signal.SIGKILL)


@test("one that is killed while it asks, and waits, leaves nothing behind")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        g.do("set", top, "memory.oom.policy=wait")
        keep = holder(g, a, "200M")
        p = Program(g, b).begin()
        pid = p.do("pid")[1]
        p.say("alloc 128M")
        wait_for("it waits", lambda: stalled(g, b) > 0)
        assert is_silent(p)
        os.kill(pid, signal.SIGKILL)
        p.end(128 + signal.SIGKILL)
        q = Program(g, b).begin()
        q.say("alloc 128M")
        assert keep.result("free %d" % keep.at) == OK
        assert q.answer()[0] == OK
        assert g.current(top) == 128 * MIB


@test("one that is killed while it is slowed leaves nothing behind")
def _(g):
    with groups(g, "max") as group:
        g.do("set", group, "dmem.high=all 64M")
        p = Program(g, group).begin()
        pid = p.do("pid")[1]
        p.say("alloc 1G")
        wait_for("it is slowed", lambda: g.current(group) == GIB)
        os.kill(pid, signal.SIGKILL)
        p.end(128 + signal.SIGKILL)


@test("killed at any moment among others that contend: those go on, and nothing is left of it")
def _(g):
    with groups(g, "64M", "a", "b") as (top, a, b):
        g.do("set", top, "memory.oom.policy=wait")
        stays = Program(g, b).begin()
        for moment in range(12):  # so many looks after it has begun
            goes = Keeper(g, a, "40M") if moment % 2 else Program(g, a).begin()
            pid = goes.do("pid")[1]
            stays.say("churn 3000 40M")  # one of them at a time
            goes.say("churn 1000000 40M")
            for _ in range(moment // 2):
                assert g.current(top) <= 64 * MIB
            os.kill(pid, signal.SIGKILL)
            goes.end(128 + signal.SIGKILL)
            assert stays.answer() == [OK, 3000, 0]
            wait_for("what it had is back", lambda: g.current(top) == 0)
        assert g.number(top, "dmem.peak") <= 64 * MIB


# ---- kill ---------------------------------------------------------------------------------------------------------

@test("the policy kill: the largest holder of the region in the group that refused, and nobody outside")
def _(g):
    with groups(g, "max") as outside, groups(g, "256M", "a", "b") as (top, a, b):
        g.do("set", top, "memory.oom.policy=kill")
        other = holder(g, outside, "1G")
        large, small = holder(g, a, "160M"), holder(g, b, "60M")
        assert small.result("alloc 100M") == OK
        large.end(128 + signal.SIGKILL)
        report = g.get(top, "memory.oom.report")
        assert report.startswith("out of %s in %s: pid %d " % (REGION, top, small.pid)), report
        assert "killed pid %d " % large.pid in report and "asked for 100.0 MiB" in report, report
        assert "%s: dmem.current 220.0 MiB, high max, max 256.0 MiB: it refused" % top in report, report
        assert "swapped" not in report and "pid %d" % other.pid not in report, report
        assert event(g, top, "oom_kill") == 1 and event(g, a, "oom_kill") == 1 and event(g, b, "oom_kill") == 0
        assert g.event(top, "oom_kill") == 0, "host memory's events are its own"
        assert other.result("free %d" % other.at) == OK


@test("oom_score_adj is a share of what the device has; who holds nothing there is not killed")
def _(g):
    with groups(g, "256M") as group:
        g.do("set", group, "memory.oom.policy=kill")
        bystander = Program(g, group).begin()
        large, small = holder(g, group, "160M"), holder(g, group, "60M")
        for p, adj in ((bystander, 1000), (small, 100)):  # 100 thousandths of 8 GiB
            with open("/proc/%d/oom_score_adj" % p.do("pid")[1], "w") as f:
                f.write("%d" % adj)
        assert large.result("alloc 50M") == OK
        small.end(128 + signal.SIGKILL)
        assert "oom_score_adj 100\n" in g.get(group, "memory.oom.report")
        assert bystander.result("init") == OK


@test("memory.oom.group: the whole group goes")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        g.do("set", top, "memory.oom.policy=kill")
        g.do("set", a, "memory.oom.group=1")
        one, two = holder(g, a, "160M"), Program(g, a).begin()
        two.keep("alloc 2M")
        p = holder(g, b, "60M")
        assert p.result("alloc 100M") == OK
        one.end(128 + signal.SIGKILL)
        two.end(128 + signal.SIGKILL)
        assert event(g, top, "oom_group_kill") == 1 and event(g, a, "oom_kill") == 2


@test("for what never fits nobody is killed")
def _(g):
    with groups(g, "256M") as group:
        g.do("set", group, "memory.oom.policy=kill")
        p = holder(g, group, "160M")
        assert p.result("alloc 300M") == NO_MEMORY and event(g, group, "oom_kill") == 0
        assert p.result("free %d" % p.at) == OK


@test("before a kill others are asked")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        g.do("set", top, "memory.oom.policy=kill")
        Keeper(g, a, "200M")
        p = Program(g, b).begin()
        p.keep("alloc 128M")
        assert event(g, top, "oom_kill") == 0 and g.get(top, "memory.oom.report") == ""


# ---- high ---------------------------------------------------------------------------------------------------------

@test("above dmem.high nothing is refused: it is slowed, counted, and told as pressure")
def _(g):
    with groups(g, "max", "a") as (top, a):
        g.do("set", top, "dmem.high=all 100M")
        p = Program(g, a).begin()
        p.keep("alloc 96M")
        assert event(g, top, "high") == 0 and stalled(g, top) == 0
        p.keep("alloc 16M")  # 12 % above: the formula's longest for so many pages, 2 s
        assert event(g, top, "high") == 1 and event(g, a, "high") == 0 and event(g, top, "oom") == 0
        assert 1990000 <= wait_for("it is told", lambda: stalled(g, top))
        assert 1990000 <= stalled(g, a, "full") and stalled(g, "/") >= 1990000
        assert stalled(g, a, key="memory.pressure") == 0


@test("above dmem.high a driver's own pools are trimmed first, and others'")
def _(g):
    with groups(g, "max", "a", "b") as (top, a, b):
        Keeper(g, a, "80M")
        p = Keeper(g, b, "80M")
        g.do("set", top, "dmem.high=all 162M")
        p.keep("alloc 64M")
        wait_for("they have given", lambda: g.current(top) == 64 * MIB)


@test("what was given back and is taken again from the stock is not slowed anew")
def _(g):
    with groups(g, "max") as group:
        p = Program(g, group).begin()
        a = p.keep("alloc 64M")
        b = p.keep("alloc 2M")
        g.do("set", group, "dmem.high=all 60M")
        assert p.result("free %d" % b) == OK
        p.keep("alloc 2M")
        assert event(g, group, "high") == 0
        assert p.result("free %d" % a) == OK


# ---- pressure -----------------------------------------------------------------------------------------------------

@test("dmem.pressure: time spent waiting for a region, in its group and above, and no other")
def _(g):
    with groups(g, "256M", "a", "b") as (top, a, b):
        g.do("set", top, "memory.oom.policy=wait")
        keep = holder(g, a, "200M")
        client = Client(g)
        heard = client.subscribe(top, "dmem-pressure:%s:critical" % REGION)
        p = Program(g, b).begin()
        assert stalled(g, top) == 0
        p.say("alloc 128M")
        wait_for("it is told", lambda: stalled(g, top) > 300000 and stalled(g, b, "full") > 300000)
        assert stalled(g, a) == 0 and stalled(g, "/") > 300000
        assert stalled(g, b, key="memory.pressure") == 0
        heard.await_count(1)
        lines = g.get(b, "dmem.pressure").splitlines()
        assert lines[0].startswith(REGION + ".some avg10=") and " avg60=" in lines[0] and " avg300=" in lines[0], lines
        assert keep.result("free %d" % keep.at) == OK
        assert p.answer()[0] == OK
        client.socket.close()


# ---- members that wait for each other -----------------------------------------------------------------------------

@contextlib.contextmanager
def two_that_wait(g, deadlock):
    with groups(g, "64M") as group:
        g.do("set", group, "memory.oom.policy=wait", "memory.oom.deadlock=" + deadlock)
        pair = [holder(g, group, "28M") for _ in range(2)]
        for p in pair:
            p.say("alloc 16M")
        yield group, pair


@test("members that wait for each other's device memory: one is let through, and that is said")
def _(g):
    with two_that_wait(g, "pass") as (group, pair):
        first = first_of(*pair)
        other = pair[1] if first is pair[0] else pair[0]
        assert first.answer()[0] == OK
        report = g.get(group, "memory.oom.report")
        assert report.startswith("members of %s wait for each other: dmem.current of %s " % (group, REGION)), report
        assert "let through beyond dmem.max, for a quarter of it at most: pid " in report, report
        assert event(g, group, "over") == 1 and g.number(group, "dmem.peak") == 72 * MIB
        assert is_silent(other)
        assert first.result("free %d" % first.at) == OK
        assert other.answer()[0] == OK


@test("memory.oom.deadlock=refuse: one is refused, the limit holds")
def _(g):
    with two_that_wait(g, "refuse") as (group, pair):
        first = first_of(*pair)
        other = pair[1] if first is pair[0] else pair[0]
        assert first.answer()[0] == NO_MEMORY
        assert first.result("free %d" % first.at) == OK
        assert other.answer()[0] == OK
        assert event(g, group, "over") == 0 and g.number(group, "dmem.peak") <= 64 * MIB


@test("one of two that wait for each other is killed: the other goes on")
def _(g):
    with two_that_wait(g, "wait") as (group, pair):
        wait_for("both wait", lambda: stalled(g, group) > 600000)
        assert is_silent(pair[0]) and is_silent(pair[1])
        os.kill(pair[0].pid, signal.SIGKILL)
        pair[0].end(128 + signal.SIGKILL)
        assert pair[1].answer()[0] == OK


sys.exit(main(PolicyGround))
