#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Interpreters, compilers and virtual machines: plain, with plenty, and against a limit. Prints TAP."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from real_programs import compile_c, main, need, test  # noqa: E402

PYTHON = "/usr/bin/python3"

# ---- python -------------------------------------------------------------------------------------------------------

MIXED = """
import mmap, multiprocessing, subprocess, sys, threading

def work(n):
    return sum(len(str(i)) for i in range(n)) + len(bytearray(n * 100))

def threads():
    sums = [0] * 8
    def body(k):
        sums[k] = work(2000 + k)
    running = [threading.Thread(target=body, args=(k,)) for k in range(8)]
    for t in running: t.start()
    for t in running: t.join()
    return sum(sums)

def processes(how):
    with multiprocessing.get_context(how).Pool(2) as pool:
        return sum(pool.map(work, [1000, 2000, 3000, 4000]))

def mapping():
    with mmap.mmap(-1, 16 << 20) as shared, mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE) as own:
        own[:] = b"y" * len(own)
        shared[100:108] = b"memctl\\n\\n"
        own.resize(12 << 20)
        return shared[100:106], own[0:2], len(own)

if __name__ == "__main__":
    print("threads", threads())
    print("subprocess", subprocess.run([sys.executable, "-c", "print(len(bytes(1 << 22)))"],
                                       capture_output=True, text=True, check=True).stdout.strip())
    print("shell", subprocess.check_output("seq 1 1000 | wc -l", shell=True).strip())
    print("fork", processes("fork"))
    print("spawn", processes("spawn"))
    print("mmap", *mapping())
"""

GO_ON = """
held = []
for round in range(3):
    try:
        while len(held) < 400:
            held.append(bytes(1 << 20))
        print("no limit met")
    except MemoryError:
        print("MemoryError", 20 < len(held) < 64)
        held.clear()
raise SystemExit(3)
"""

SMALL = """
held = []
try:
    for i in range(4000000): held.append([i, str(i)])
except MemoryError:
    del held
    print("MemoryError")
    raise SystemExit(3)
"""

MMAP = """
import mmap
held = []
try:
    for i in range(400):
        held.append(mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE))
        held[-1].write(b"x" * (1 << 20))
except OSError as e:
    print(e.strerror, len(held) > 30)
    raise SystemExit(3)
"""

CHILD = """
import multiprocessing
def want(n):
    return len(bytes(n))
if __name__ == "__main__":
    with multiprocessing.get_context("%s").Pool(1) as pool:
        try:
            pool.map(want, [1 << 20, 200 << 20])
        except MemoryError:
            print("the child's MemoryError")
        print(pool.map(want, [1 << 20]))
"""


@test("python: threads, children, multiprocessing by fork and spawn, mmap")
def _(g):
    need(PYTHON)
    g.same([PYTHON, g.write("mixed.py", MIXED)])


@test("python against a limit: MemoryError from large blocks, and it goes on")
def _(g):
    need(PYTHON)
    g.refused("64M", [PYTHON, "-c", GO_ON], r"(MemoryError True\n){3}", "python3", status=[3])


@test("python against a limit: MemoryError from small objects")
def _(g):
    need(PYTHON)
    g.refused("64M", [PYTHON, "-c", SMALL], "MemoryError", "python3", status=[3])
    g.refused("64M", [PYTHON, "-c", SMALL], "MemoryError", "python3", status=[3], env={"PYTHONMALLOC": "malloc"})


@test("python against a limit: mmap answers ENOMEM")
def _(g):
    need(PYTHON)
    g.refused("64M", [PYTHON, "-c", MMAP], "Cannot allocate memory True", "python3", status=[3])


@test("python against a limit: a child's MemoryError reaches its parent")
def _(g):
    need(PYTHON)
    for how in "fork", "spawn":
        g.refused("128M", [PYTHON, g.write("child.py", CHILD % how)],
                  r"the child's MemoryError\n\[1048576\]", "python3", status=[0])


# ---- compilers ----------------------------------------------------------------------------------------------------

def functions(n, prefix="f"):
    one = """int %s(int *a, int n) { int s = %d; for (int i = 0; i < n; i++) {
	if (a[i] > %d) s += a[i] * %d; else s ^= a[(i * %d) %% n];
	switch (s & 7) { case 0: s += 3; break; case 1: s <<= 1; break; case 5: s -= a[0]; break; default: s ^= i; } }
	return s; }\n"""
    return "".join(one % (prefix + str(i), i, i, i + 1, i + 3) for i in range(n))


@test("gcc -O2: the same object; against a limit cc1 says so")
def _(g):
    need("gcc")
    g.write("big.c", functions(120))
    g.same(["sh", "-c", "gcc -O2 -c big.c -o big.o && cksum <big.o"])
    g.refused("16M", ["gcc", "-O2", "-c", "big.c", "-o", "no.o"], "(virtual memory exhausted|cc1: out of memory)",
              "cc1", status=[1])
    assert not os.path.exists(g.path("no.o"))


MAKEFILE = """
objects = $(patsubst %.c,%.o,$(wildcard part*.c)) main.o
prog: $(objects)
	$(CC) -o $@ $(objects)
%.o: %.c
	$(CC) -O2 -c -o $@ $<
"""


