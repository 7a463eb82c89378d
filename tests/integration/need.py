#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl run --need: the room that it waited for is COMMAND's and nobody else's."""
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from growing import Grower, MIB, program
from real_programs import comment, compile_c, main, test, wait_for

# Takes and gives back 1 MiB until its input ends; then it says how often it had it.
HAMMER = r"""
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
	struct pollfd end = { .fd = 0, .events = POLLIN };
	unsigned long had = 0;
	puts("begins");
	fflush(stdout);
	while (poll(&end, 1, 0) == 0) {
		for (int i = 0; i < 64; i++) {
			char *volatile p = malloc(1 << 20);
			had += p != NULL;
			if (p)
				memset(p, 1, 1 << 20);
			free(p);
		}
	}
	printf("%lu\n", had);
	return 0;
}
"""


@test("what was waited for is kept for the program, against others in the group")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=100M")
    kept, other = Grower(g, group, "--need", "60M"), Grower(g, group)
    kept.runs()
    assert int(g.get(group, "memory.current")) < 4 * MIB  # it is room, not memory
    assert other.grow(60) == "no"
    assert kept.grow(50) == "ok"
    g.within(group)
    assert (kept.end(), other.end()) == (0, 0)
    g.settled(group)


@test("the program's children are given of it, too")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=100M")
    ballast = Grower(g, group)
    assert ballast.grow(30) == "ok"
    ran = g.spawn([g.memctl, "run", "-g", group, "--need", "60M", "--", "sh", "-c", "%s; true" % program(g)],
                  stdin="50\n")
    assert (ran.status, ran.out) == (0, "ok\n"), ran
    assert ballast.end() == 0
    g.settled(group)


@test("what a program charges itself is given of it, too")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=100M", "memory.charge=commit")
    code = """import ctypes
m = ctypes.CDLL("libmemctl.so.0")
charge = lambda n: m.memctl_charge(b"memory", ctypes.c_uint64(n << 20))
print(charge(70), charge(70) != 0, m.memctl_uncharge(b"memory", ctypes.c_uint64(70 << 20)))"""
    ran = g.spawn([g.memctl, "run", "-g", group, "--need", "80M", "--", sys.executable, "-c", code])
    assert (ran.status, ran.out) == (0, "0 True 0\n"), ran
    g.settled(group)


@test("it starts when there is room, and not before")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=100M")
    first = Grower(g, group)
    assert first.grow(60) == "ok"
    second = Grower(g, group, "--need", "50M")
    line = second.process.stderr.readline()
    assert line == "memctl: run: waiting until 50.0 MiB is free in %s\n" % group, line
    assert len(g.do("ps", "--no-header", "-o", "csv", "-f", "pid", group).split()) == 1
    assert first.end() == 0
    second.runs()
    assert second.grow(45) == "ok"
    assert second.end() == 0
    g.settled(group)


@test("what it has charged without being refused is no longer kept")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=200M")
    kept = Grower(g, group, "--need", "80M")
    kept.runs()
    assert kept.grow(80) == "ok"

    def another_fits():
        other = Grower(g, group)
        said = other.grow(100)
        assert other.end() == 0
        return said == "ok"

    wait_for("no more is kept", another_fits)
    assert kept.end() == 0
    g.settled(group)


@test("whoever kills memctl frees what it kept")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=100M")
    waiting = g.start([g.memctl, "run", "-g", group, "--need", "90M", "--", program(g)])
    wait_for("it runs", lambda: g.do("ps", "--no-header", "-o", "csv", "-f", "pid", group).split())
    next_one = Grower(g, group, "--need", "80M")
    assert "waiting until 80.0 MiB is free" in next_one.process.stderr.readline()
    os.kill(waiting.pid, signal.SIGKILL)
    next_one.runs()
    assert next_one.end() == 0
    waiting.communicate(timeout=60)
    g.settled(group)


@test("others at the limit get nothing of it, however hard they try")
def _(g):
    """The policy is fail: a page that somebody else had for a moment would be a refusal."""
    group = g.new_group()
    g.do("create", group, "memory.max=100M")
    kept, ballast = Grower(g, group, "--need", "60M"), Grower(g, group)
    kept.runs()
    ballast.runs()
    while ballast.grow(1) == "ok":
        pass
    hammer = compile_c(g, "hammer", HAMMER)
    others = [g.start([g.memctl, "run", "-g", group, "--", hammer]) for _ in range(2)]
    for other in others:
        assert other.stdout.readline() == "begins\n"
    said = [kept.grow(1) for _ in range(52)]  # the rest: its metadata, and what was not touched in time is taken back
    assert said == ["ok"] * 52, said
    had = [int(other.communicate("\n", timeout=60)[0]) for other in others]
    comment("the others had 1 MiB %d and %d times" % tuple(had))
    g.within(group)
    assert (kept.end(), ballast.end()) == (0, 0)
    g.settled(group)


@test("a transient group: the room is kept above it, and goes with it")
def _(g):
    parent = g.new_group()
    g.do("create", parent, "memory.max=100M")
    kept = Grower(g, None, "--need", "60M", env={"MEMCTL_GROUP": parent})
    kept.runs()
    other = Grower(g, parent)
    assert other.grow(60) == "no"
    assert kept.grow(50) == "ok"
    assert (kept.end(), other.end()) == (0, 0)
    wait_for("it is gone", lambda: "run-" not in g.do("ls", parent))
    g.settled(parent)


@test("more than a limit can never be waited for")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=64M")
    ran = g.spawn([g.memctl, "run", "-g", group, "--need", "65M", "--", "true"])
    assert ran.status == 125 and "65.0 MiB can never be free in %s, whose memory.max is 64.0 MiB" % group in ran.err, ran
    assert g.get(group, "memory.current") == "0"
    g.do("rm", group)


sys.exit(main())
