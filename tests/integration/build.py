#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make -j8 of jobs of which three fit into the group: with wait, with memory.high and with --need all of them are done,
nobody is killed, and nobody waits for ever."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import compile_c, main, need, test

MIB = 1 << 20
JOBS = 8

# Allocates argv[1] MiB, three eighths of them at first; then, with argv[3], it goes on when so many are as far. At the
# end it says so in argv[2].
JOB = r"""
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void take(size_t bytes)
{
	static char *volatile held;
	char *p = held = malloc(bytes);
	if (!p)
		_exit(3);
	memset(p, 1, bytes);
}
static int begun(void)
{
	DIR *dir = opendir("begun");
	int n = 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}
int main(int argc, char **argv)
{
	size_t eighth = (size_t)atoi(argv[1]) << 17;
	char name[64];
	FILE *file;
	for (int i = 0; i < 3; i++)
		take(eighth);
	snprintf(name, sizeof name, "begun/%d", (int)getpid());
	fclose(fopen(name, "w"));
	while (argc > 3 && begun() < atoi(argv[3]))
		usleep(2000);
	for (int i = 0; i < 5; i++)
		take(eighth);
	file = fopen(argv[2], "w");
	fputs("done\n", file);
	return fclose(file);
}
"""


def makefile(g, name, command):
    """A directory in which make runs the command for each of eight targets."""
    top = g.path(name)
    os.makedirs(top + "/begun")
    with open(top + "/Makefile", "w") as file:
        file.write("all: %s\n" % " ".join("out%d" % i for i in range(JOBS)))
        file.write("out%%:\n\t%s\n" % command)
    return top


def all_are_done(top):
    for i in range(JOBS):
        with open("%s/out%d" % (top, i)) as file:
            assert file.read() == "done\n", i


def peak(g, group):
    """In MiB; what was forced above a limit, such as the first pages of a process, is 4 MiB at most."""
    return int(g.get(group, "memory.peak")) / MIB - 4


def events(g, group):
    return {name: g.event(group, name) for name in ("oom", "oom_kill", "high", "max")}


@test("wait: all wait with a part of their memory, until one is let through")
def _(g):
    need("make")
    group, job = g.new_group(), compile_c(g, "job", JOB)
    top = makefile(g, "wait", "%s 20 $@ %d" % (job, JOBS))
    g.do("create", group, "memory.max=70M", "memory.oom.policy=wait")
    ran = g.spawn([g.memctl, "run", "-g", group, "--", "make", "-s", "-C", top, "-j%d" % JOBS])
    assert ran.status == 0, ran
    all_are_done(top)
    counted = events(g, group)
    assert counted["oom"] > 0 and counted["oom_kill"] == 0, counted
    assert peak(g, group) <= 70 * 1.25, peak(g, group)
    assert "members of %s wait for each other" % group in ran.err, ran
    g.settled(group)


@test("wait: jobs as they come")
def _(g):
    need("make")
    group, job = g.new_group(), compile_c(g, "job", JOB)
    top = makefile(g, "come", "%s 20 $@" % job)
    g.do("create", group, "memory.max=70M", "memory.oom.policy=wait")
    ran = g.spawn([g.memctl, "run", "-g", group, "--", "make", "-s", "-C", top, "-j%d" % JOBS])
    assert ran.status == 0, ran
    all_are_done(top)
    assert events(g, group)["oom_kill"] == 0
    assert peak(g, group) <= 70 * 1.25, peak(g, group)
    g.settled(group)


@test("memory.high: slower, but done")
def _(g):
    need("make")
    group, job = g.new_group(), compile_c(g, "job", JOB)
    top = makefile(g, "high", "%s 20 $@" % job)
    g.do("create", group, "memory.high=70M")
    ran = g.spawn([g.memctl, "run", "-g", group, "--", "make", "-s", "-C", top, "-j%d" % JOBS])
    assert ran.status == 0 and "memctl:" not in ran.err, ran
    all_are_done(top)
    counted = events(g, group)
    assert counted["high"] > 0 and counted["oom"] == counted["oom_kill"] == counted["max"] == 0, counted
    g.settled(group)


def build_with_need(g, name, *options):
    """Jobs of 20 MiB and a little, each of which has waited for 23."""
    group, job = g.new_group(), compile_c(g, "job", JOB)
    top = makefile(g, name, "%s run -g %s --need 23M -- %s 20 $@" % (g.memctl, group, job))
    g.do("create", group, "memory.max=75M", *options)
    ran = g.spawn(["make", "-s", "-C", top, "-j%d" % JOBS])
    assert ran.status == 0, ran
    all_are_done(top)
    counted = events(g, group)
    assert counted["oom"] == counted["oom_kill"] == 0, counted
    assert peak(g, group) <= 75, (peak(g, group), ran)
    g.settled(group)


@test("--need, wait: three at a time, nobody is killed or let through")
def _(g):
    need("make")
    build_with_need(g, "need", "memory.oom.policy=wait")


@test("--need, fail: three at a time, and nobody is refused")
def _(g):
    need("make")
    build_with_need(g, "need-fail")


sys.exit(main())
