#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real members give back what their heaps do not use: on request, for a limit, and when memory is short."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from hoarder import Hoarder, MIB
from real_programs import Ground, comment, compile_c, main, test, wait_for


def current(g, group):
    return int(g.get(group, "memory.current"))


@test("reclaim gives back what the heap does not use")
def _(g):
    group = g.new_group()
    h = Hoarder(g, group, 100, 30)
    said = g.do("reclaim", "-v", group, "40M")
    assert said.startswith(group + " gave "), said
    assert h.current() <= 62 * MIB, h.current()
    ran = g.spawn([g.memctl, "reclaim", group, "1G"])
    assert ran.status == 1 and "reclaimed" in ran.err and "of the 1.0 GiB" in ran.err, ran
    assert h.current() <= 34 * MIB, h.current()
    h.end()


# As the hoarder, but then it goes on: allocates 3 MiB and frees them, until its input ends.
RESTLESS = r"""
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define BLOCK (256 << 10)
int main(void)
{
	static char *block[240];
	struct pollfd end = { .fd = 0, .events = POLLIN };
	for (int i = 0; i < 240; i++)
		memset(block[i] = malloc(BLOCK), i, BLOCK);
	for (int i = 40; i < 240; i++)
		free(block[i]);
	puts("ready");
	fflush(stdout);
	while (poll(&end, 1, 1) == 0) {
		char *volatile p = malloc(3 << 20);
		if (p)
			memset(p, 1, 3 << 20);
		free(p);
	}
	return 0;
}
"""


@test("what a member without helper gives while it is at work counts")
def _(g):
    group = g.new_group()
    p = g.start([g.memctl, "run", "-g", group, "--keep", "--", compile_c(g, "restless", RESTLESS)],
                {"MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1", "MEMCTL_HELPER": "off"})
    assert p.stdout.readline() == "ready\n"
    wait_for("it is seen", lambda: current(g, group) > 55 * MIB)
    said = wait_for("it has given all", lambda: g.spawn([g.memctl, "reclaim", "-v", group, "30M"]).out)
    comment(said.strip())
    assert said.startswith(group + " gave "), said
    assert current(g, group) <= 31 * MIB, current(g, group)
    assert not p.poll()
    p.communicate("\n", timeout=60)
    g.settled(group)


@test("memory.reclaim and memory.force_empty do the same")
def _(g):
    group = g.new_group()
    h = Hoarder(g, group, 60, 20)
    g.do("set", group, "memory.reclaim=10M")
    assert h.current() <= 51 * MIB
    assert g.spawn([g.memctl, "set", group, "memory.reclaim=1G"]).status == 1
    g.do("set", group, "memory.force_empty=0")
    assert h.current() <= 24 * MIB
    h.end()


@test("memory.max below usage: applied at once, and what is above comes back")
def _(g):
    group = g.new_group()
    h = Hoarder(g, group, 60, 20)
    g.do("set", group, "memory.max=30M")
    assert h.current() <= 30 * MIB, h.current()
    g.do("set", group, "memory.max=10M")  # not to be had: still no error
    assert g.get(group, "memory.max") == str(10 * MIB)
    h.end()


@test("memory.limit_in_bytes reclaims first, and is EBUSY when that is not enough")
def _(g):
    group = g.new_group()
    h = Hoarder(g, group, 60, 20)
    g.do("set", group, "memory.limit_in_bytes=30M")
    ran = g.spawn([g.memctl, "set", group, "memory.limit_in_bytes=10M"])
    assert ran.status == 1 and "cannot go down" in ran.err, ran
    assert g.get(group, "memory.limit_in_bytes") == str(30 * MIB)
    h.end()


@test("a stopped member does not hold up what others give, nor other requests")
def _(g):
    parent = g.new_group()
    g.do("create", parent)
    stopped, other = Hoarder(g, parent + "/a", 90, 10), Hoarder(g, parent + "/b", 60, 10)
    pid = stopped.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        asking = g.start([g.memctl, "reclaim", parent, "max"])
        wait_for("the other has given", lambda: other.current() < 14 * MIB)
        assert asking.wait(30) == 1
        assert "reclaimed" in asking.stderr.read()
        for pipe in (asking.stdin, asking.stdout, asking.stderr):
            pipe.close()
        assert stopped.current() > 80 * MIB
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("it gives when it goes on", lambda: stopped.current() < 14 * MIB)
    stopped.end()
    other.end()