@test("make -j4 of a project; against a limit it fails with the compiler's words")
def _(g):
    need("make", "gcc")
    os.mkdir(g.path("project"))
    for i in range(8):
        g.write("project/part%d.c" % i, functions(8, "p%d_" % i))
    calls = ["p%d_%d" % (i, k) for i in range(8) for k in range(8)]
    g.write("project/main.c", "#include <stdio.h>\n" + "".join("int %s(int *, int);\n" % c for c in calls)
            + "int main(void) { int a[9] = {1, 2, 3}, s = 0; %s printf(\"%%d\\n\", s); return 0; }\n"
            % "".join("s += %s(a, 9);" % c for c in calls))
    g.write("project/Makefile", MAKEFILE)
    g.same(["sh", "-c", "cd project && make -s -B -j4 && ./prog"])
    g.refused("14M", ["make", "-C", "project", "-s", "-B", "-j4"], "(virtual memory exhausted|out of memory)", None,
              status=[2])


CATCHES = """
#include <cstdio>
#include <new>
#include <string>
#include <vector>
int main()
{
	std::vector<std::vector<char>> held;
	int caught = 0;
	for (int round = 0; round < 3; round++) {
		try {
			while (held.size() < 400)
				held.emplace_back(1 << 20, 'x');
		} catch (const std::bad_alloc &) {
			caught++;
			held.clear();
			held.shrink_to_fit();
		}
	}
	std::string text;
	try {
		for (int i = 0; i < 30; i++)
			text += text + "0123456789";
	} catch (const std::bad_alloc &) {
		caught++;
	}
	std::printf("caught %d, goes on\\n", caught);
	return 0;
}
"""


@test("C++: bad_alloc is caught, and it goes on")
def _(g):
    program = compile_c(g, "catches", CATCHES, compiler="g++")
    g.refused("64M", [program], "caught 4, goes on", "catches", status=[0])


# ---- virtual machines ---------------------------------------------------------------------------------------------

JAVA = """
import java.util.*;
public class Fill {
	public static void main(String[] a) throws Exception {
		int n = Integer.parseInt(a[0]);
		List<byte[]> held = new ArrayList<>();
		long[] sums = new long[4];
		Thread[] threads = new Thread[4];
		for (int t = 0; t < 4; t++) {
			final int k = t;
			threads[t] = new Thread(() -> {
				Map<Integer, String> m = new HashMap<>();
				for (int i = 0; i < 20000; i++) m.put(i, "v" + i);
				sums[k] = m.values().stream().mapToLong(String::length).sum();
			});
			threads[t].start();
		}
		for (Thread t : threads) t.join();
		for (int i = 0; i < n; i++) held.add(new byte[1 << 20]);
		System.out.println("filled " + held.size() + " " + Arrays.stream(sums).sum());
	}
}
"""


@test("a JVM program with threads; against a limit OutOfMemoryError or the JVM's own report")
def _(g):
    need("java", "javac")
    g.write("Fill.java", JAVA)
    options = ["-XX:-UsePerfData", "-XX:ErrorFile=" + g.path("error.log")]
    ran = g.same(["sh", "-c", "javac Fill.java && java -Xms32m -Xmx512m -XX:-UsePerfData Fill 100"], space=None)
    assert "filled 100" in ran.out
    g.refused("192M", ["java", *options, "-Xms32m", "-Xmx1g", "Fill", "700"],
              "OutOfMemoryError|insufficient memory for the Java Runtime", "java", status=[1], space=None)
    group = g.new_group()
    ran = g.run_in(group, "512M", ["java", *options, "-Xms32m", "-Xmx128m", "Fill", "700"], space=None)
    assert ran.status == 1 and "java.lang.OutOfMemoryError: Java heap space" in ran.err, ran
    assert "memctl:" not in ran.err, ran
    g.settled(group)


NODE = """
const {execFileSync} = require('child_process');
const m = new Map();
for (let i = 0; i < 200000; i++) m.set(i, 'v' + i);
const b = [];
for (let i = 0; i < 32; i++) b.push(Buffer.alloc(1 << 20, i));
console.log(m.size, b.reduce((s, x) => s + x[5], 0), execFileSync('echo', ['child']).toString().trim());
"""

NODE_FILLS = "const b = []; for (let i = 0; i < 1000; i++) b.push(Buffer.alloc(1 << 20, 1)); console.log('filled');"


@test("node; against a limit it ends with its own words")
def _(g):
    need("node")
    g.same(["node", "-e", NODE], space=None)
    for last in (False, False, True):  # one run in thirty a thread of V8's collector meets NULL unprepared
        try:
            g.refused("96M", ["node", "-e", NODE_FILLS],
                      "heap out of memory|Array buffer allocation failed|std::bad_alloc", "node", space=None)
            return
        except AssertionError:
            if last:
                raise


# ---- others -------------------------------------------------------------------------------------------------------

@test("perl; against a limit: Out of memory!")
def _(g):
    need("perl")
    g.same(["perl", "-e", r'my %h; $h{$_} = "v$_" for 1..50000; print scalar(keys %h), " ", `echo child`;'])
    g.refused("48M", ["perl", "-e", r'my @a; push @a, "x" x 100000 for 1..4000; print "filled\n"'], "Out of memory!",
              "perl")


SQL = """
create table t(a integer primary key, b text);
with recursive c(n) as (select 1 union all select n + 1 from c where n < %d)
	insert into t select n, hex(zeroblob(500)) from c;
create index i on t(b, a);
select count(*), sum(length(b)) from t;
"""


@test("sqlite3 with a table in memory; against a limit: out of memory")
def _(g):
    need("sqlite3")
    g.same(["sqlite3", ":memory:", SQL % 3000])
    g.refused("32M", ["sqlite3", ":memory:", SQL % 100000], "out of memory", "sqlite3")


if __name__ == "__main__":
    sys.exit(main())
