#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Device memory of OpenCL programs, in front of PoCL, a real driver whose device is the CPU: what is charged, refused,
shown and given back, however a program finds its loader and however it ends."""
import glob
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import DEADLINE, Ground, Skip, compile_c, leave_room, listens, main  # noqa: E402
from real_programs import need, test, wait_for  # noqa: E402
from told_program import ToldProgram  # noqa: E402

KIB = 1 << 10
MIB = 1 << 20
BUILD = os.environ["MEMCTL_BUILD"] + "/tests/device"
WAYS = ("linked", "dlsym", "global", "deepbind", "dlmopen")
OK, NO_MEMORY = 0, -4
USE_HOST, ALLOC_HOST = 8, 16
IMAGES = (  # kind, width, height, depth or layers; bytes in this driver
    ("4337 1000 1000 0", 4000000), ("4338 100 100 10", 400000), ("4339 100 100 5", 200000), ("4340 1000 0 0", 4000),
    ("4341 1000 0 5", 20000), ("2 500 300 0", 600000), ("3 100 100 10", 400000))
LAYER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int clGetLayerInfo(unsigned what, size_t size, void *value, size_t *ret)
{
	if (what != 0x4240)
		return -30;
	if (value)
		*(unsigned *)value = 100;
	if (ret)
		*ret = 4;
	return 0;
}
static void *(*below)(void *, unsigned long, size_t, void *, int *);
static void *create(void *context, unsigned long flags, size_t size, void *host, int *err)
{
	fprintf(stderr, "a layer saw %zu\n", size);
	return below(context, flags, size, host, err);
}
int clInitLayer(unsigned n, void **from, unsigned *ret_n, void ***ret)
{
	static void *table[256];
	memcpy(table, from, n * sizeof(*from));
	below = from[14];
	table[14] = create;
	*ret_n = n;
	*ret = table;
	return 0;
}
"""
ARRAYS = """
import numpy, pyopencl, sys
context = pyopencl.Context([pyopencl.get_platforms()[0].get_devices()[0]])
queue = pyopencl.CommandQueue(context)
sent = numpy.arange(1 << 20, dtype=numpy.int32)
buffer = pyopencl.Buffer(context, pyopencl.mem_flags.READ_WRITE | pyopencl.mem_flags.COPY_HOST_PTR, hostbuf=sent)
back = numpy.empty_like(sent)
pyopencl.enqueue_copy(queue, back, buffer)
print("same" if (sent == back).all() else "different")
try:
    more = pyopencl.Buffer(context, pyopencl.mem_flags.READ_WRITE, 64 << 20)
    print("more")
except pyopencl.MemoryError as why:
    print("refused", why.code)
sys.stdout.flush()
sys.stdin.read()
"""


class Program(ToldProgram):
    """Its client."""

    def __init__(self, g, group=None, how="dlsym", env=None, devices=1):
        client = BUILD + ("/opencl_client_linked" if how == "linked" else "/opencl_client")
        need(client)
        super().__init__(g, group, [client, how], {**g.opencl_env, **(env or {})})
        assert self.result("begin %d" % devices) == OK

    def number(self, line):
        result, number = self.do(line)
        assert result == OK, (line, result)
        return number


class OpenclGround(Ground):
    def __init__(self):
        super().__init__()
        os.mkdir(self.path("cache"))
        self.opencl_env = {"MEMCTL_DEVICE": "on", "POCL_CACHE_DIR": self.path("cache")}
        self.env.pop("OPENCL_LAYERS", None)

    def run(self, group):
        return [self.memctl, "run", "-g", group, "--"] if group else []

    def group(self, limit="max", *more):
        if not glob.glob("/etc/OpenCL/vendors/pocl.icd"):
            raise Skip("pocl-opencl-icd is missing")
        name = self.new_group()
        self.do("create", name, "dmem.max=all %s" % limit, *more)
        return name

    def rows(self, group, key):
        lines = [line.rsplit(" ", 1) for line in self.get(group, key).splitlines()]
        return [(name, int(value)) for name, value in lines if name.startswith("opencl/cpu-")]

    def current(self, group, key="dmem.current"):
        return sum(value for _, value in self.rows(group, key))

    def events(self, group, name):
        return sum(value for key, value in self.rows(group, "dmem.events") if key.endswith("." + name))

    def empty(self, *groups):
        for group in (*groups, "/"):
            wait_for("%s holds nothing" % group, lambda p=group: self.current(p) == 0)
        for group in groups:
            self.do("rm", group)


def pages(n):
    return (n + 4095) // 4096 * 4096


