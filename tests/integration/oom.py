#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Out of memory: the policies kill and wait with real members, what is counted and what is said."""
import json
import re
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import compile_c, main, test, wait_for

MIB = 1 << 20

# Allocates and touches argv[1] MiB, says so, and waits for the end of its input.
GROW = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
	(void)argc;
	for (int i = atoi(argv[1]); i > 0; i--) {
		char *p = malloc(1 << 20);
		if (!p)
			return 3;
		memset(p, 1, 1 << 20);
	}
	puts("grown");
	fflush(stdout);
	return getchar() == EOF ? 0 : 1;
}
"""


def grow(g, group, mib, env=None):
    return g.start([g.memctl, "run", "-g", group, "--", compile_c(g, "grow", GROW), str(mib)], env)


def end(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def is_ended(process):
    """By somebody else: end() alone would close its input, at which it ends by itself."""
    process.wait(timeout=60)
    return end(process)


def killed_by(status):
    return status == 128 + signal.SIGKILL


def events(g, group):
    return {name: g.event(group, name) for name in ("oom", "oom_kill", "oom_group_kill")}


@test("who grows beyond the limit is killed, and memctl says why")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=64M", "memory.oom.policy=kill")
    status, out, err = end(grow(g, group, 200))
    assert killed_by(status), (status, err)
    assert out == "" and "memctl: out of memory in %s: pid " % group in err, err
    assert "refused" not in re.sub(": it refused\n", "", err), err  # nobody was: one was killed
    assert "(grow) asked for 1.0 MiB" in err and "max 64.0 MiB: it refused" in err, err
    assert events(g, group) == {"oom": 1, "oom_kill": 1, "oom_group_kill": 0}
    report = g.get(group, "memory.oom.report")
    assert "killed pid" in report and "\nwhere it is asked for, memctl run --profile would tell\n" in report, report
    ran = g.spawn([g.memctl, "run", "-g", group, "--json", "--", g.path("grow"), "200"])
    report = json.loads(ran.err)
    assert report["signal"] == signal.SIGKILL and report["oom_kill"] == 1 and report["refusals"] == [], report
    assert report["oom_report"].startswith("out of memory in %s: " % group), report
    g.settled(group)


@test("of a profiled program the report says where its call sites are")
def _(g):
    group = g.new_group()
    g.do("create", "-p", group + "/inner", "memory.max=64M", "memory.oom.policy=kill")
    argv = [g.memctl, "run", "-g", group + "/inner", "--profile=" + g.path("sites"), "--", compile_c(g, "grow", GROW), "200"]
    assert killed_by(end(g.start(argv))[0])
    said = re.search("\nwhere it was asked for: memctl (profile (\\S+))\n", g.get(group, "memory.oom.report"))
    assert said and said[2] == group + "/inner", g.get(group, "memory.oom.report")
    assert re.search(r"\bmain\b", g.do(*said[1].split()))
    g.do("rm", "-r", group)


@test("the largest is killed, another one goes on")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=64M", "memory.oom.policy=kill")
    large = grow(g, group, 40)
    assert large.stdout.readline() == "grown\n"
    small = grow(g, group, 30)
    assert small.stdout.readline() == "grown\n"
    assert killed_by(is_ended(large)[0])
    status, _, err = end(small)
    assert status == 0 and "killed pid" in err, (status, err)  # it happened in its group
    assert g.event(group, "oom_kill") == 1
    g.settled(group)


@test("never one whose oom_score_adj is -1000, and never outside the group")
def _(g):
    group, other = g.new_group(), g.new_group()
    g.do("create", group, "memory.max=64M", "memory.oom.policy=kill")
    outside = grow(g, other, 100)
    assert outside.stdout.readline() == "grown\n"
    saved = grow(g, group, 40)
    assert saved.stdout.readline() == "grown\n"
    member = wait_for("it is listed", lambda: g.do("ps", "-o", "csv", "--no-header", "-f", "pid", group).split())[0]
    try:
        with open("/proc/%s/oom_score_adj" % member, "w") as file:
            file.write("-1000")
    except PermissionError:
        saved.stdin.close()  # without privilege the smaller one lives on only because it is not asked for
        saved.wait(60)
    status, _, err = end(grow(g, group, 70))
    assert killed_by(status), (status, err)
    assert outside.poll() is None
    assert end(outside)[0] == 0
    if saved.returncode is None:
        assert end(saved)[0] == 0
    g.settled(group)


@test("memory.oom.group: all of the group go, nobody else")
def _(g):
    parent = g.new_group()
    g.do("create", parent, "memory.max=80M", "memory.oom.policy=kill")
    g.do("create", parent + "/whole", "memory.oom.group=1")
    beside = grow(g, parent + "/beside", 10)
    assert beside.stdout.readline() == "grown\n"
    first = grow(g, parent + "/whole", 10)
    assert first.stdout.readline() == "grown\n"
    second = grow(g, parent + "/whole", 100)
    assert killed_by(is_ended(second)[0])
    assert killed_by(is_ended(first)[0])
    assert end(beside)[0] == 0
    assert events(g, parent + "/whole") == {"oom": 0, "oom_kill": 2, "oom_group_kill": 1}
    assert events(g, parent) == {"oom": 1, "oom_kill": 2, "oom_group_kill": 1}
    wait_for("the group is empty", lambda: g.get(parent, "memory.current") == "0")
    g.do("rm", "-r", parent)


@test("memory.max set below usage kills until it fits")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.oom.policy=kill")
    large, small = grow(g, group, 50), grow(g, group, 20)
    for process in (large, small):
        assert process.stdout.readline() == "grown\n"
    wait_for("it is charged", lambda: int(g.get(group, "memory.current")) > 68 * MIB)
    g.do("set", group, "memory.max=40M")
    status, _, err = is_ended(large)
    assert killed_by(status) and "its memory.max was set below what it uses" in err, (status, err)
    status, _, _ = end(small)
    assert status == 0
    g.settled(group)


@test("wait: it stands still until the limit is raised, and is in memory.pressure")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=32M", "memory.oom_control=1")
    process = grow(g, group, 60)
    wait_for("it waits", lambda: "under_oom 1" in g.get(group, "memory.oom_control"))
    wait_for("it is told", lambda: "some avg10=" in g.get(group, "memory.pressure") and
             not g.get(group, "memory.pressure").splitlines()[0].endswith(" total=0"))
    assert process.poll() is None
    g.do("set", group, "memory.max=100M")
    assert process.stdout.readline() == "grown\n"
    status, _, err = end(process)
    assert status == 0 and err == "", (status, err)
    g.settled(group)


@test("wait turned into kill: the one who waits is killed")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=32M", "memory.oom.policy=wait")
    process = grow(g, group, 60)
    wait_for("it waits", lambda: "under_oom 1" in g.get(group, "memory.oom_control"))
    g.do("set", group, "memory.oom_control=0")
    assert killed_by(is_ended(process)[0])
    assert "oom_kill 1" in g.get(group, "memory.oom_control")
    g.settled(group)


@test("what happens in one group does not touch another one at its own limit")
def _(g):
    a, b = g.new_group(), g.new_group()
    for group in (a, b):
        g.do("create", group, "memory.max=32M", "memory.oom.policy=kill")
    beside = grow(g, b, 30)
    assert beside.stdout.readline() == "grown\n"
    for _ in range(3):
        assert killed_by(end(grow(g, a, 60))[0])
    assert events(g, a) == {"oom": 3, "oom_kill": 3, "oom_group_kill": 0}
    assert events(g, b) == {"oom": 0, "oom_kill": 0, "oom_group_kill": 0}
    assert end(beside)[0] == 0
    g.settled(a)
    g.settled(b)


# ---- what precedes a kill ---------------------------------------------------------------------------------------

@test("memory.oom.hook makes room: nobody is killed")
def _(g):
    group = g.new_group()
    hook = g.write("hook", """#!/bin/sh
