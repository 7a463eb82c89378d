#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Out of memory: who has asked for a kill is not forgotten, and members that wait for each other are found."""
import os
import select
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from growing import Grower, MIB
from real_programs import main, test, wait_for

@test("who asked for a kill waits until what precedes it is over")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=64M", "memory.oom.policy=kill", "memory.oom.term=7000")
    stubborn, other = Grower(g, group, words=["ignore"]).runs(), Grower(g, group).runs()
    assert stubborn.grow(40) == "ok"
    assert other.grow(30) == "ok"
    assert stubborn.answer() == "" and stubborn.end() == 128 + signal.SIGKILL
    assert other.end() == 0
    g.settled(group)


def two_that_wait(g, how):
    """Both hold half of the limit, and want more than there is."""
    group = g.new_group()
    g.do("create", group, "memory.max=64M", "memory.oom.policy=wait", "memory.oom.deadlock=" + how)
    growers = Grower(g, group).runs(), Grower(g, group).runs()
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
    assert int(g.get(group, "memory.stat").split("over_deadlock ")[1].split()[0]) > 0
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


@test("fail: memory.max set below usage refuses what is new until there is room, and kills nobody")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=64M")
    grower = Grower(g, group).runs()
    assert grower.grow(30) == "ok"
    g.do("set", group, "memory.max=20M")
    assert grower.grow(1) == "no"
    assert int(g.get(group, "memory.current")) > 28 * MIB and g.event(group, "oom_kill") == 0
    g.do("set", group, "memory.max=40M")
    assert grower.grow(4) == "ok"
    assert grower.end() == 0
    g.settled(group)


@test("memory.high: who is slowed stands still in memory.pressure, and SIGTERM ends it")
def _(g):
    """52 MiB above 8: at 2 s for each 256 KiB it would go on for minutes."""
    group = g.new_group()
    g.do("create", group, "memory.high=8M")
    grower = Grower(g, group).runs()
    grower.ask(60)

    def stalled():
        line = g.get(group, "memory.pressure").splitlines()[0]
        return int(line.split("total=")[1]) > 1000000

    wait_for("it stands still", stalled)
    assert g.event(group, "high") > 0 and g.event(group, "max") == 0
    pids = g.do("ps", "--no-header", "-o", "csv", "-f", "pid", group).split()
    os.kill(int(pids[0]), signal.SIGTERM)
    assert grower.answer() == "" and grower.end() == 128 + signal.SIGTERM
    g.settled(group)


sys.exit(main())