for way in WAYS:
    @test("found by %s: charged, refused at the limit, given back" % way)
    def _(g, way=way):
        group = g.group("64M")
        p = Program(g, group, way)
        a = p.number("buffer %d" % (48 * MIB))
        assert g.current(group) == 48 * MIB
        assert p.result("buffer %d" % (17 * MIB)) == NO_MEMORY and p.result("svm %d" % (17 * MIB)) == -1
        assert g.current(group) == 48 * MIB and g.events(group, "oom") == 2
        assert p.number("total") == 64 * MIB and p.number("most") == 64 * MIB
        assert p.result("release %d" % a) == OK and g.current(group) == 0
        p.number("buffer %d" % (64 * MIB))
        assert g.current(group, "dmem.peak") == 64 * MIB
        p.end()  # with what it has
        g.empty(group)


@test("a driver that has no more: its own error, or another try when a shrinker has given some back")
def _(g):
    for error in (4, 5, 6):  # on a CPU the host's memory is the device's, too
        group = g.group()
        p = Program(g, group)
        p.number("buffer %d" % MIB), p.number("buffer %d" % MIB)
        for line, result in ("buffer", -error), ("noerr", -1):
            p.do("fail %d" % error)
            assert p.result("%s %d" % (line, MIB)) == result and g.current(group) == 2 * MIB
        assert p.result("shrink") == OK
        listens(p.do("pid")[1])
        p.do("fail %d" % 61)  # a wrong size is not for want of memory
        assert p.result("buffer %d" % MIB) == -61 and g.current(group) == 2 * MIB
        for line in "buffer", "noerr":
            p.do("fail %d" % error)
            assert p.result("%s %d" % (line, MIB)) == OK and g.current(group) == 2 * MIB
        p.end()
        g.empty(group)


@test("the same of a driver that really has no more")
def _(g):
    group = g.group()
    p = Program(g, group)
    leave_room(p.do("pid")[1], 1536 * MIB)
    for line, refused in ("svm %d" % (1024 * MIB), -1), ("buffer %d %d" % (1024 * MIB, 1 | ALLOC_HOST), -6):
        at = p.number(line)
        assert p.result(line) == refused and g.current(group) == 1024 * MIB
        assert p.result(("svmfree %d" if refused == -1 else "release %d") % at) == OK
    p.end()
    g.empty(group)
    for line in "svm %d" % (1024 * MIB), "buffer %d %d" % (1024 * MIB, 1 | ALLOC_HOST):
        p = Program(g, group := g.group())
        leave_room(p.do("pid")[1], 1536 * MIB)
        p.number("buffer %d %d" % (1024 * MIB, 1 | ALLOC_HOST))
        assert p.result("shrink") == OK
        listens(p.do("pid")[1])
        p.number(line)
        assert g.current(group) == 1024 * MIB
        p.end()
        g.empty(group)


@test("given back with the last part, after the program's own callbacks")
def _(g):
    group = g.group("64M")
    p = Program(g, group)
    a = p.number("buffer %d" % (8 * MIB))
    p.number("call %d 1" % a), p.number("call %d 2" % a)
    part = p.number("part %d 0 %d" % (a, MIB))
    assert g.current(group) == 8 * MIB
    p.number("retain %d" % a), p.number("release %d" % a), p.number("release %d" % a)
    assert g.current(group) == 8 * MIB and p.number("order") == 0
    p.number("release %d" % part)
    assert g.current(group) == 0 and p.number("order") == 21
    p.end()
    g.empty(group)


@test("images of every kind, as long as the driver makes them")
def _(g):
    group = g.group("16M")
    p = Program(g, group)
    for shape, size in IMAGES:
        image = p.number("image " + shape)
        assert p.number("size %d" % image) == size
        assert g.current(group) == pages(size), (shape, g.current(group))
        p.number("release %d" % image)
        assert g.current(group) == 0
    for shape in ("4337 4096 2048 0", "4338 1024 1024 8", "2 4096 2048 0", "3 1024 1024 8"):
        assert p.result("image " + shape) == NO_MEMORY, shape
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("shared virtual memory, given back at once or by a command")
def _(g):
    group = g.group("16M")
    p = Program(g, group)
    a, b = p.number("svm %d" % (8 * MIB)), p.number("svm %d" % (8 * MIB))
    assert g.current(group) == 16 * MIB and p.result("svm 4096") == -1
    p.number("svmfree %d" % a)
    assert g.current(group) == 8 * MIB
    p.number("svmlater %d" % b), p.number("finish")
    assert g.current(group) == 0
    p.number("svm %d" % (16 * MIB))
    p.end()
    g.empty(group)


@test("the program's own memory is not charged again, the driver's for the host is")
def _(g):
    group = g.group("16M")
    p = Program(g, group)
    p.number("buffer %d %d" % (32 * MIB, USE_HOST))
    assert g.current(group) == 0
    p.number("buffer %d %d" % (8 * MIB, ALLOC_HOST))
    assert g.current(group) == 8 * MIB
    p.end()
    g.empty(group)


@test("bad input is answered as without us, also where there is no room")
def _(g):
    group = g.group("1M")
    answers = []
    for member in (None, group):
        p = Program(g, member)
        answers.append([p.result("bad %d" % i) for i in range(13)])
        p.end()
    assert answers[0] == answers[1] and answers[0].count(OK) < 5, answers
    g.empty(group)


