#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctld as a service: what it tells a service manager, here a socket that stands for one."""
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import DAEMON, DEADLINE, main, test


class Manager:
    """Listens as a service manager does; says what it heard line by line."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(DEADLINE)
        self.address = address.replace("\0", "@")
        self.lines = []  # not waited for yet
        self.heard = []  # all

    def hear(self, wanted):
        while wanted not in self.lines:
            lines = self.socket.recv(4096).decode().splitlines()
            self.lines += lines
            self.heard += lines
        self.lines = self.lines[self.lines.index(wanted) + 1:]

    def hear_nothing(self):
        self.socket.setblocking(False)
        try:
            heard = self.socket.recv(4096)
        except BlockingIOError:
            return
        raise AssertionError(heard)


def serve(g, manager, **env):
    """A daemon in the foreground, as a unit of Type=notify has it."""
    directory = g.top + "/service"
    return directory, subprocess.Popen([DAEMON, "--foreground", "--dir=" + directory],
                                       env={**g.env, "NOTIFY_SOCKET": manager.address, **env},
                                       stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def end(process):
    process.terminate()
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err


@test("ready when it serves, stopping when it ends")
def _(g):
    manager = Manager(g.path("notify"))
    directory, process = serve(g, manager)
    manager.hear("READY=1")
    manager.hear("STATUS=Serving " + directory)
    ran = g.spawn([g.memctl, "daemon", "status"], {"MEMCTL_DIR": directory})
    assert ran.status == 0 and str(process.pid) in ran.out, ran
    end(process)
    manager.hear("STOPPING=1")


@test("a socket without a name in the file system")
def _(g):
    manager = Manager("\0memctl-test-%d" % os.getpid())
    _, process = serve(g, manager)
    manager.hear("READY=1")
    end(process)


@test("the watchdog is fed again and again, with nothing to do")
def _(g):
    manager = Manager(g.path("watchdog"))
    _, process = serve(g, manager, WATCHDOG_USEC="100000")
    for _ in range(5):
        manager.hear("WATCHDOG=1")
    end(process)


@test("another process's watchdog is not fed")
def _(g):
    manager = Manager(g.path("others"))
    _, process = serve(g, manager, WATCHDOG_USEC="1000", WATCHDOG_PID="1")
    manager.hear("READY=1")
    end(process)
    manager.hear("STOPPING=1")
    assert "WATCHDOG=1" not in manager.heard


@test("a daemon that a service started by the way does not speak for the service")
def _(g):
    manager = Manager(g.path("host"))
    env = {"MEMCTL_DIR": g.top + "/by-the-way", "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"}
    for words in ("ls",), ("daemon", "stop"):
        ran = g.spawn([g.memctl, *words], env)
        assert ran.status == 0, ran
    manager.hear_nothing()


sys.exit(main())