@test("what memory.low protects is taken last, and that is counted")
def _(g):
    parent = g.new_group()
    g.do("create", parent)
    low, free = Hoarder(g, parent + "/low", 60, 10), Hoarder(g, parent + "/free", 60, 10)
    g.do("set", parent + "/low", "memory.low=1G")
    g.do("reclaim", parent, "40M")
    assert low.current() > 55 * MIB and free.current() < 22 * MIB
    assert g.event(parent + "/low", "low") == 0
    g.do("set", parent, "memory.force_empty=0")
    assert low.current() < 14 * MIB
    assert g.event(parent + "/low", "low") > 0
    low.end()
    free.end()


@test("what memory.min protects is not taken, though nothing else is left")
def _(g):
    parent = g.new_group()
    g.do("create", parent)
    kept, free = Hoarder(g, parent + "/kept", 60, 10), Hoarder(g, parent + "/free", 60, 10)
    g.do("set", parent + "/kept", "memory.min=1G")
    ran = g.spawn([g.memctl, "reclaim", parent, "max"])
    assert ran.status == 1 and "reclaimed" in ran.err, ran
    assert kept.current() > 55 * MIB and free.current() < 14 * MIB
    g.do("reclaim", parent + "/kept", "30M")  # it is the target: its own protection does not count
    assert kept.current() < 32 * MIB
    kept.end()
    free.end()


@test("above memory.high of /, groups above their soft limit give first")
def _(g):
    within, above = Hoarder(g, g.new_group(), 60, 10), Hoarder(g, g.new_group(), 60, 10)
    g.do("set", within.group, "memory.soft=100M")
    g.do("set", above.group, "memory.soft=20M")
    g.do("set", "/", "memory.high=100M")
    wait_for("it has given", lambda: current(g, "/") <= 101 * MIB)
    assert within.current() > 55 * MIB and above.current() < 45 * MIB
    g.do("set", "/", "memory.high=40M")
    wait_for("all have given", lambda: current(g, "/") <= 41 * MIB)
    assert within.current() < 30 * MIB
    g.do("set", "/", "memory.high=max")
    within.end()
    above.end()


# Allocates argv[1] MiB in blocks of 4 KiB, frees all but one of 64 of them, and says so: what is free lies in pieces.
CRUMBS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define BLOCK 4096
int main(int argc, char **argv)
{
	int n = atoi(argv[1]) * ((1 << 20) / BLOCK);
	char **block = malloc(n * sizeof(*block));
	(void)argc;
	for (int i = 0; i < n; i++)
		memset(block[i] = malloc(BLOCK), i, BLOCK);
	for (int i = 0; i < n; i++)
		if (i % 64)
			free(block[i]);
	free(malloc(100));
	puts("ready");
	fflush(stdout);
	return getchar() == EOF ? 0 : block[0][0];
}
"""


@test("memory.low is divided as in the kernel's example")
def _(g):
    """Parent 50 MiB, children 75, 25, 0 and 500 MiB, usage 50, 50, 50 and nothing: 29, 21, 0 and nothing are left."""
    top = g.new_group()
    g.do("create", top)
    g.do("create", top + "/parent", "memory.low=50M")
    program, processes = compile_c(g, "crumbs", CRUMBS), []
    for name, low in ("a", "75M"), ("b", "25M"), ("c", "0"), ("d", "500M"):
        g.do("create", "%s/parent/%s" % (top, name), "memory.low=" + low)
    for name in "abc":
        group = "%s/parent/%s" % (top, name)
        processes.append(g.start([g.memctl, "run", "-g", group, "--keep", "--", program, "51"],
                                 {"MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"}))
        assert processes[-1].stdout.readline() == "ready\n"
        g.do("reclaim", group, "%d" % (current(g, group) - 50 * MIB))
    assert abs(current(g, top) - 150 * MIB) < 9 * MIB, current(g, top)
    g.do("reclaim", top, "%d" % (current(g, top) - 50 * MIB))
    a, b, c = (current(g, "%s/parent/%s" % (top, name)) / MIB for name in "abc")
    comment("left are %.1f, %.1f and %.1f MiB" % (a, b, c))
    assert abs(a - 29) <= 2.9 and abs(b - 21) <= 2.1 and c < 5, (a, b, c)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0


@test("a client that leaves meanwhile hurts nobody")
def _(g):
    group = g.new_group()
    h = Hoarder(g, group, 60, 20)
    pid = h.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(10):
            asking = g.start([g.memctl, "reclaim", group, "max"])
            asking.kill()
            asking.wait()
            for pipe in (asking.stdin, asking.stdout, asking.stderr):
                pipe.close()
    finally:
        os.kill(pid, signal.SIGCONT)
    g.spawn([g.memctl, "reclaim", group, "max"])
    assert h.current() < 24 * MIB
    h.end()


sys.exit(main())