@test("killed: what it had is given back exactly")
def _(g):
    group = g.group("64M")
    kept, p = Program(g, group), Program(g, group)
    kept.number("buffer %d" % (3 * MIB))
    for _ in range(20):
        p.number("buffer %d" % (513 * KIB))
    p.number("svm 100000")
    assert g.current(group) == 3 * MIB + 20 * 516 * KIB + pages(100000)
    os.kill(p.number("pid"), signal.SIGKILL)
    p.end(128 + signal.SIGKILL)
    wait_for("it is given back", lambda: g.current(group) == 3 * MIB)
    kept.end()
    g.empty(group)


@test("two race at the limit: never over, and both get on")
def _(g):
    group = g.group("64M")
    both = [Program(g, group), Program(g, group)]
    for p in both:
        p.say("race 500000 %d" % (40 * MIB))
    made = [p.answer()[1] for p in both]
    assert g.current(group, "dmem.peak") == 40 * MIB, g.current(group, "dmem.peak")
    assert min(made) > 0, made
    assert g.current(group) == 0 and g.events(group, "over") == 0
    for p in both:
        p.end()
    g.empty(group)


@test("in a context of two devices: charged to both, refused by either")
def _(g):
    group = g.group("64M")
    p = Program(g, group, env={"POCL_DEVICES": "basic pthread"}, devices=2)
    a = p.number("buffer %d" % (8 * MIB))
    b = p.number("svm %d" % (8 * MIB))
    rows = [(name, value) for name, value in g.rows(group, "dmem.current") if value]
    assert [value for _, value in rows] == [16 * MIB, 16 * MIB], rows
    for name, _ in rows:
        g.do("set", group, "dmem.max=%s 20M" % name)
        assert p.result("buffer %d" % (8 * MIB)) == NO_MEMORY and g.current(group) == 32 * MIB
        g.do("set", group, "dmem.max=%s 64M" % name)
    p.number("release %d" % a), p.number("svmfree %d" % b)
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("a child of fork takes nothing along")
def _(g):
    group = g.group("64M")
    p = Program(g, group)
    a = p.number("buffer %d" % (8 * MIB))
    assert p.result("fork") == OK
    assert g.current(group) == 8 * MIB
    p.number("release %d" % a)
    assert g.current(group) == 0
    p.end()
    g.empty(group)


@test("a user's own layers stay, and see what they saw")
def _(g):
    group = g.group("64M")
    layer = compile_c(g, "layer.so", LAYER, "-shared", "-fPIC")
    for layers in (layer, "/nowhere/libmemctl-device.so:" + layer):
        p = Program(g, group, env={"OPENCL_LAYERS": layers})
        p.number("buffer %d" % (8 * MIB))
        assert g.current(group) == 8 * MIB
        assert p.end() == "a layer saw %d\n" % (8 * MIB)
    shown = g.spawn([*g.run(group), *g.run(group), "sh", "-c", "sh -c 'echo $OPENCL_LAYERS'"],
                    {**g.opencl_env, "OPENCL_LAYERS": layer})
    words = shown.out.strip().split(":")
    assert len(words) == 2 and words[0].endswith("libmemctl-device.so") and words[1] == layer, shown
    g.empty(group)


@test("clinfo says what it says without us, but for the group's share")
def _(g):
    need("clinfo")
    limited, free = g.group("256M"), g.group()
    plain = g.spawn(["clinfo"], g.opencl_env, space=None).out.splitlines()
    assert len(plain) > 50, plain
    assert g.spawn([*g.run(free), "clinfo"], g.opencl_env, space=None).out.splitlines() == plain
    shown = g.spawn([*g.run(limited), "clinfo"], g.opencl_env, space=None).out.splitlines()
    changed = [(a, b) for a, b in zip(plain, shown) if a != b]
    assert len(plain) == len(shown) and len(changed) == 2, changed
    assert all("268435456 (256MiB)" in b for _, b in changed), changed
    g.do("set", limited, "dmem.view=real")
    assert g.spawn([*g.run(limited), "clinfo"], g.opencl_env, space=None).out.splitlines() == plain
    g.empty(limited, free)


@test("pyopencl: charged, refused, and its numbers right")
def _(g):
    if not glob.glob("/usr/lib/python3/dist-packages/pyopencl"):
        raise Skip("python3-pyopencl is missing")
    group = g.group("32M")
    script = g.write("arrays.py", ARRAYS)
    p = g.start([*g.run(group), "/usr/bin/python3", script], {**g.opencl_env, "HOME": g.work}, space=None)
    lines = [p.stdout.readline().strip() for _ in range(2)]
    assert lines == ["same", "refused -4"], (lines, p.poll())
    assert g.current(group) == 4 * MIB
    p.communicate(timeout=DEADLINE)
    g.empty(group)


if __name__ == "__main__":
    sys.exit(main(OpenclGround))
