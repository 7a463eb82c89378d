#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl run --profile and memctl profile: who holds memory, of real programs. Prints TAP."""
import gzip
import json
import os
import re
import shutil
import signal
import sys
import xml.etree.ElementTree

sys.dont_write_bytecode = True
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from real_programs import MEMCTL, compile_c, main, need, test, wait_for  # noqa: E402

PYTHON = "/usr/bin/python3"
MIB = 1 << 20
FINE = "8K"  # a site of 10 MiB has 1,280 samples then: 2.8 % is one standard deviation

# What is where is known: 32 MiB of small blocks half of which are freed, a mapping that loses a quarter.
SITES = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void *kept[1 << 18];

static inline __attribute__((always_inline)) char *inlined(size_t n)
{
	return malloc(n);
}

__attribute__((noinline)) char *small_blocks(size_t n)
{
	char *p = inlined(n);
	memset(p, 1, n);
	return p;
}

__attribute__((noinline)) char *one_mapping(size_t n)
{
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p[0] = 1;
	return p;
}

__attribute__((noinline)) char *of_the_child(size_t n)
{
	char *p = malloc(n);
	memset(p, 1, n);
	return p;
}

int main(int argc, char **argv)
{
	char *map;

	for (int i = 0; i < 1 << 18; i++)
		kept[i] = small_blocks(128);
	for (int i = 0; i < 1 << 18; i += 2)
		free(kept[i]);
	map = one_mapping(64 << 20);
	munmap(map + (16 << 20), 16 << 20);
	if (argc > 1 && strcmp(argv[1], "fork") == 0) {
		if (fork() == 0) {
			for (int i = 1; i < 1 << 18; i += 2)
				free(kept[i]); /* its parent's: not its own to give back */
			of_the_child(24 << 20);
			_exit(0);
		}
		wait(NULL);
	}
	puts("ready");
	fflush(stdout);
	if (argc > 1 && strcmp(argv[1], "kill") == 0)
		raise(SIGKILL);
	if (argc > 1 && strcmp(argv[1], "wait") == 0)
		getchar();
	return 0;
}
"""

# Threads that give blocks to each other, resize and free them in all ways there are; each says what it should have in it.
# In the end all but the kept ones are freed.
WAYS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 20000u
#define STEPS 400000u
struct block { size_t size; unsigned char fill; };
static _Atomic(struct block *) slot[SLOTS];
static void (*sdallocx_)(void *, size_t, int);
static void (*dallocx_)(void *, int);
static void *(*mallocx_)(size_t, int);
static void *(*rallocx_)(void *, size_t, int);
static size_t (*xallocx_)(void *, size_t, size_t, int);
static void *kept[40000];

static void fill(struct block *b, size_t size, unsigned char c)
{
	b->size = size;
	b->fill = c;
	memset(b + 1, c, size - sizeof(*b));
}

static void check(const struct block *b, size_t size)
{
	const unsigned char *p = (const unsigned char *)(b + 1);

	for (size_t i = 0; i < size - sizeof(*b); i++)
		if (p[i] != b->fill)
			abort();
}

static unsigned next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (unsigned)(*x >> 20);
}

__attribute__((noinline)) static struct block *get(unsigned way, size_t size)
{
	void *p = NULL;

	switch (way % 8) {
	case 0: return calloc(1, size);
	case 1: return posix_memalign(&p, 1u << (4 + way / 8 % 9), size) ? NULL : p;
	case 2: return aligned_alloc(64, (size + 63) & ~(size_t)63);
	case 3: return mallocx_(size, 0x40);         /* zeroed */
	case 4: return mallocx_(size, 1 << 8);       /* past the thread's cache */
	default: return malloc(size);
	}
}

static struct block *resize(unsigned way, struct block *b, size_t size)
{
	size_t least = b->size < size ? b->size : size;
	struct block *n = way % 4 == 3 ? rallocx_(b, size, way % 8 == 3 ? 6 : 0) : realloc(b, size);

	if (!n)
		abort();
	check(n, least);
	(void)xallocx_(n, size, 4096, 0);
	return n;
}

static void put(unsigned way, struct block *b)
{
	check(b, b->size);
	if (way % 4 == 0)
		sdallocx_(b, b->size, 0);
	else if (way % 4 == 1)
		dallocx_(b, way % 8 == 1 ? 1 << 8 : 0);
	else
		free(b);
}

static void *work(void *arg)
{
	uint64_t x = 88172645463325252ull + (uint64_t)(uintptr_t)arg * 7919;

	for (unsigned i = 0; i < STEPS; i++) {
		unsigned way = next(&x);
		size_t size = sizeof(struct block) + next(&x) % (way % 50 == 0 ? 40000 : way % 5 == 0 ? 3000 : 200) + 1;
		struct block *b = atomic_exchange(&slot[next(&x) % SLOTS], NULL);

		if (b && way % 3 == 0) {
			b = resize(way / 3, b, size);
			fill(b, size, (unsigned char)i);
			b = atomic_exchange(&slot[next(&x) % SLOTS], b);
		}
		if (b)
			put(way / 7, b);
		b = get(way / 11, size);
		if (!b)
			abort();
		fill(b, way / 11 % 8 == 2 ? size : size, (unsigned char)way);
		b = atomic_exchange(&slot[next(&x) % SLOTS], b);
		if (b)
			put(3, b);
	}
	return NULL;
}

__attribute__((noinline)) static void keep(void)
{
	for (unsigned i = 0; i < 40000; i++)
		kept[i] = malloc(100);
}

int main(void)
{
	pthread_t t[4];

	*(void **)&sdallocx_ = dlsym(RTLD_DEFAULT, "sdallocx");
	*(void **)&dallocx_ = dlsym(RTLD_DEFAULT, "dallocx");
	*(void **)&mallocx_ = dlsym(RTLD_DEFAULT, "mallocx");
	*(void **)&rallocx_ = dlsym(RTLD_DEFAULT, "rallocx");
	*(void **)&xallocx_ = dlsym(RTLD_DEFAULT, "xallocx");
	keep();
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, work, (void *)i);
	for (int i = 0; i < 20; i++)
		if (fork() == 0) { /* marks of the parent's, and none of its samples */
			for (unsigned k = 0; k < 40000; k += 2)
				free(kept[k]);
			for (unsigned k = 0; k < 40000; k += 2)
				kept[k] = malloc(100);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slot[i])
			put(i, slot[i]);
	puts("whole");
	return 0;
}
"""

