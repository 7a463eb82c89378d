#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Out of memory: who has asked for a kill is not forgotten, and members that wait for each other are found."""
import os
import select
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import compile_c, main, test, wait_for

MIB = 1 << 20

# For each number of MiB in its input: allocates and touches them, and says "ok", or "no" when it was refused.
GROW = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
	static char line[64];
	(void)argv;
	if (argc > 1)
		signal(SIGTERM, SIG_IGN);
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
    def __init__(self, g, group, *words):
        self.process = g.start([g.memctl, "run", "-g", group, "--", compile_c(g, "grower", GROW), *words])
        assert self.grow(0) == "ok"

    def ask(self, mib):
        self.process.stdin.write("%d\n" % mib)
        self.process.stdin.flush()

    def answer(self):
        return self.process.stdout.readline().strip()

    def grow(self, mib):
        self.ask(mib)
        return self.answer()

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(60)
        self.errors = self.process.stderr.read()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
        return status


@test("who asked for a kill waits until what precedes it is over")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=64M", "memory.oom.policy=kill", "memory.oom.term=7000")
    stubborn, other = Grower(g, group, "ignore"), Grower(g, group)
    assert stubborn.grow(40) == "ok"
    assert other.grow(30) == "ok"
    assert stubborn.answer() == "" and stubborn.end() == 128 + signal.SIGKILL
    assert other.end() == 0
    g.settled(group)


def two_that_wait(g, how):
    """Both hold half of the limit, and want more than there is."""
    group = g.new_group()
    g.do("create", group, "memory.max=64M", "memory.oom.policy=wait", "memory.oom.deadlock=" + how)
    growers = Grower(g, group), Grower(g, group)
    for grower in growers:
        assert grower.grow(28) == "ok"
    for grower in growers:
        grower.ask(10)
    return group, growers


def who_goes_on(growers):
    """The first of the two that answers, and the other."""
    ready, _, _ = select.select([x.process.stdout for x in growers], [], [], 60)
    assert ready, "nobody goes on"
    first = growers[0] if growers[0].process.stdout in ready else growers[1]
    return first, growers[1] if first is growers[0] else growers[0]


@test("members that wait for each other: one is let through, and that is said")
def _(g):
    group, growers = two_that_wait(g, "pass")
    report = wait_for("it is said", lambda: g.get(group, "memory.oom.report"))
    assert report.startswith("members of %s wait for each other: " % group), report
    assert "let through beyond memory.max, for a quarter of it at most: pid " in report, report
    passed, other = who_goes_on(growers)
    assert passed.answer() == "ok"
    assert int(g.get(group, "memory.stat").split("over_credit ")[1].split()[0]) > 0
    assert int(g.get(group, "memory.peak")) <= 80 * MIB
    assert passed.end() == 0
    assert other.answer() == "ok"
    assert other.end() == 0
    assert "wait for each other" in passed.errors and g.event(group, "oom_kill") == 0
    g.settled(group)


@test("or one is refused")
def _(g):
    group, growers = two_that_wait(g, "refuse")
    report = wait_for("it is said", lambda: g.get(group, "memory.oom.report"))
    assert "refused, for the others to go on: pid " in report, report
    refused, other = who_goes_on(growers)
    assert refused.answer() == "no"
    assert refused.end() == 0
    assert other.answer() == "ok"
    assert other.end() == 0
    assert int(g.get(group, "memory.peak")) <= 65 * MIB
    g.settled(group)


@test("or nothing is done: they wait until the limit is raised")
def _(g):
    group, growers = two_that_wait(g, "wait")
    wait_for("both wait", lambda: g.event(group, "oom") > 0)
    g.do("set", group, "memory.max=128M")
    assert [x.answer() for x in growers] == ["ok", "ok"]
    assert [x.end() for x in growers] == [0, 0]
    assert g.get(group, "memory.oom.report") == ""
    g.settled(group)


@test("memory.oom_control is cgroup v1's: nothing is done about those that wait")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.oom_control=1")
    assert g.get(group, "memory.oom.deadlock") == "wait"
    g.do("set", group, "memory.oom_control=0")
    g.do("rm", group)


sys.exit(main())
