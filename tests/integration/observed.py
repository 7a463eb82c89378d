#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs that cannot be preloaded, and what they start: found, sampled, released. Prints TAP."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from real_programs import ROOT, Skip, compile_c, main, need, test, wait_for  # noqa: E402

MIB = 1 << 20
SLACK = 128 * 4096  # resident pages may be counted in batches, per processor

HOLD = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
	char *volatile p = malloc(48 << 20);
	memset(p, 1, 48 << 20);
	puts("held");
	fflush(stdout);
	return getchar() != EOF || p[1 << 20] != 1;
}
"""

# 48 MiB of its own, and by the letters of argv[1]: f a child that writes to half of it, t the same by another
# thread, g a grandchild, x a child that becomes argv[2]. All wait until standard input ends.
TREE = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static char *all;
static int ready[2];
static void rest(void)
{
	char c;
	if (write(ready[1], "r", 1) != 1)
		_exit(1);
	while (read(0, &c, 1) > 0)
		;
}
static void child(int more)
{
	if (fork())
		return;
	memset(all, 2, 24 << 20);
	if (more)
		child(more - 1);
	rest();
	while (wait(NULL) > 0)
		;
	_exit(0);
}
static void *in_thread(void *arg)
{
	child(0);
	sleep(3600);
	return arg;
}
int main(int argc, char **argv)
{
	pthread_t t;
	int n = 0;
	char c;
	all = malloc(48 << 20);
	memset(all, 1, 48 << 20);
	if (pipe(ready))
		return 1;
	for (const char *p = argc > 1 ? argv[1] : ""; *p; p++) {
		n += *p == 'g' ? 2 : *p != 'x';
		if (*p == 't')
			pthread_create(&t, NULL, in_thread, NULL);
		else if (*p == 'x') {
			if (fork() == 0) {
				execv(argv[2], argv + 2);
				_exit(126);
			}
		} else
			child(*p == 'g');
	}
	while (n--)
		if (read(ready[0], &c, 1) != 1)
			return 1;
	puts("ready");
	fflush(stdout);
	rest();
	while (wait(NULL) > 0)
		;
	_exit(0);
}
"""


def build(ground, name, *options, compiler="gcc"):
    try:
        return compile_c(ground, name, TREE, "-pthread", *options, compiler=compiler)
    except AssertionError:
        raise Skip("cannot be built here") from None


def members(ground, group):
    return [line.split() for line in ground.do("ps", "--no-header", "-f", "pid,state", group).splitlines()]


def truth(ground, group):
    total = 0
    for pid, _ in members(ground, group):
        with open("/proc/%s/smaps_rollup" % pid) as f:
            total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss_Anon:"))
    return total


def is_true(ground, group, least):
    """As the kernel counts, once all has been touched that is to be."""
    wanted = truth(ground, group)
    return wanted >= least and abs(int(ground.get(group, "memory.current")) - wanted) <= wanted / 100 + SLACK


def plays(ground, argv, states, least, env=None):
    """Runs it until all its processes are members of these states and the sum is right; at its end nothing is left."""
    group = ground.new_group()
    ground.do("create", group)
    p = ground.start([ground.memctl, "run", "-g", group, "--keep", "--", *argv], env, space=None)
    try:
        line = p.stdout.readline()
        assert line == "ready\n", (line, p.stderr.read())
        began = time.monotonic()
        wait_for("they are %s" % states, lambda: sorted(s for _, s in members(ground, group)) == sorted(states))
        wait_for("it is true", lambda: is_true(ground, group, least))
        print("# found after %.2f s" % (time.monotonic() - began))
        current = int(ground.get(group, "memory.current"))
        rows = dict(row.split() for row in ground.get(group, "memory.stat").splitlines())
        if set(states) == {"observed"}:
            assert abs(int(rows["observed"]) - current) <= SLACK, (rows, current)
    finally:
        p.communicate()  # standard input ends
    assert p.returncode == 0, p.returncode
    ground.settled(group)