# Of each namespace and of a template: names as they are written.
TEMPLATES = r"""
#include <cstdlib>
#include <cstring>
#include <vector>
namespace outer {
template <class T> struct Store {
	std::vector<T *> kept;
	__attribute__((noinline)) void grow(int n)
	{
		for (int i = 0; i < n; i++) {
			kept.push_back(new T[1000]);
			memset(kept.back(), 1, sizeof(T) * 1000);
		}
	}
};
}
int main()
{
	static outer::Store<double> store;
	store.grow(4000);
	return 0;
}
"""

LINES = """import sys
class Holder:
    def fill(self, n):
        self.kept = [bytes(3000) for _ in range(n)]      # line 4
def outer(n):
    h = Holder()
    h.fill(n)                                            # line 7
    return h
kept = outer(10000)
print("done")
"""


def profile(g, group, *words):
    return json.loads(g.do("profile", "--format", "json", *words, group))


def run(g, group, argv, *options, **kw):
    ran = g.spawn([g.memctl, "run", "-g", group, "--keep", "--profile-rate", FINE, "--profile=" + g.path("out.json"),
                   *options, "--", *argv], **kw)
    return ran


def stacks_of(p, function):
    """Those with the function on them."""
    wanted = {i for i, f in enumerate(p["frames"]) if f["function"] == function}
    return [s for s in p["stacks"] if wanted & set(s["frames"])]


def total(p, function, value="live_bytes"):
    return sum(s[value] for s in stacks_of(p, function))


def names(p, stack):
    return [p["frames"][i]["function"] for i in stack["frames"]]