echo "$MEMCTL_OOM_GROUP $MEMCTL_OOM_LIMIT $MEMCTL_OOM_ASKED $MEMCTL_OOM_PID" >>'%s'
exec '%s' set "$MEMCTL_OOM_GROUP" memory.max=200M
""" % (g.path("told"), g.memctl))
    os.chmod(hook, 0o755)
    g.do("create", group, "memory.max=32M", "memory.oom.policy=kill", "memory.oom.hook=" + hook)
    process = grow(g, group, 60)
    assert process.stdout.readline() == "grown\n", end(process)
    with open(g.path("told")) as file:
        told = file.read().split("\n")
    where, limit, asked, pid = told[0].split()
    assert told[1:] == [""] and (where, int(limit)) == (group, 32 * MIB) and int(asked) >= MIB, told
    assert pid in g.do("ps", "--no-header", "-o", "csv", "-f", "pid", group).split()
    assert end(process)[0] == 0
    assert events(g, group) == {"oom": 0, "oom_kill": 0, "oom_group_kill": 0}
    g.settled(group)


@test("a hook that makes none, or fails: then somebody is killed")
def _(g):
    for command in ("true", "exit 3", "/nonexistent/hook"):
        group = g.new_group()
        g.do("create", group, "memory.max=32M", "memory.oom.policy=kill", "memory.oom.hook=" + command)
        assert killed_by(end(grow(g, group, 60))[0]), command
        assert events(g, group) == {"oom": 1, "oom_kill": 1, "oom_group_kill": 0}
        g.settled(group)


# Grows by argv[1] MiB; on SIGTERM it ends with status 7.
POLITE = r"""
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void leave(int signal) { (void)signal; _exit(7); }
int main(int argc, char **argv)
{
	(void)argc;
	signal(SIGTERM, leave);
	for (int i = atoi(argv[1]); i > 0; i--) {
		char *p = malloc(1 << 20);
		if (!p)
			return 3;
		memset(p, 1, 1 << 20);
	}
	return 0;
}
"""


@test("memory.oom.term: who ends when it is told to is not killed")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=32M", "memory.oom.policy=kill", "memory.oom.term=30000")
    ran = g.spawn([g.memctl, "run", "-g", group, "--", compile_c(g, "polite", POLITE), "60"])
    assert ran.status == 7 and "told to end within 30000 ms, else killed: pid" in ran.err, ran
    assert events(g, group) == {"oom": 1, "oom_kill": 1, "oom_group_kill": 0}
    g.settled(group)


@test("memory.oom.term: who does not end is killed")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=32M", "memory.oom.policy=kill", "memory.oom.term=100")
    ran = g.spawn(["sh", "-c", "trap '' TERM; exec %s run -g %s -- %s 60" % (g.memctl, group, g.path("grow"))])
    assert killed_by(ran.status), ran
    assert events(g, group) == {"oom": 1, "oom_kill": 1, "oom_group_kill": 0}
    g.settled(group)


@test("SIGTERM ends one that waits, and what it held is free for the next")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=32M", "memory.oom.policy=wait")
    process = grow(g, group, 60)
    wait_for("it waits", lambda: "under_oom 1" in g.get(group, "memory.oom_control"))
    process.terminate()
    assert end(process)[0] == 128 + signal.SIGTERM
    wait_for("it is counted", lambda: g.get(group, "memory.current") == "0")
    assert end(grow(g, group, 20))[0] == 0
    g.settled(group)


sys.exit(main())
