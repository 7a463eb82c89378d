#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""With real swap: what members do not use is paged out, on request and for a limit, as far as it may; what is in swap is
counted. Starts itself again under tests/lib/with_swap."""
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
WITH_SWAP = HERE + "/../lib/with_swap"
if "MEMCTL_TEST_SWAP" not in os.environ:
    os.execv(WITH_SWAP, [WITH_SWAP, sys.executable, os.path.abspath(__file__)])
os.environ.pop("MEMCTL_PAGEOUT", None)

sys.path.insert(0, HERE + "/../lib")
from real_programs import compile_c, main, test, wait_for

MIB = 1 << 20

# Maps argv[1] MiB that it uses all the time and argv[2] MiB that it does not, an unusable page in between, and answers
# "wrong pages, used pages in swap or brought back" to each line.
HALVES = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
static char *hot, *cold;
static size_t hot_size, cold_size;
static atomic_ulong rounds, back;
static void fill(char *p, size_t n)
{
	uint64_t seed = 88172645463325252u;
	for (size_t i = 0; i < n; i += 4096) {
		uint64_t *w = (uint64_t *)(p + i);
		w[0] = i * 77 + 1;
		for (int k = 1; k < 256; k++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			w[k] = seed;
		}
	}
}
static unsigned long wrong(char *p, size_t n)
{
	unsigned long bad = 0;
	for (size_t i = 0; i < n; i += 4096)
		bad += *(uint64_t *)(p + i) != i * 77 + 1;
	return bad;
}
static unsigned long swapped(char *p, size_t n)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned long sum = 0;
	uint64_t e;
	for (size_t i = 0; i < n; i += 4096)
		if (pread(fd, &e, 8, (off_t)((uintptr_t)(p + i) / 4096 * 8)) == 8)
			sum += e >> 62 & 1;
	close(fd);
	return sum;
}
static void *use(void *arg)
{
	struct rusage u;
	(void)arg;
	setpriority(PRIO_PROCESS, 0, -15);
	for (;;) {
		for (size_t i = 0; i < hot_size; i += 4096)
			((volatile char *)hot)[i + 2048]++;
		getrusage(RUSAGE_THREAD, &u);
		back = u.ru_majflt;
		rounds++;
		usleep(1000);
	}
	return NULL;
}
int main(int argc, char **argv)
{
	char line[16];
	pthread_t t;
	(void)argc;
	hot_size = (size_t)atoi(argv[1]) << 20, cold_size = (size_t)atoi(argv[2]) << 20;
	hot = mmap(NULL, hot_size + 4096 + cold_size, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cold = hot + hot_size + 4096;
	mprotect(hot + hot_size, 4096, PROT_NONE);
	fill(hot, hot_size);
	fill(cold, cold_size);
	if (hot_size)
		pthread_create(&t, NULL, use, NULL);
	while (hot_size && !rounds)
		usleep(1000);
	free(malloc(1 << 20));
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		if (*line == 'm') {
			char *p = malloc((size_t)atoi(line + 1) << 20);
			puts(p ? "granted" : "refused");
			free(p);
		} else if (*line == 'u') {
			munmap(cold, cold_size);
			cold_size = 0;
			puts("unmapped");
		} else {
			unsigned long taken = swapped(hot, hot_size) + back;
			printf("%lu %lu\n", wrong(cold, cold_size), taken);
		}
		fflush(stdout);
	}
	return 0;
}
"""


class Halves:
    """A member with memory that it uses and memory that it does not, in MiB."""

    def __init__(self, g, group, hot, cold, helper=True, options=()):
        self.g, self.group, self.pages = g, group, hot * 256
        program = compile_c(g, "halves", HALVES, "-pthread", *options)
        self.process = g.start([g.memctl, "run", "-g", group, "--keep", "--", program, str(hot), str(cold)],
                               {"MEMCTL_HELPER": "on" if helper else "off"})
        assert self.process.stdout.readline() == "ready\n"
        wait_for("%s is seen" % group, lambda: self.value("memory.current") > (hot + cold - 8) * MIB)

    def value(self, key):
        return int(self.g.get(self.group, key))

    def stat(self, name):
        return dict(line.split() for line in self.g.get(self.group, "memory.stat").splitlines())[name]

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def end(self):
        """What was paged out is as it was, and what is in use was left alone."""
        bad, taken = self.ask("look")
        assert bad == "0", bad
        assert int(taken) <= self.pages / 20, (taken, self.pages)
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()
        self.process.stderr.close()
        return int(taken)


def make_group(g, *values):
    group = g.new_group()
    g.do("create", group, *values)
    return group


def reclaim(g, group, what):
    return g.spawn([g.memctl, "reclaim", group, what])


@test("reclaim pages out what is not used, and it is counted as swap")
def _(g):
    group = make_group(g)
    h = Halves(g, group, 128, 128)
    before = h.value("memory.current")
    g.do("reclaim", group, "100M")
    after, swap = h.value("memory.current"), h.value("memory.swap.current")
    assert after <= before - 96 * MIB, (before, after)
    assert 96 * MIB <= swap <= 136 * MIB, swap
    assert abs(after + swap - before) <= 16 * MIB, (before, after, swap)
    assert abs(int(h.stat("swap")) - h.value("memory.swap.current")) <= 4 * MIB
    assert h.value("memory.swap.peak") >= swap
    assert abs(h.value("memory.memsw.usage_in_bytes") - before) <= 16 * MIB
    ran = reclaim(g, group, "1G")
    assert ran.status == 1 and "of the 1.0 GiB" in ran.err, ran
    assert h.ask("look")[0] == "0"
    wait_for("what came back is charged", lambda: h.value("memory.current") >= before - 16 * MIB)
    wait_for("and is in swap no more", lambda: h.value("memory.swap.current") <= 16 * MIB)
    g.do("reclaim", group, "100M")
    assert h.ask("unmap") == ["unmapped"]
    wait_for("swap is given back with its mapping", lambda: h.value("memory.swap.current") <= 16 * MIB)
    wait_for("and the memory", lambda: h.value("memory.current") <= before - 100 * MIB)
    print("# %d of %d pages in use were taken" % (h.end(), h.pages))


