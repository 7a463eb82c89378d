#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl run --need: the room that it waited for is COMMAND's and nobody else's."""
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import compile_c, main, test, wait_for

MIB = 1 << 20

# For each number of MiB in its input: allocates and touches them, and says "ok", or "no" when it was refused.
GROW = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
	static char line[64];
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		int n = atoi(line) * 16, good = 1;
		for (int i = 0; i < n && good; i++) {
			char *p = malloc(65536 - 64);
			good = p != NULL;
			if (good)
				memset(p, 1, 65536 - 64);
		}
		puts(good ? "ok" : "no");
	}
	return 0;
}
"""


class Grower:
    def __init__(self, g, group, *options, env=None):
        self.process = g.start([g.memctl, "run", *(["-g", group] if group else []), *options, "--",
                                compile_c(g, "grow", GROW)], env)

    def grow(self, mib):
        self.process.stdin.write("%d\n" % mib)
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
        return self.process.returncode


def runs(g, grower):
    """It has started: its program answers."""
    assert grower.grow(0) == "ok"


@test("what was waited for is kept for the program, against others in the group")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=100M")
    kept, other = Grower(g, group, "--need", "60M"), Grower(g, group)
    runs(g, kept)
    assert int(g.get(group, "memory.current")) < 4 * MIB  # it is room, not memory
    assert other.grow(60) == "no"
    assert kept.grow(50) == "ok"
    assert g.event(group, "over") == 0
    assert (kept.end(), other.end()) == (0, 0)
    g.settled(group)


@test("the program's children are given of it, too")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=100M")
    ballast = Grower(g, group)
    assert ballast.grow(30) == "ok"
    ran = g.spawn([g.memctl, "run", "-g", group, "--need", "60M", "--", "sh", "-c", "%s; true" % g.path("grow")],
                  stdin="50\n")
    assert (ran.status, ran.out) == (0, "ok\n"), ran
    assert ballast.end() == 0
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
    runs(g, second)
    assert second.grow(45) == "ok"
    assert second.end() == 0
    g.settled(group)


@test("what it has charged without being refused is no longer kept")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=200M")
    kept = Grower(g, group, "--need", "80M")
    runs(g, kept)
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
    waiting = g.start([g.memctl, "run", "-g", group, "--need", "90M", "--", g.path("grow")])
    wait_for("it runs", lambda: g.do("ps", "--no-header", "-o", "csv", "-f", "pid", group).split())
    next_one = Grower(g, group, "--need", "80M")
    assert "waiting until 80.0 MiB is free" in next_one.process.stderr.readline()
    os.kill(waiting.pid, signal.SIGKILL)
    runs(g, next_one)
    assert next_one.end() == 0
    waiting.communicate(timeout=60)
    g.settled(group)


@test("a transient group: the room is kept above it, and goes with it")
def _(g):
    parent = g.new_group()
    g.do("create", parent, "memory.max=100M")
    kept = Grower(g, None, "--need", "60M", env={"MEMCTL_GROUP": parent})
    runs(g, kept)
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
