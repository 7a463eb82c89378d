#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""MEMCTL_ALLOCATOR=system: the program keeps its malloc, and its memory is found resident."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from real_programs import compile_c, main, need, test, wait_for  # noqa: E402

SYSTEM = {"MEMCTL_ALLOCATOR": "system"}
MIB = 1 << 20

WHOSE = r"""
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	Dl_info info;
	int keep = argc > 1 && strcmp(argv[1], "keep") == 0;
	char *p = malloc(64 << 20), *q[1000];
	memset(p, 1, 64 << 20);
	for (int i = 0; i < 1000; i++)
		memset(q[i] = malloc(10000), 1, 10000);
	if (argc > 1 && !keep) {
		execv(argv[1], argv + 1);
		return 126;
	}
	if (!dladdr((void *)(size_t)dlsym(RTLD_DEFAULT, "malloc"), &info))
		return 1;
	printf("%s %d\n", info.dli_fname, mallopt(M_MMAP_THRESHOLD, 1 << 20) && mallinfo2().uordblks > 9000000);
	fflush(stdout);
	if (keep)
		(void)getchar();
	free(p);
	for (int i = 0; i < 1000; i++)
		free(q[i]);
	malloc_trim(0);
	puts("freed");
	fflush(stdout);
	if (keep)
		(void)getchar();
	return 0;
}
"""


# What libfaketime does: the first question for the time, and a condition variable's start, look for symbols that are not
# there, which makes the dynamic linker allocate; and time stands still.
FROZEN = r"""
#include <dlfcn.h>
#include <pthread.h>
#include <sys/time.h>
#include <time.h>
static void begin(void)
{
	static int calls;
	if (calls++ < 4) /* within each other, too */
		(void)dlsym(RTLD_NEXT, "no_such_symbol");
}
int clock_gettime(clockid_t clock, struct timespec *t)
{
	(void)clock;
	begin();
	*t = (struct timespec){ 1577836800, 0 };
	return 0;
}
int gettimeofday(struct timeval *t, void *zone)
{
	(void)zone;
	begin();
	*t = (struct timeval){ 1577836800, 0 };
	return 0;
}
int pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *a)
{
	static const pthread_cond_t fresh = PTHREAD_COND_INITIALIZER;
	(void)a;
	begin();
	*c = fresh;
	return 0;
}
__attribute__((constructor)) static void start(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
}
"""

REFUSED = """import time
assert time.time() == 1577836800
try:
    x = [b"x" * (1 << 20) for i in range(100)]
except MemoryError:
    print("refused")
"""


def program(ground):
    return compile_c(ground, "whose", WHOSE, "-D_GNU_SOURCE", "-ldl")


def run(ground, argv, env):
    ran = ground.spawn([ground.memctl, "run", "--", *argv], env)
    assert ran.status == 0, ran
    return ran.out


def same(ground, argv, stdin=None):
    """As without memctl. Who ends before anybody has looked has held nothing: no word of the peak."""
    plain = ground.spawn(argv, stdin=stdin)
    ran = ground.spawn([ground.memctl, "run", "--", *argv], SYSTEM, stdin=stdin)
    assert plain.status == 0 and (ran.status, ran.out, ran.err) == (0, plain.out, plain.err), ran


def private_of(ground, group):
    """What the kernel counts for all members."""
    pids = ground.do("ps", "--no-header", "-f", "pid", group).split()
    total = 0
    for pid in pids:
        with open("/proc/%s/smaps_rollup" % pid) as f:
            total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss_Anon:"))
    return total


def is_as_the_kernel_says(ground, group):
    truth = private_of(ground, group)
    return abs(int(ground.get(group, "memory.current")) - truth) <= truth / 100 + 64 * 4096


@test("malloc is libc's")
def _(ground):
    assert "libc.so" in run(ground, [program(ground)], SYSTEM)
    assert "libmemctl" in run(ground, [program(ground)], {"MEMCTL_ALLOCATOR": "jemalloc"})
    assert "libmemctl" in run(ground, [program(ground)], None)


