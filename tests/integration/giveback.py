#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What real programs do not use any more is given back on request, as a restart would: to within some MiB of what they hold
when they are started again with what is left."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
import reclaimed
from real_programs import compile_c, main, need, test, wait_for
from reclaimed import MIB, Program

SYSTEM = {"MEMCTL_ALLOCATOR": "system"}

# 60 MiB at once, or not.
WANT = """
#include <stdlib.h>
#include <string.h>
int main(void)
{
	char *p = malloc(60 << 20);
	return p ? memset(p, 1, 60 << 20) != p : 3;
}
"""

JAVA = """
import java.nio.ByteBuffer;
public class Hoard {
	static long fill() {
		java.util.List<ByteBuffer> held = new java.util.ArrayList<>();
		for (int i = 0; i < 1500; i++)
			held.add(ByteBuffer.allocateDirect(60000).put(0, (byte) i));
		return held.size();
	}
	public static void main(String[] args) throws Exception {
		for (int turn = 0; turn < 2; turn++) {
			System.out.println("fresh");
			System.in.read();
			fill();
			System.out.println("full");
			System.in.read();
			System.gc();
			Thread.sleep(500);
			System.out.println("done");
			System.in.read();
		}
	}
}
"""


def gives_back(program, slack):
    """Fresh, full, done."""
    fresh = program.until("fresh")
    program.go_on()
    full = program.until("full")
    assert full > fresh + 60 * MIB, (fresh, full)
    program.go_on()
    program.until("done")
    program.reclaim_all(fresh + slack)


def as_restarted(seen, least):
    """It held so much more that a restart was worth it; the slack was its function's to check."""
    assert seen.loaded > seen.restarted + least, (seen.loaded, seen.restarted)


@test("python after del")
def _(g):
    as_restarted(reclaimed.python(g, slack=8 * MIB), 60 * MIB)


@test("python after del, with its own malloc (MEMCTL_ALLOCATOR=system)")
def _(g):
    as_restarted(reclaimed.python(g, env=SYSTEM, slack=8 * MIB), 60 * MIB)


@test("a JVM after its direct buffers are collected")
def _(g):
    g.write("Hoard.java", JAVA)
    program = Program(g, [*need("java"), "-Xmx48m", "-XX:+UseSerialGC", "-XX:MaxDirectMemorySize=256m", "Hoard.java"],
                      None)
    gives_back(program, 40 * MIB)  # what the compiler and the class loader have taken meanwhile is in use
    program.go_on()
    program.until("fresh")
    program.go_on()
    program.until("full")
    program.go_on()
    program.until("done")
    program.end()


@test("a JVM after what it held is garbage: only it knows, and is told (G1)")
def _(g):
    seen = reclaimed.java(g, ["-XX:+UseG1GC"], [reclaimed.LESS_FREE + reclaimed.COLLECT], slack=40 * MIB)
    as_restarted(seen, 200 * MIB)


@test("redis after most of its keys are deleted")
def _(g):
    as_restarted(reclaimed.redis(g, slack=8 * MIB), 50 * MIB)


@test("sqlite3 after a delete")
def _(g):
    as_restarted(reclaimed.sqlite(g, slack=8 * MIB), 60 * MIB)


@test("sqlite3 after a delete, with its own malloc: it never calls mmap itself, but free")
def _(g):
    as_restarted(reclaimed.sqlite(g, env=SYSTEM, slack=8 * MIB), 60 * MIB)


@test("who is refused gets what a program with its own malloc does not use, and what that keeps is whole")
def _(g):
    want = compile_c(g, "want", WANT)
    program = reclaimed.Sqlite(g, 30000, SYSTEM)
    program.drop(3000)
    wait_for("it listens", lambda: len(os.listdir("/proc/%d/task" % program.pid())) == 2)
    g.do("set", program.group, "memory.max=%d" % (program.steady() + 20 * MIB))
    ran = g.spawn([g.memctl, "run", "-g", program.group, "--", want])
    assert ran.status == 0, (ran, program.current())
    program.do("insert into t select n, data from t;")
    program.end()


sys.exit(main())
