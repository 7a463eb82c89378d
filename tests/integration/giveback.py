#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What real programs do not use any more is given back on request, as a restart would: to within some MiB of what they held
when they were fresh."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import main, need, test, wait_for

MIB = 1 << 20

PYTHON = """
import mmap, os, sys, time
print("fresh", flush=True)
sys.stdin.readline()
rows = [bytes([n & 255]) * size for size in (700, 3000, 40000) for n in range(30_000_000 // size)]
# With its own malloc a program is looked at when it maps something, and what it holds is known some looks later.
end = time.monotonic() + 60
while "MEMCTL_ALLOCATOR" in os.environ and len(os.listdir("/proc/self/task")) == 1 and time.monotonic() < end:
    mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    time.sleep(0.01)
print("full", flush=True)
sys.stdin.readline()
del rows
print("done", flush=True)
sys.stdin.readline()
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


class Program:
    """A program in a group of its own that says a word when it has come so far, and goes on after a line."""

    def __init__(self, g, argv, env=None):
        self.g, self.group = g, g.new_group()
        self.process = g.start([g.memctl, "run", "-g", self.group, "--keep", "--", *argv], env)

    def until(self, word):
        said = self.process.stdout.readline()
        assert said == word + "\n", "%r instead of %s: %s" % (said, word, self.process.stderr.read() if not said else "")
        return self.current()

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def current(self):
        return int(self.g.get(self.group, "memory.current"))

    def reclaim(self):
        """As often as somebody gives something: who is to listen may be about to begin."""
        self.g.spawn([self.g.memctl, "reclaim", self.group, "1G"])
        return self.current()

    def end(self):
        self.go_on()
        assert self.process.wait(60) == 0, self.process.stderr.read()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


def gives_back(program, slack):
    """Fresh, full, done."""
    fresh = program.until("fresh")
    program.go_on()
    full = program.until("full")
    assert full > fresh + 60 * MIB, (fresh, full)
    program.go_on()
    program.until("done")
    wait_for("%d MiB are given back to %d" % ((full - fresh) >> 20, fresh >> 20),
             lambda: program.reclaim() < fresh + slack)


@test("python after del")
def _(g):
    program = Program(g, [*need("python3"), "-c", PYTHON])
    gives_back(program, 12 * MIB)
    program.end()


@test("python after del, with its own malloc (MEMCTL_ALLOCATOR=system)")
def _(g):
    program = Program(g, [*need("python3"), "-c", PYTHON], {"MEMCTL_ALLOCATOR": "system"})
    gives_back(program, 12 * MIB)
    program.end()


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


@test("redis after its keys are deleted")
def _(g):
    server, cli = need("redis-server", "redis-cli")
    group, socket = g.new_group(), g.path("redis.sock")
    process = g.start([g.memctl, "run", "-g", group, "--keep", "--", server, "--port", "0", "--unixsocket", socket,
                       "--save", "", "--appendonly", "no", "--dir", g.work, "--enable-debug-command", "local"])

    def ask(*words):
        return g.spawn([cli, "-s", socket, *words]).out.strip()

    def current():
        return int(g.get(group, "memory.current"))
    try:
        wait_for("redis answers", lambda: ask("ping") == "PONG")
        fresh = current()
        assert ask("debug", "populate", "70000", "key", "900") == "OK"
        assert current() > fresh + 60 * MIB
        ask("eval", "for i = 0, 69999 do redis.call('del', 'key:' .. i) end", "0")
        assert ask("dbsize") == "0"

        def given():
            g.spawn([g.memctl, "reclaim", group, "1G"])
            return current() < fresh + 8 * MIB
        wait_for("redis holds what it held", given)
        assert ask("set", "a", "b") == "OK" and ask("get", "a") == "b"
    finally:
        process.terminate()
        process.wait(60)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


sys.exit(main())
