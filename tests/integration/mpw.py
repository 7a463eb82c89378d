#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""$MEMORY_PRESSURE_WATCH: programs that know systemd's memory-pressure protocol are woken by ours."""
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from grower import grower
from real_programs import compile_c, main, test, wait_for

# Does what systemd's MEMORY_PRESSURE document asks of a program; sd_event_add_memory_pressure does it where libsystemd has
# that (254), else the steps are taken here. Prints a line for each time it is woken, and answers "?" with how often.
CLIENT = r"""
#include <dlfcn.h>
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <systemd/sd-event.h>

static int woken;

static void tell(void)
{
	printf("woken %d\n", ++woken);
	fflush(stdout);
}

static int answer(void)
{
	char line[16];
	if (!fgets(line, sizeof line, stdin))
		return -1;
	printf("%d\n", woken);
	fflush(stdout);
	return 0;
}

static int connect_as_documented(void)
{
	const char *path = getenv("MEMORY_PRESSURE_WATCH");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (!path || stat(path, &st) || !S_ISSOCK(st.st_mode))
		errx(1, "no socket");
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof address))
		err(1, "connect");
	if (getenv("WRITE") && write(fd, getenv("WRITE"), strlen(getenv("WRITE"))) < 0)
		err(1, "write");
	return fd;
}

static void run_as_documented(void)
{
	struct pollfd p[2] = { { .fd = connect_as_documented(), .events = POLLIN }, { .fd = 0, .events = POLLIN } };
	char ignored[4096];
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (poll(p, 2, -1) < 0)
			err(1, "poll");
		if (p[0].revents) {
			if (read(p[0].fd, ignored, sizeof ignored) <= 0)
				errx(1, "hung up");
			tell();
		}
		if (p[1].revents && answer())
			return;
	}
}

static int on_pressure(sd_event_source *s, void *userdata)
{
	(void)s, (void)userdata;
	tell();
	return 0;
}

static int on_input(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	(void)fd, (void)revents, (void)userdata;
	return answer() ? sd_event_exit(sd_event_source_get_event(s), 0) : 0;
}

int main(void)
{
	int (*add)(sd_event *, sd_event_source **, int (*)(sd_event_source *, void *), void *);
	sd_event *event;
	*(void **)&add = dlsym(RTLD_DEFAULT, "sd_event_add_memory_pressure");
	if (!add || getenv("WRITE")) {
		run_as_documented();
		return 0;
	}
	if (sd_event_new(&event) < 0 || sd_event_add_io(event, NULL, 0, 1, on_input, NULL) < 0 ||
	    add(event, NULL, on_pressure, NULL) < 0)
		errx(1, "sd-event");
	puts("ready");
	fflush(stdout);
	return sd_event_loop(event);
}
"""


class Client:
    def __init__(self, g, group, env=None):
        program = compile_c(g, "client", CLIENT, "-Wl,--no-as-needed", "-lsystemd")
        self.process = g.start([g.memctl, "run", "-g", group, "--", program], env)
        assert self.process.stdout.readline() == "ready\n", self.process.stderr.read()

    def wait(self):
        assert self.process.stdout.readline().startswith("woken "), self.process.stderr.read()

    def count(self):
        """How often it was woken so far."""
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        while line.startswith("woken "):
            line = self.process.stdout.readline()
        return int(line)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0, self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()


def strain(g, group):
    """Charges of a member of the group are refused; returns when the daemon has told of it."""
    watch = g.start([g.memctl, "watch", "--count", "1", "-f", "event", group, "pressure:medium"])
    wait_for("it is subscribed", lambda: g.spawn([g.memctl, "run", "-g", group, "--",
                                                  grower(g), "30"]) and watch.poll() is not None)
    out, err = watch.communicate()
    assert out == "pressure:medium\n", err


def variables(g, *options, env=None):
    ran = g.spawn([*options, g.memctl, "run", "--", "env"], env)
    assert ran.status == 0, ran
    return dict(line.split("=", 1) for line in ran.out.splitlines() if "=" in line)


@test("memctl run names the daemon's socket")
def _(g):
    there = variables(g, env={"MEMORY_PRESSURE_WRITE": "c29tZSAyMDAwMDAgMjAwMDAwMAA="})
    assert there["MEMORY_PRESSURE_WATCH"] == g.env["MEMCTL_DIR"] + "/pressure.sock", there
    assert "MEMORY_PRESSURE_WRITE" not in there
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(there["MEMORY_PRESSURE_WATCH"])
    client.close()


@test("what the user or his service manager has set stays")
def _(g):
    for path in "/dev/null", "/sys/fs/cgroup/user.slice/memory.pressure":
        env = {"MEMORY_PRESSURE_WATCH": path, "MEMORY_PRESSURE_WRITE": "eA=="}
        there = variables(g, env=env)
        assert {name: there[name] for name in env} == env, there