@test("what it is called decides, and another word is an error")
def _(ground):
    ran = ground.spawn([ground.memctl, "run", "--", "true"], {"MEMCTL_ALLOCATOR": "tcmalloc"})
    assert ran.status == 125 and "MEMCTL_ALLOCATOR=tcmalloc" in ran.err, ran


@test("its heap counts as far as it is resident, and goes when it is given back")
def _(ground):
    group = ground.new_group()
    ground.do("create", group)
    p = ground.start([ground.memctl, "run", "-g", group, "--keep", "--", program(ground), "keep"], SYSTEM)
    assert "libc.so" in p.stdout.readline()
    wait_for("the heap is found", lambda: is_as_the_kernel_says(ground, group))
    assert int(ground.get(group, "memory.current")) > 73 * MIB
    rows = dict(line.split() for line in ground.get(group, "memory.stat").splitlines())
    assert int(rows["heap"]) == 0 and int(rows["anon"]) > 73 * MIB, rows
    p.stdin.write("\n")
    p.stdin.flush()
    assert p.stdout.readline() == "freed\n"
    wait_for("it is given back", lambda: is_as_the_kernel_says(ground, group))
    assert int(ground.get(group, "memory.current")) < 8 * MIB
    p.communicate("\n")
    assert p.returncode == 0
    ground.settled(group)


@test("children and other images keep it, with an empty environment too")
def _(ground):
    prog = program(ground)
    assert "libc.so" in run(ground, [prog, prog], SYSTEM)
    assert "libc.so" in run(ground, [*need("env"), "-i", prog], SYSTEM)
    assert "libc.so" in run(ground, [*need("sh"), "-c", "%s | cat" % prog], SYSTEM)


@test("a program may choose otherwise for what it starts, both ways")
def _(ground):
    prog, (env,) = program(ground), need("env")
    assert "libmemctl" in run(ground, [env, "MEMCTL_ALLOCATOR=jemalloc", prog], SYSTEM)
    assert "libc.so" in run(ground, [env, "MEMCTL_ALLOCATOR=system", prog], None)
    assert "libc.so" in run(ground, [env, "MEMCTL_ALLOCATOR=system", env, "MEMCTL_ALLOCATOR=jemalloc",
                                     env, "MEMCTL_ALLOCATOR=system", prog], None)


@test("mappings are charged and refused as ever")
def _(ground):
    python, = need("python3")
    code = "import mmap\ntry: mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)\n" \
           "except OSError as e: print(e.errno)"
    group = ground.new_group()
    ran = ground.run_in(group, "16M", [python, "-c", code], SYSTEM)
    assert ran.status == 0 and ran.out == "12\n", ran
    ground.settled(group)


@test("python3, bash with its children, sort: as without memctl")
def _(ground):
    python, bash, sort = need("python3", "bash", "sort")
    same(ground, [python, "-c", "x = [bytearray(1000) for _ in range(50000)]; print(len(x), sum(map(len, x)))"])
    same(ground, [bash, "-c", "for i in 1 2 3; do (echo $i; x=$(seq 20000); echo ${#x}); done; seq 9 | sort -r"])
    same(ground, [sort, "-n", "--parallel=2"], stdin="\n".join(str(n * 7919 % 100000) for n in range(50000)) + "\n")


@test("forks of a threaded program")
def _(ground):
    python, = need("python3")
    code = """
import os, threading
stop = False
def busy():
    while not stop: bytearray(100000)
threads = [threading.Thread(target=busy) for _ in range(4)]
for t in threads: t.start()
for i in range(30):
    pid = os.fork()
    if pid == 0:
        bytearray(1000000)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
for t in threads: t.join()
print("done")
"""
    same(ground, [python, "-W", "ignore", "-c", code])


@test("a library in front of libc's clock that allocates and lets time stand still, as libfaketime can, holds up nothing")
def _(g):
    frozen = compile_c(g, "frozen", FROZEN, "-D_GNU_SOURCE", "-shared", "-fPIC")
    plain = ["env", "LD_PRELOAD=" + frozen, sys.executable, "-c", REFUSED]
    for conf in "", "background_thread:true":
        ran = g.spawn([g.memctl, "run", "--max", "64M", "--", *plain], {"MALLOC_CONF": conf})
        assert ran.status == 0 and ran.out == "refused\n", ran


sys.exit(main())