@test("a static program")
def _(ground):
    plays(ground, [build(ground, "static", "-static")], ["observed"], 48 * MIB)


@test("its children, a thread's child, a grandchild: members, shared pages once")
def _(ground):
    plays(ground, [build(ground, "static", "-static"), "fftg"], ["observed"] * 6, (48 + 5 * 24) * MIB)


@test("a static program's child that carries the library is a live member")
def _(ground):
    dynamic = build(ground, "dynamic")
    plays(ground, [build(ground, "static", "-static"), "x", dynamic, "f"], ["observed"] + ["live"] * 2,
          (48 + 48 + 24) * MIB)


@test("a static child of a static program")
def _(ground):
    static = build(ground, "static", "-static")
    plays(ground, [static, "x", static, "f"], ["observed"] * 3, (48 + 48 + 24) * MIB)


@test("a static child of a live member, and its children")
def _(ground):
    static, dynamic = build(ground, "static", "-static"), build(ground, "dynamic")
    plays(ground, [dynamic, "fx", static, "f"], ["live"] * 2 + ["observed"] * 2, (72 + 72) * MIB)


@test("linked to musl")
def _(ground):
    need("musl-gcc")
    plays(ground, [build(ground, "musl", compiler="musl-gcc"), "f"], ["observed"] * 2, 72 * MIB)


@test("built with AddressSanitizer")
def _(ground):
    program = build(ground, "asan", "-fsanitize=address", "-fno-omit-frame-pointer")
    if ground.spawn([program], space=None, stdin="").status:
        raise Skip("does not run here")
    plays(ground, [program, "f"], ["observed"] * 2, 72 * MIB, {"ASAN_OPTIONS": "detect_leaks=0"})


@test("setuid")
def _(ground):
    if not ROOT:
        raise Skip("needs root")
    program = build(ground, "setuid")
    os.chown(program, 65534, 65534)
    os.chmod(program, 0o4755)
    os.chmod(ground.top, 0o755)
    plays(ground, [program, "f"], ["observed"] * 2, 72 * MIB)


@test("another user's programs, which the library is in and may not join")
def _(ground):
    if not ROOT:
        raise Skip("needs root")
    holder = compile_c(ground, "hold", HOLD)
    os.chmod(ground.top, 0o755)
    group = ground.new_group()
    ground.do("create", group)
    p = ground.start([ground.memctl, "run", "-g", group, "--", "setpriv", "--reuid=65534", "--regid=65534",
                      "--clear-groups", "sh", "-c", holder + "; :"])
    assert p.stdout.readline() == "held\n"
    wait_for("what it holds is counted", lambda: int(ground.get(group, "memory.current")) >= 40 * MIB)
    p.stdin.close()
    assert p.wait(60) == 0
    wait_for("nothing is left", lambda: int(ground.get(group, "memory.current")) == 0)


@test("where the library does not lie, as in a container")
def _(ground):
    need("bwrap")
    holder = compile_c(ground, "inside", HOLD)
    group = ground.new_group()
    ground.do("create", group)
    hidden = os.path.dirname(ground.env["MEMCTL_PRELOAD"])
    p = ground.start([ground.memctl, "run", "-g", group, "--", "bwrap", "--dev-bind", "/", "/", "--tmpfs", hidden,
                      "sh", "-c", holder + "; :"])
    assert p.stdout.readline() == "held\n"
    wait_for("what it holds is counted", lambda: int(ground.get(group, "memory.current")) >= 40 * MIB)
    out, err = p.communicate()
    assert (p.returncode, err) == (0, ""), err
    wait_for("nothing is left", lambda: int(ground.get(group, "memory.current")) == 0)


@test("thirty children")
def _(ground):
    static = build(ground, "static", "-static")
    plays(ground, [static, "f" * 30], ["observed"] * 31, (48 + 30 * 24) * MIB)


sys.exit(main())