@test("memctl run in memctl run: the inner one's daemon")
def _(g):
    inner = g.path("inner")
    there = variables(g, g.memctl, "run", "--", "env", "MEMCTL_DIR=" + inner)
    assert there["MEMORY_PRESSURE_WATCH"] == inner + "/pressure.sock", there
    ran = g.spawn([g.memctl, "daemon", "stop"], {"MEMCTL_DIR": inner})
    assert ran.status == 0, ran


@test("a program is woken when its group is under pressure")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=16M")
    client = Client(g, group)
    assert client.count() == 0
    strain(g, group)
    client.wait()
    client.end()
    g.settled(group)


@test("and when a group above is, not when one beside or below is")
def _(g):
    top = g.new_group()
    for group in top, top + "/own", top + "/beside", top + "/own/below":
        g.do("create", group)
    client = Client(g, top + "/own")
    for group in top + "/beside", top + "/own/below":
        g.do("set", group, "memory.max=16M")
        strain(g, group)
        g.do("set", group, "memory.max=max")
    assert client.count() == 0
    g.do("set", top, "memory.max=16M")
    strain(g, top)
    client.wait()
    client.end()
    g.do("rm", "-r", top)


@test("a program that was moved hears of its new group")
def _(g):
    old, new = g.new_group(), g.new_group()
    g.do("create", old)
    g.do("create", new, "memory.max=16M")
    client = Client(g, old)
    g.do("move", g.do("ps", "-o", "csv", "--no-header", "-f", "pid", old).split()[0], new)
    strain(g, new)
    client.wait()
    client.end()
    g.do("rm", old, new)


@test("what a program writes is ignored, whatever it is")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=16M")
    client = Client(g, group, {"WRITE": "some 200000 2000000" + 100000 * "x"})
    strain(g, group)
    client.wait()
    client.end()
    g.settled(group)


@test("a program that does not read gets one byte, and the daemon goes on")
def _(g):
    idle = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    idle.connect(g.env["MEMCTL_DIR"] + "/pressure.sock")  # not a member: it hears of the root
    g.do("set", "/", "memory.max=16M")
    try:
        for _ in range(3):
            strain(g, "/")
    finally:
        g.do("set", "/", "memory.max=max")
    idle.settimeout(60)
    assert idle.recv(4096) == b"p"
    idle.close()


@test("many at once")
def _(g):
    path = g.env["MEMCTL_DIR"] + "/pressure.sock"
    clients = []
    for _ in range(300):
        clients.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        clients[-1].connect(path)
    g.do("set", "/", "memory.max=16M")
    try:
        strain(g, "/")
    finally:
        g.do("set", "/", "memory.max=max")
    for client in clients:
        client.settimeout(60)
        assert client.recv(1) == b"p"
        client.close()


def keeper_is_there(g):
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as keeper:
            keeper.connect(g.env["MEMCTL_DIR"] + "/keeper.sock")
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def kill_daemon(g):
    os.kill(int(open(g.env["MEMCTL_DIR"] + "/memctld.pid").read()), signal.SIGKILL)
    g.do("ls")


def restart_daemon(g):
    g.do("daemon", "stop")
    g.do("daemon", "start")


@test("a program does not notice that the daemon ends, and is woken by the next")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=16M")
    client = Client(g, group)
    strain(g, group)
    wait_for("the daemon has taken the connection", lambda: client.count() > 0)  # one in its queue ends with it
    for change in kill_daemon, restart_daemon, kill_daemon:
        before = client.count()
        change(g)
        assert client.count() == before  # hung up on, it would have ended
        strain(g, group)
        wait_for("it is woken", lambda n=before: client.count() > n)
    client.end()
    g.settled(group)


@test("what keeps the connections ends when there is nothing to keep")
def _(g):
    group = g.new_group()
    g.do("create", group)
    client = Client(g, group)
    g.do("daemon", "stop")
    assert client.count() == 0
    client.end()
    wait_for("the keeper has ended", lambda: not keeper_is_there(g))
    g.do("daemon", "start")
    client = Client(g, group)
    client.end()
    wait_for("nobody is left", lambda: not g.do("ps", "--no-header", group))
    g.do("daemon", "stop")
    wait_for("the keeper has ended again", lambda: not keeper_is_there(g))
    g.do("daemon", "start")
    g.do("rm", group)


@test("the next daemon serves it too")
def _(g):
    path = g.env["MEMCTL_DIR"] + "/pressure.sock"
    kill_daemon(g)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    client.close()
    os.remove(path)  # and makes it anew

    def is_there():
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as again:
                again.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True
    wait_for("the socket is there again", is_there)


sys.exit(main())