def near(value, truth, part=0.15):
    assert abs(value - truth) <= part * truth, "%.0f is not near %.0f" % (value, truth)


def sites(g):
    path = g.path("sites")
    return path if os.path.exists(path) else compile_c(g, "sites", SITES, "-O2", "-g", "-fomit-frame-pointer")


@test("without --profile nothing is recorded")
def _(g):
    group = g.new_group()
    ran = g.spawn([g.memctl, "run", "-g", group, "--keep", "--", sites(g)])
    assert ran.status == 0 and not os.path.exists(g.top + "/run/profile"), ran
    ran = g.spawn([g.memctl, "profile", group])
    assert ran.status == 1 and "memctl run --profile" in ran.err, ran


@test("live bytes, all bytes and counts of heap and mappings, functions that are inlined, lines")
def _(g):
    group = g.new_group()
    ran = run(g, group, [sites(g)])
    assert (ran.status, ran.out) == (0, "ready\n"), ran
    p = profile(g, group)
    near(total(p, "small_blocks"), 16 * MIB)
    near(total(p, "small_blocks", "allocated_bytes"), 32 * MIB)
    near(total(p, "small_blocks", "live_count"), 1 << 17)
    near(total(p, "small_blocks", "peak_bytes"), 16 * MIB, 1.2)
    assert total(p, "one_mapping", "allocated_bytes") == 64 * MIB and total(p, "one_mapping") == 48 * MIB
    stack = max(stacks_of(p, "small_blocks"), key=lambda s: s["live_bytes"])
    assert names(p, stack)[:3] == ["inlined", "small_blocks", "main"], names(p, stack)
    line = next(i for i, text in enumerate(SITES.split("\n"), 1) if "return malloc(n)" in text)
    frame = p["frames"][stack["frames"][0]]
    assert frame["file"].endswith("sites.c") and frame["line"] == line, frame
    assert stack["kind"] == "heap" and stacks_of(p, "one_mapping")[0]["kind"] == "mmap"
    written = json.load(open(g.path("out.json")))
    assert total(written, "small_blocks", "allocated_bytes") == total(p, "small_blocks", "allocated_bytes")


@test("of a killed program what it held is still there")
def _(g):
    group = g.new_group()
    ran = run(g, group, [sites(g), "kill"])
    assert ran.status == 128 + signal.SIGKILL, ran
    p = profile(g, group)
    assert p["running"] == 0
    near(total(p, "small_blocks"), 16 * MIB)
    assert total(p, "one_mapping") == 48 * MIB


@test("of a running program what it holds now")
def _(g):
    group = g.new_group()
    p = g.start([g.memctl, "run", "-g", group, "--keep", "--profile-rate", FINE, "--profile=/dev/null", "--", sites(g),
                 "wait"])
    try:
        assert p.stdout.readline() == "ready\n"
        seen = profile(g, group)
        assert seen["running"] == 1
        near(total(seen, "small_blocks"), 16 * MIB)
    finally:
        p.communicate("\n")
    assert profile(g, group)["running"] == 0


@test("the picture of a process that is moved goes along")
def _(g):
    groups = g.new_group(), g.new_group()
    g.do("create", groups[1])
    p = g.start([g.memctl, "run", "-g", groups[0], "--keep", "--profile-rate", FINE, "--profile=/dev/null", "--", sites(g),
                 "wait"])
    try:
        assert p.stdout.readline() == "ready\n"
        pid = g.do("ps", "--fields", "pid", "--no-header", groups[0]).split()[-1]
        g.do("move", pid, groups[1])
        near(total(profile(g, groups[1]), "small_blocks"), 16 * MIB)
        ran = g.spawn([g.memctl, "profile", groups[0]])
        assert ran.status == 1 and "no call sites" in ran.err, ran
    finally:
        p.communicate("\n")
    near(total(profile(g, groups[1]), "small_blocks", "allocated_bytes"), 32 * MIB)
    assert g.spawn([g.memctl, "profile", groups[0]]).status == 1


