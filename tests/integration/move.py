#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Moving a running process: what goes where, to the page, while its threads allocate."""
import json
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import Ground, MEMCTL, compile_c, main, test, wait_for

MIB = 1 << 20

# Reads a letter a line: a, allocates and touches 32 MiB; f, frees what was allocated first; c, four threads
# allocate and free for ever; s, they stop with nothing left. Answers with the letter.
CHURN = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#define BLOCK (32u << 20)
static char *block[16];
static int first, last;
static atomic_int stop;
static pthread_t thread[4];
static void *churn(void *arg)
{
	char *held[16] = { 0 };
	size_t size[16] = { 0 };
	unsigned seed = (unsigned)(size_t)arg + 1;
	while (!stop) {
		int i = rand_r(&seed) % 16;
		if (held[i]) {
			munmap(held[i], size[i]);
			held[i] = NULL;
			continue;
		}
		size[i] = (size_t)(1 + rand_r(&seed) % 64) << 12;
		held[i] = mmap(NULL, size[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (held[i] == MAP_FAILED)
			abort();
		memset(held[i], 1, size[i]);
		free(malloc((size_t)(1 + rand_r(&seed) % 200) << 10));
	}
	for (int i = 0; i < 16; i++)
		if (held[i])
			munmap(held[i], size[i]);
	return NULL;
}
int main(void)
{
	char line[16];
	setvbuf(stdout, NULL, _IONBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		if (*line == 'a') {
			block[last] = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			memset(block[last++], 1, BLOCK);
		}
		if (*line == 'f')
			munmap(block[first++], BLOCK);
		for (long i = 0; *line == 'c' && i < 4; i++)
			pthread_create(&thread[i], NULL, churn, (void *)i);
		stop = *line == 's';
		for (int i = 0; stop && i < 4; i++)
			pthread_join(thread[i], NULL);
		printf("%c\n", *line);
	}
	return 0;
}
"""


class Client:
    """One connection to the daemon, for ten thousand requests."""

    def __init__(self, g):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(g.env["MEMCTL_DIR"] + "/control.sock")

    def ask(self, **request):
        self.socket.send(json.dumps({"v": 1, **request}).encode())
        return json.loads(self.socket.recv(65536))

    def move(self, pid, group, charges=""):
        answer = self.ask(op="move", pid=pid, group=group, charges=charges)
        assert answer["ok"], answer

    def current(self, group):
        return self.ask(op="get", group=group, keys=["memory.current"])["values"]["memory.current"]


class Member:
    """The program in a group of its own, and another group beside it."""

    def __init__(self, g, *settings):
        self.g, self.a, self.b = g, g.new_group(), g.new_group()
        self.program = compile_c(g, "churn", CHURN, "-pthread")
        for group in (self.a, self.b):
            g.do("create", group, *settings)
        self.client = Client(g)
        self.process = g.start([g.memctl, "run", "-g", self.a, "--", self.program])
        self.say("x")
        rows = json.loads(g.do("ps", "--json", self.a))
        self.pid = (rows["members"] if isinstance(rows, dict) else rows)[0]["pid"]

    def say(self, letter):
        self.process.stdin.write(letter + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == letter + "\n"

    def both(self):
        return self.client.current(self.a), self.client.current(self.b)

    def holds(self, a, b, slack=10 * MIB):  # what a small program has where huge pages are always on
        """Waits until the groups hold so much, in MiB; small change aside."""
        def near():
            return all(abs(x - y * MIB) <= slack for x, y in zip(self.both(), (a, b)))
        try:
            wait_for("it holds", near)
        except AssertionError:
            raise AssertionError("%s, not %d and %d MiB" % (self.both(), a, b)) from None

    def end(self):
        self.process.stdin.close()
        assert self.process.wait() == 0, self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        for group in (self.a, self.b):
            self.g.settled(group)


def everywhere(settings):
    for mode in ("resident", "commit"):
        yield ["memory.charge=" + mode, *settings]


@test("new charges go to the new group, old ones stay and go back where they came from")
def _(g):
    for settings in everywhere([]):
        m = Member(g, *settings)
        m.say("a")
        m.holds(32, 0)
        g.do("move", str(m.pid), m.b)
        m.holds(32, 0)
        m.say("a")
        m.holds(32, 32)
        m.say("f")
        m.holds(0, 32)
        g.do("move", str(m.pid), m.a)
        m.say("a")
        m.holds(32, 32)
        m.say("f")
        m.holds(32, 0)
        m.end()


@test("with --charges anon what is charged comes along, and goes back from there")
def _(g):
    for settings in everywhere([]):
        m = Member(g, *settings)
        m.say("a")
        m.holds(32, 0)
        g.do("move", "--charges", "anon", str(m.pid), m.b)
        m.holds(0, 32)
        m.say("a")
        m.holds(0, 64)
        m.say("f")
        m.holds(0, 32)
        g.do("move", "-c", "anon,file", str(m.pid), m.a)
        m.holds(32, 0)
        m.end()


@test("memory.move_charge_at_immigrate of the new group is the default")
def _(g):
    m = Member(g)
    g.do("set", m.b, "memory.move_charge_at_immigrate=1")
    m.say("a")
    g.do("move", str(m.pid), m.b)
    m.holds(0, 32)
    m.end()


@test("what does not fit is not moved, in no part")
def _(g):
    m = Member(g)
    g.do("set", m.b, "memory.max=16M")
    m.say("a")
    ran = g.spawn([g.memctl, "move", "-c", "anon", str(m.pid), m.b])
    assert ran.status == 1 and "do not fit into %s" % m.b in ran.err, ran
    m.holds(32, 0)
    assert json.loads(g.do("ls", "--json", m.b)) is not None
    m.end()


@test("what cannot be moved says why")
def _(g):
    m = Member(g)
    for words, says in (
        (["move", str(os.getpid()), m.b], "is no member of a group"),
        (["move", "4194304", m.b], "there is no process 4194304"),
        (["move", str(m.pid), "/nowhere"], "no such group: /nowhere"),
        (["move", "-c", "cache", str(m.pid), m.b], "'cache' is not for charges"),
        (["move", "x1", m.b], "'x1' is not the number of a process"),
    ):
        ran = g.spawn([g.memctl, *words])
        assert ran.status in (1, 2) and says in ran.err, ran
    m.holds(0, 0)
    m.end()


@test("a member cannot leave its group, but sort what is below")
def _(g):
    m = Member(g)
    below = m.a + "/below"
    g.do("create", below)
    script = '%s move $$ %s; echo $?; %s move $$ %s; echo $?' % (g.memctl, m.b, g.memctl, below)
    ran = g.spawn([g.memctl, "run", "-g", m.a, "--keep", "--", "sh", "-c", script])
    assert ran.out.split() == ["1", "0"] and "a member may only" in ran.err, ran
    wait_for("it is empty", lambda: g.spawn([g.memctl, "rm", below]).status == 0)
    m.end()


@test("10,000 moves while four threads allocate")
def _(g):
    for settings in everywhere([]):
        for charges in ("", "anon,file"):
            m = Member(g, *settings)
            m.say("c")
            for i in range(2500):
                m.client.move(m.pid, m.a if i % 2 else m.b, charges)
            m.say("s")
            m.client.move(m.pid, m.a)
            m.holds(sum(m.both()) // MIB if charges else 0, 0, 8 * MIB)
            status = m.client.ask(op="status")
            assert status["ok"], status
            m.end()


if __name__ == "__main__":
    sys.exit(main(Ground))
