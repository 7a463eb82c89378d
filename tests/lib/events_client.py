# SPDX-License-Identifier: MIT
"""The protocol's subscriptions from Python, and a member that does as it is told: for tests of events."""
import array
import json
import os
import select
import socket
import struct

from real_programs import DEADLINE, compile_c, wait_for

PAGE = 4096
MIB = 1 << 20
PACKET_MAX = 65536

# Does one thing a line and answers: m N maps N pages one by one and touches them, u N unmaps the last N, a N allocates N
# bytes and touches them, f frees all that was allocated, h every other one, r N asks N times for 1 GiB. The answer: how many were granted.
STEPPER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
static void *page[1 << 20], *block[1 << 16];
static long pages, blocks;
static int map_one(void)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 0;
	*p = 1;
	page[pages++] = p;
	return 1;
}
static long work(char what, long n)
{
	long done = 0;
	if (what == 'm')
		while (done < n && map_one())
			done++;
	for (; what == 'u' && pages && done < n; done++)
		munmap(page[--pages], 4096);
	if (what == 'a' && (block[blocks] = malloc(n)) != NULL) {
		memset(block[blocks++], 1, n);
		done = 1;
	}
	for (; what == 'f' && blocks; done++)
		free(block[--blocks]);
	for (long i = 0; what == 'h' && i < blocks; i += 2, done++) {
		free(block[i]);
		block[i] = NULL;
	}
	for (long i = 0; what == 'r' && i < n; i++) {
		void *volatile p = malloc(1 << 30);
		done += p != NULL;
		free(p);
	}
	return done;
}
int main(void)
{
	static char line[64];
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		printf("%ld\n", work(line[0], atol(line + 1)));
		fflush(stdout);
	}
	return 0;
}
"""


class Member:
    """A process in a group."""

    def __init__(self, g, group):
        env = {"LD_PRELOAD": g.env["MEMCTL_PRELOAD"], "MEMCTL_GROUP": group}
        if not os.path.exists(g.path("stepper")):
            compile_c(g, "stepper", STEPPER)
        self.process = g.start([g.path("stepper")], env)
        assert self.process.stdout.readline() == "ready\n"

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self):
        return int(self.process.stdout.readline())

    def do(self, line):
        self.say(line)
        return self.hear()

    def end(self):
        self.process.communicate(timeout=DEADLINE)


class Client:
    """A connection."""

    def __init__(self, g):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(g.env["MEMCTL_DIR"] + "/control.sock")

    def ask(self, op, fds=(), **arguments):
        """The reply and the descriptors that came with it."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([json.dumps({"v": 1, "op": op, **arguments}).encode()], rights)
        data, control, _, _ = self.socket.recvmsg(PACKET_MAX, socket.CMSG_SPACE(16))
        came = array.array("i")
        for _, _, part in control:
            came.frombytes(part)
        return json.loads(data), list(came)

    def do(self, op, **arguments):
        reply, _ = self.ask(op, **arguments)
        assert reply["ok"], reply
        return reply

    def refused(self, errno, op, fds=(), **arguments):
        reply, came = self.ask(op, fds, **arguments)
        assert not reply["ok"] and reply["errno"] == errno and reply["error"] and not came, reply

    def fired(self, ident):
        return self.do("subscriptions", id=ident)["subscriptions"][0]["fired"]

    def subscribe(self, group, event):
        return Subscription(self, group, event)


class Subscription:
    """With an eventfd that the daemon has made."""

    def __init__(self, client, group, event):
        reply, came = client.ask("subscribe", group=group, event=event)
        assert reply["ok"] and len(came) == 1, reply
        self.id, self.fd, self.client = reply["id"], came[0], client
        self.seen = 0

    def count(self):
        """All that has come until now."""
        self.seen += drain(self.fd)
        return self.seen

    def await_count(self, n):
        wait_for("%d notifications have come, not %d" % (n, self.seen), lambda: self.count() >= n)
        assert self.seen == n, (self.seen, n)

    def close(self):
        os.close(self.fd)


def drain(fd):
    return struct.unpack("Q", os.read(fd, 8))[0] if select.select([fd], [], [], 0)[0] else 0