@test("a forked child has a picture of its own, and what it frees of its parent's is the parent's")
def _(g):
    group = g.new_group()
    ran = run(g, group, [sites(g), "fork"])
    assert ran.status == 0, ran
    p = profile(g, group)
    assert p["processes"] == 2, p["processes"]
    near(total(p, "small_blocks"), 16 * MIB)
    near(total(p, "of_the_child"), 24 * MIB, 0.02)
    assert "main" in names(p, stacks_of(p, "of_the_child")[0])


@test("each way to resize and to free is noticed, in threads and in children, and the heap stays whole")
def _(g):
    program = compile_c(g, "ways", WAYS, "-O2", "-g", "-pthread")
    for rate in "4K", "512K":
        group = g.new_group()
        ran = run(g, group, [program], "--profile-rate", rate)
        assert (ran.status, ran.out) == (0, "whole\n"), ran
        p = profile(g, group)
        assert total(p, "work", "allocated_bytes") > 200 * MIB
        assert total(p, "work") < 2e-4 * total(p, "work", "allocated_bytes"), total(p, "work")
        near(sum(s["live_bytes"] for s in stacks_of(p, "keep") if "main" in names(p, s)), 40000 * 112, 0.3)


@test("after an out-of-memory event the ten largest call sites are told, also where a file takes the picture")
def _(g):
    group = g.new_group()
    ran = run(g, group, [sites(g)], "--max", "24M")
    assert ran.status != 0 and "the largest call sites:\n" in ran.err, ran
    told = ran.err.split("the largest call sites:\n", 1)[1]
    assert "small_blocks" in told and "one_mapping" not in told, told
    assert len(re.findall(r"^ +[0-9.]+ [KM]iB +[0-9.]+%", told, re.M)) <= 10, told
    assert total(json.load(open(g.path("out.json"))), "small_blocks", "allocated_bytes") > 0
    ran = run(g, g.new_group(), [sites(g)])
    assert ran.status == 0 and "call sites" not in ran.err, ran


@test("C++: names as they are written")
def _(g):
    need("g++")
    program = compile_c(g, "templates", TEMPLATES, "-O2", "-g", compiler="g++")
    group = g.new_group()
    assert run(g, group, [program]).status == 0
    near(total(profile(g, group), "outer::Store<double>::grow(int)"), 4000 * 8192, 0.2)


@test("Python: functions and lines in place of the interpreter's own")
def _(g):
    need(PYTHON)
    script = g.write("lines.py", LINES)
    group = g.new_group()
    ran = run(g, group, [PYTHON, script])
    assert (ran.status, ran.out) == (0, "done\n"), ran
    p = profile(g, group)
    stack = max(p["stacks"], key=lambda s: s["peak_bytes"])
    frames = [(f["function"], f.get("line")) for f in (p["frames"][i] for i in stack["frames"])
              if f.get("file") == script]
    assert frames[-3:] == [("Holder.fill", 4), ("outer", 7), ("<module>", 9)], frames
    assert not any(name.startswith("_PyEval_EvalFrame") for name in names(p, stack)), names(p, stack)