@test("memory.swap.max stops it, and is counted")
def _(g):
    group = make_group(g, "memory.swap.max=20M")
    h = Halves(g, group, 0, 128)
    assert reclaim(g, group, "100M").status == 1
    assert 8 * MIB <= h.value("memory.swap.current") <= 20 * MIB, h.value("memory.swap.current")
    events = dict(line.split() for line in g.get(group, "memory.swap.events").splitlines())
    assert int(events["max"]) > 0 and events["high"] == "0", events
    g.do("set", group, "memory.swap.max=0")
    swap = h.value("memory.swap.current")
    assert reclaim(g, group, "100M").status == 1
    assert h.value("memory.swap.current") <= swap
    g.do("set", group, "memory.swap.max=max")
    g.do("reclaim", group, "64M")
    assert h.value("memory.swap.current") >= 64 * MIB
    h.end()


@test("swappiness: 0 takes nothing, of a group or of one request")
def _(g):
    group = make_group(g)
    h = Halves(g, group, 0, 64)
    assert reclaim(g, group, "40M swappiness=0").status == 1
    g.do("set", group, "memory.swappiness=0")
    assert reclaim(g, group, "40M").status == 1
    assert h.value("memory.swap.current") == 0
    g.do("set", group, "memory.reclaim=30M swappiness=max")
    assert h.value("memory.swap.current") >= 28 * MIB
    for bad in ("40M swappiness=201", "40M swappiness=", "40M swappiness=x", "40Mswappiness=1", "swappiness=1", "40M 60"):
        ran = reclaim(g, group, bad)
        assert ran.status == 1 and "EINVAL" in ran.err or "is no size" in ran.err, (bad, ran)
    h.end()


@test("memory.max below usage pages out, and so does a refused request")
def _(g):
    group = make_group(g)
    h = Halves(g, group, 32, 128)
    g.do("set", group, "memory.max=100M")
    wait_for("it is below its limit", lambda: h.value("memory.current") <= 100 * MIB)
    wait_for("a request is granted", lambda: h.ask("m48") == ["granted"])
    assert h.value("memory.swap.current") >= 100 * MIB
    h.end()


@test("the daemon pages out for members that cannot do so: stopped, without a helper, not preloaded")
def _(g):
    group = make_group(g)
    h = Halves(g, group, 64, 64, helper=False)
    g.do("reclaim", group, "60M")
    assert h.value("memory.swap.current") >= 56 * MIB
    h.end()
    group = make_group(g)
    h = Halves(g, group, 64, 64, options=("-static",))
    assert int(h.stat("observed")) > 100 * MIB
    g.do("reclaim", group, "60M")
    assert h.value("memory.swap.current") >= 56 * MIB
    h.end()
    group = make_group(g)
    h = Halves(g, group, 16, 64)
    pid = int(g.do("ps", "--no-header", "-f", "pid", group))
    os.kill(pid, signal.SIGSTOP)
    wait_for("it is seen that it does not answer", lambda: reclaim(g, group, "60M").status == 0)
    assert h.value("memory.swap.current") >= 56 * MIB
    os.kill(pid, signal.SIGCONT)
    assert h.ask("look")[0] == "0"
    h.process.stdin.close()
    assert h.process.wait(60) == 0
    h.process.stdout.close()
    h.process.stderr.close()


@test("memsw: what is in swap leaves less memory; errors as in cgroup v1")
def _(g):
    group = make_group(g)
    h = Halves(g, group, 0, 128)
    refused = g.spawn([g.memctl, "set", group, "memory.memsw.limit_in_bytes=100M"])
    assert refused.status == 1 and h.value("memory.swap.current") == 0, refused
    g.do("set", group, "memory.limit_in_bytes=200M")
    refused = g.spawn([g.memctl, "set", group, "memory.memsw.limit_in_bytes=199M"])
    assert refused.status == 1 and "memory.limit_in_bytes" in refused.err, refused
    g.do("set", group, "memory.memsw.limit_in_bytes=200M")
    refused = g.spawn([g.memctl, "set", group, "memory.limit_in_bytes=201M"])
    assert refused.status == 1 and "memory.memsw.limit_in_bytes" in refused.err, refused
    g.do("set", group, "memory.reclaim=100M")
    assert h.value("memory.limit_in_bytes") == 200 * MIB
    assert g.get(group, "memory.max") == str(200 * MIB)
    assert h.value("memory.memsw.usage_in_bytes") >= 128 * MIB
    assert h.ask("m96") == ["refused"]  # 128 + 96 are more than 200, though memory has room
    assert h.value("memory.memsw.failcnt") > 0
    assert h.value("memory.memsw.max_usage_in_bytes") >= 128 * MIB
    g.do("set", group, "memory.memsw.limit_in_bytes=-1")
    assert h.ask("m96") == ["granted"]
    g.do("set", group, "memory.memsw.failcnt=0")
    assert h.value("memory.memsw.failcnt") == 0
    h.end()


if not os.environ["MEMCTL_TEST_SWAP"]:
    print("1..0 # SKIP " + os.environ["MEMCTL_TEST_NO_SWAP"])
    sys.exit(0)
sys.exit(main())
