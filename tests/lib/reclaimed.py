# SPDX-License-Identifier: MIT
"""Real programs that load much and drop most of it: what they hold before and after, what they have given back on request,
and what one holds that is started again with what is left. All figures are memory.current, in bytes."""
import json
import os
import subprocess
import time

from real_programs import need, wait_for

MIB = 1 << 20
STEADY = 0.3  # between two looks at a figure: longer than the daemon takes to look at a busy member

PYTHON = """
import mmap, os, random, sys, time
kept, more, scattered = int(sys.argv[1]) << 20, int(sys.argv[2]) << 20, sys.argv[3] == "scattered"
def fill(size):
    return [bytes([n & 255]) * each for each in (700, 3000, 40000) for n in range(size // 3 // each)]
print("fresh", flush=True)
sys.stdin.readline()
if scattered:
    both = fill(kept + more)
    random.seed(1)
    rows = random.sample(both, len(both) * kept // (kept + more))
else:
    rows, both = fill(kept), fill(more)
# With its own malloc a program is looked at when it maps something, and what it holds is known some looks later.
end = time.monotonic() + 60
while "MEMCTL_ALLOCATOR" in os.environ and len(os.listdir("/proc/self/task")) == 1 and time.monotonic() < end:
    mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    time.sleep(0.01)
print("full", flush=True)
sys.stdin.readline()
del both
print("done", flush=True)
sys.stdin.readline()
"""

JAVA = """
import java.util.ArrayList;
import java.util.List;
public class Load {
	static List<byte[]> fill(int mib) {
		List<byte[]> held = new ArrayList<>();
		for (int i = 0; i < mib * 128; i++)
			held.add(new byte[8000 + i % 300]);
		return held;
	}
	public static void main(String[] args) throws Exception {
		List<byte[]> kept = fill(Integer.parseInt(args[0]));
		System.out.println("fresh");
		System.in.read();
		List<byte[]> more = fill(Integer.parseInt(args[1]));
		System.out.println("full");
		System.in.read();
		more.clear();
		more = null;
		System.out.println("done");
		System.in.read();
		if (kept.isEmpty())
			System.exit(1);
	}
}
"""

JCMD = ["-m", "jdk.jcmd/sun.tools.jcmd.JCmd"]  # where only a runtime is, there is no command of that name

# Of what is free and committed the collector shall keep as little as it can. Both may be set in a running JVM.
LESS_FREE = ["VM.set_flag MinHeapFreeRatio 5", "VM.set_flag MaxHeapFreeRatio 10"]
COLLECT = ["GC.run"]


class Program:
    """A program in a group of its own that says a word when it has come so far, and goes on after a line."""

    def __init__(self, g, argv, env=None):
        self.g, self.group = g, g.new_group()
        self.process = g.start([g.memctl, "run", "-g", self.group, "--keep", "--", *argv], env)

    def until(self, word):
        said = self.process.stdout.readline()
        assert said == word + "\n", "%r instead of %s: %s" % (said, word, self.process.stderr.read() if not said else "")
        return self.current()

    def go_on(self, word=None):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.until(word) if word else None

    def current(self):
        return int(self.g.get(self.group, "memory.current"))

    def steady(self):
        """As it is once the daemon has seen it: the same twice, or what it is after some seconds."""
        last, end = None, time.monotonic() + 10
        while True:
            now = self.current()
            if last is not None and abs(now - last) < MIB or time.monotonic() > end:
                return now
            last = now
            time.sleep(STEADY)

    def reclaim(self):
        self.g.spawn([self.g.memctl, "reclaim", self.group, "1G"])
        return self.current()

    def reclaim_all(self, goal=None):
        """Until nothing more comes, or, with a goal, until that is reached: who is to listen may be about to begin."""
        if goal is not None:
            wait_for("it holds %d MiB at most" % (goal >> 20), lambda: self.reclaim() <= goal)
            return self.current()
        last = self.steady()
        while True:
            self.reclaim()
            now = self.steady()
            if now > last - MIB:
                return now
            last = now

    def pid(self):
        rows = json.loads(self.g.do("ps", "--json", self.group))
        return (rows["members"] if isinstance(rows, dict) else rows)[0]["pid"]

    def end(self):
        self.go_on()
        assert self.process.wait(60) == 0, self.process.stderr.read()
        self.close()

    def kill(self):
        self.process.terminate()
        self.process.wait(60)
        self.close()

    def close(self):
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


class Figures:
    """loaded, dropped, then given: what was done and what was held after it, for each thing that was done."""

    def __init__(self, loaded, dropped, restarted):
        self.loaded, self.dropped, self.restarted, self.given = loaded, dropped, restarted, []

    def give(self, program, what, slack):
        """With a slack the program must come down to what a restart holds, and so much."""
        self.given.append((what, program.reclaim_all(None if slack is None else self.restarted + slack)))


# ---- python --------------------------------------------------------------------------------------------------------