@test("every format can be read")
def _(g):
    group = g.new_group()
    for end in "txt", "folded", "svg", "json", "pb.gz":
        ran = g.spawn([g.memctl, "run", "-g", group, "--keep", "--profile-rate", FINE, "--profile=" + g.path("p." + end),
                       "--", sites(g)])
        assert ran.status == 0 and ran.err == "", ran
    text = open(g.path("p.txt")).read()
    assert re.search(r"^ +\d+\.\d MiB +\d+\.\d% +1 +± +0%  mmap\n +one_mapping  sites\.c:\d+\n +main  sites.c", text, re.M), text
    folded = dict(line.rsplit(" ", 1) for line in open(g.path("p.folded")))
    assert any(k.endswith("main;small_blocks;inlined;[heap]") and int(v) > 10 * MIB for k, v in folded.items()), folded
    svg = xml.etree.ElementTree.parse(g.path("p.svg"))
    titles = [t.text for t in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert any(t.startswith("one_mapping\n") and "MiB" in t for t in titles), titles
    raw = gzip.open(g.path("p.pb.gz")).read()
    for word in b"inuse_space", b"small_blocks", b"mmap":
        assert word in raw, word
    if shutil.which("go"):
        ran = g.spawn(["go", "tool", "pprof", "-top", "-sample_index=alloc_space", g.path("p.pb.gz")], space=0)
        assert ran.status == 0 and "one_mapping" in ran.out, ran


@test("pictures stay within their frame, and no two rectangles of a row overlap")
def _(g):
    group = g.new_group()
    script = g.write("lines.py", LINES)
    assert g.spawn([g.memctl, "run", "-g", group, "--profile-rate", FINE, "--profile=" + g.path("q.svg"), "--",
                    PYTHON, script]).status == 0
    root = xml.etree.ElementTree.parse(g.path("q.svg")).getroot()
    width, height = float(root.get("width")), float(root.get("height"))
    rows = {}
    for frame in root.iter("{http://www.w3.org/2000/svg}g"):
        rect, text = frame.find("{http://www.w3.org/2000/svg}rect"), frame.find("{http://www.w3.org/2000/svg}text")
        x, y, w, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
        assert x >= 0 and x + w <= width and y >= 50 and y + h <= height, (x, y, w, h)
        assert len(text.text or "") * 7 <= max(w, 0), (text.text, w)
        rows.setdefault(y, []).append((x, x + w))
    assert len(rows) > 5
    for row in rows.values():
        row.sort()
        assert all(a[1] <= b[0] + 0.02 for a, b in zip(row, row[1:])), row


@test("--diff says what changed")
def _(g):
    group = g.new_group()
    files = []
    for i, words in enumerate(([], ["fork"])):
        files.append(g.path("d%d.json" % i))
        assert g.spawn([g.memctl, "run", "-g", group, "--keep", "--profile-rate", FINE, "--profile=" + files[-1], "--",
                        sites(g), *words]).status == 0
    p = json.loads(g.do("profile", "--diff", "--format", "json", *files))
    assert p["difference"] is True and total(p, "one_mapping") == 0
    near(total(p, "of_the_child"), 24 * MIB, 0.02)
    text = g.do("profile", "--diff", "--top", "1", "--by", "live", *files)
    assert re.search(r"^ +\+24\.\d MiB", text, re.M) and "of_the_child" in text, text
    ran = g.spawn([g.memctl, "profile", "--diff", files[0]])
    assert ran.status == 2 and "--diff wants two" in ran.err, ran


@test("the ten largest sites of a heap of 256 MiB are within 10 % of the truth, as it is without a rate")
def _(g):
    program = compile_c(g, "truth", open(os.path.join(TOP, "tests/bench/profile.c")).read(), "-O2", "-g")
    off = {}
    for _ in range(3):  # the middle one of three: what chance does to one in 300 it does to none
        group = g.new_group()
        ran = g.spawn([g.memctl, "run", "-g", group, "--keep", "--profile=/dev/null", "--", program])
        assert ran.status == 128 + signal.SIGKILL, ran
        truth = {name: int(number) for name, number in (line.split() for line in ran.out.splitlines())}
        p = profile(g, group)
        for name in sorted(truth, key=truth.get, reverse=True)[:10]:
            off.setdefault(name, []).append(total(p, name) / truth[name] - 1)
        said = [sum(s["live_variance"] for s in stacks_of(p, name)) ** 0.5 / truth[name] for name in truth]
        assert max(said) < 0.2, said
    assert len(off) == 10 and all(abs(sorted(three)[1]) < 0.10 for three in off.values()), off


@test("records make room: a full ring forgets those that have ended")
def _(g):
    group = g.new_group()
    ran = g.spawn([g.memctl, "run", "-g", group, "--keep", "--profile-rate", "4K", "--profile=/dev/null", "--", "sh", "-c",
                   "i=0; while [ $i -lt 600 ]; do /bin/ls / > /dev/null; i=$((i + 1)); done"])
    assert ran.status == 0, ran
    files = [name for name in os.listdir(g.top + "/run/profile") if name != "index"]
    assert 300 < len(files) <= 512, len(files)


if __name__ == "__main__":
    sys.exit(main())