def python_program(g, kept, more, how, env):
    program = Program(g, [*need("python3"), "-c", PYTHON, str(kept), str(more), how], env)
    program.until("fresh")
    program.go_on("full")
    return program


def python(g, kept=10, more=90, how="apart", env=None, slack=None):
    """`how`: what is dropped was allocated after what is kept (apart), or is all but some of it at random (scattered)."""
    program, another = python_program(g, kept, more, how, env), python_program(g, kept, 0, "apart", env)
    loaded = program.steady()
    program.go_on("done")
    seen = Figures(loaded, program.steady(), another.steady())
    seen.give(program, "memctl reclaim", slack)
    another.go_on("done")
    for each in program, another:
        each.end()
    return seen


# ---- redis ---------------------------------------------------------------------------------------------------------

class Redis(Program):
    def __init__(self, g):
        self.cli = need("redis-cli")[0]
        self.socket = g.path("redis%d.sock" % g.groups)  # of the group before its own
        super().__init__(g, [*need("redis-server"), "--port", "0", "--unixsocket", self.socket, "--save", "",
                             "--appendonly", "no", "--dir", g.work, "--enable-debug-command", "local"])
        wait_for("redis answers", lambda: self.ask("ping") == "PONG")

    def ask(self, *words):
        return self.g.spawn([self.cli, "-s", self.socket, *words]).out.strip()

    def populate(self, keys):
        assert self.ask("debug", "populate", str(keys), "key", "900") == "OK"

    def drop(self, kept, keys, how):
        """The last ones, or all but some at random."""
        which = "i >= %d" % kept if how == "apart" else "math.random() * %d >= %d" % (keys, kept)
        self.ask("eval", "for i = 0, %d do if %s then redis.call('del', 'key:' .. i) end end" % (keys - 1, which), "0")


def redis(g, kept=8000, keys=80000, how="apart", slack=None):
    server = Redis(g)
    server.populate(keys)
    loaded = server.steady()
    server.drop(kept, keys, how)
    dropped = server.steady()
    assert server.ask("save") == "OK"
    another = Redis(g)  # it loads what the first one has saved
    left = server.ask("dbsize")
    assert another.ask("dbsize") == left != "0"
    seen = Figures(loaded, dropped, another.steady())
    seen.give(server, "memctl reclaim", slack)
    assert server.ask("dbsize") == left and server.ask("set", "a", "b") == "OK" and server.ask("get", "a") == "b"
    for each in server, another:
        each.kill()
    os.unlink(g.path("dump.rdb"))
    return seen


# ---- sqlite3 -------------------------------------------------------------------------------------------------------

class Sqlite(Program):
    """A database in memory. `rows` of 3,000 bytes."""

    def __init__(self, g, rows, env=None):
        super().__init__(g, [*need("sqlite3"), ":memory:"], env)
        self.do("create table t(n, data);")
        self.do("insert into t with recursive c(n) as (select 1 union all select n + 1 from c where n < %d) "
                "select n, randomblob(3000) from c;" % rows)

    def do(self, words):
        self.process.stdin.write(words + "\nselect 'done';\n")
        self.process.stdin.flush()
        self.until("done")

    def drop(self, kept):
        self.do("delete from t where n > %d; vacuum;" % kept)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()
        self.process.stderr.close()


def sqlite(g, kept=3000, rows=30000, env=None, slack=None):
    program, another = Sqlite(g, rows, env), Sqlite(g, kept, env)
    loaded = program.steady()
    program.drop(kept)
    seen = Figures(loaded, program.steady(), another.steady())
    seen.give(program, "memctl reclaim", slack)
    program.do("insert into t select n, data from t;")
    for each in program, another:
        each.end()
    return seen


# ---- java ----------------------------------------------------------------------------------------------------------

def java_program(g, options, kept, more):
    g.write("Load.java", JAVA)
    program = Program(g, [*need("java"), "-Xmx512m", *options, "Load.java", str(kept), str(more)])
    program.until("fresh")
    return program


def tell_java(program, words):
    ran = subprocess.run([*need("java"), *JCMD, str(program.pid()), *words.split()], capture_output=True, text=True,
                         timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def told(group):
    """In words."""
    times = {words: group.count(words) for words in group}
    return ", ".join(words + " %d times" % n * (n > 1) for words, n in times.items())


def java(g, options=(), commands=(COLLECT,), kept=40, more=300, slack=None):
    """`commands`: groups of what the JVM is told before it is asked again. The first asking is without any; the slack is
    of the last."""
    program, another = java_program(g, options, kept, more), java_program(g, options, kept, 0)
    program.go_on("full")
    loaded = program.steady()
    program.go_on("done")
    seen = Figures(loaded, program.steady(), another.steady())
    seen.give(program, "memctl reclaim", None)
    for group in commands:
        for words in group:
            tell_java(program, words)
        seen.give(program, told(group), slack if group is commands[-1] else None)
    another.go_on("full")
    another.go_on("done")
    for each in program, another:
        each.end()
    return seen
