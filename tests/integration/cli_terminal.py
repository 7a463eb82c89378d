#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl at a terminal: job control by a real shell, each signal once, colours and sizes for people. Prints TAP."""
import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

DEADLINE = 60.0
PROMPT = "ready> "


class Skip(Exception):
    pass


class Terminal:
    """bash at a terminal of its own, as a person would have it."""

    def __init__(self, directory):
        environment = {k: v for k, v in os.environ.items()
                       if k not in ("MEMCTL_GROUP", "LD_PRELOAD", "NO_COLOR", "TERM")}
        environment.update(MEMCTL_DIR=directory, PS1=PROMPT, TERM="xterm", LC_ALL="C.UTF-8", HISTFILE="/dev/null")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
        self.text = ""
        self.expect(PROMPT)

    def read(self):
        if select.select([self.fd], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                self.text += os.read(self.fd, 65536).decode(errors="replace")

    def expect(self, pattern):
        """What came up to and with the pattern; later calls see what follows it."""
        end = time.monotonic() + DEADLINE
        while True:
            found = re.search(pattern, self.text)
            if found:
                before, self.text = self.text[:found.end()], self.text[found.end():]
                return before
            assert time.monotonic() < end, "waited for %r, there is %r" % (pattern, self.text)
            self.read()

    def key(self, keys):
        os.write(self.fd, keys.encode())

    def say(self, line):
        self.key(line + "\n")
        self.expect("\n")  # the echo

    def do(self, line):
        """The line's output."""
        self.say(line)
        output = self.expect(re.escape(PROMPT))[:-len(PROMPT)]
        return re.sub("\x1b\\[\\?2004[hl]\r?", "", output)

    def close(self):
        os.close(self.fd)  # the shell and its jobs are hung up
        end = time.monotonic() + DEADLINE
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)


COUNTER = """
import signal, sys, time
got = []
signal.signal(signal.SIGINT, lambda number, frame: got.append("INT"))
print("up", flush=True)
while not got:
    signal.pause()
time.sleep(0.5)
print("got", *got, flush=True)
"""


def test_interrupt_comes_once(t, directory):
    with open(directory + "/counter.py", "w") as f:
        f.write(COUNTER)
    t.say("memctl run python3 " + directory + "/counter.py")
    t.expect("up\r\n")
    t.key("\x03")
    t.expect("got INT\r\n")
    t.expect(PROMPT)
    assert t.do("echo status=$?").startswith("status=0")


def test_interrupt_ends_with_130(t, directory):
    t.say("memctl run sleep 100")
    wait_for(lambda: "sleep" in t_members(directory), "sleep runs")
    t.key("\x03")
    t.expect(PROMPT)
    assert t.do("echo status=$?").startswith("status=130")


def test_stop_and_go_on(t, directory):
    t.say("memctl run sh -c 'echo up; read x; echo had $x; exit 3'")
    t.expect("up\r\n")
    t.key("\x1a")
    t.expect("Stopped")
    t.expect(PROMPT)
    assert "Stopped" in t.do("jobs")
    t.say("fg")
    t.say("word")
    t.expect("had word\r\n")
    t.expect(PROMPT)
    assert t.do("echo status=$?").startswith("status=3")


def test_background_job_can_be_ended(t, directory):
    t.do("memctl run sleep 100 &")
    wait_for(lambda: "sleep" in t_members(directory), "sleep runs")
    t.say("kill %1; wait %1; echo status=$?")
    t.expect("status=143")
    t.expect(PROMPT)
    assert t_members(directory) == ""


def test_reading_in_the_background_stops(t, directory):
    t.do("memctl run cat &")
    wait_for(lambda: "Stopped" in t.do("jobs"), "it is stopped")
    t.say("fg")
    t.say("word")
    t.expect("word\r\n")
    t.key("\x04")
    t.expect(PROMPT)


def test_hang_up_reaches_command(t, directory):
    t.say("memctl run sleep 100")
    wait_for(lambda: "sleep" in t_members(directory), "sleep runs")
    t.close()
    wait_for(lambda: t_members(directory) == "", "sleep has ended")


def test_sizes_for_people(t, directory):
    t.do("memctl create /a memory.max=64M")
    assert "64.0 MiB" in t.do("memctl ls")
    assert "64.0 MiB" in t.do("memctl get /a memory.max")
    assert "67108864" in t.do("memctl get -b /a memory.max")
    assert "67108864" in t.do("memctl ls --json")


def test_colours(t, directory):
    t.do("memctl create /a memory.max=64M")
    t.say("memctl run -g /a python3 -c \"x = bytearray(2 << 20); print('up', flush=True); input()\" &")
    t.expect("up")
    wait_for(lambda: int(memctl(directory, "get", "/a", "memory.current")) > 2 << 20, "it holds something")
    held = int(memctl(directory, "get", "/a", "memory.current"))
    memctl(directory, "set", "/a", "memory.max=%d" % (held * 5 // 4))
    assert "\x1b[33m" in t.do("memctl tree")
    memctl(directory, "set", "/a", "memory.max=%d" % held)
    assert "\x1b[31m" in t.do("memctl tree")
    assert "\x1b[3" not in t.do("NO_COLOR=1 memctl tree")
    assert "\x1b[3" not in t.do("TERM=dumb memctl tree")
    assert "\x1b[3" not in t.do("memctl tree | cat")
    memctl(directory, "kill", "/a")


class SlowDaemon(threading.Thread):
    """Answers what the line of progress asks, and nothing else until it may."""

    def __init__(self, directory, slow):
        super().__init__(daemon=True)
        self.threads = 0  # of who asked for it
        self.slow, self.may_answer, self.asked, self.answers = slow, threading.Event(), threading.Event(), []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(directory + "/control.sock")
        self.socket.listen()
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=[self.socket.accept()[0]], daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError):
            while packet := client.recv(65536):
                request = json.loads(packet)
                answer = {"ok": True}
                if request["op"] == "hello":
                    answer.update(v=1, version="0", pid=os.getpid())
                elif request["op"] == "get":
                    answer["values"] = {"memory.current": 77 << 20}
                elif request["op"] == self.slow:
                    pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                    self.threads = len(os.listdir("/proc/%d/task" % pid))
                    self.asked.set()
                    self.may_answer.wait(DEADLINE)
                    answer.update(reclaimed=5 << 20, bytes=5 << 20)
                client.send(json.dumps(answer).encode())

    def end(self):
        self.may_answer.set()
        self.socket.close()


PROGRESS = r"\r\x1b\[Kmemctl: %s: \d+\.\d s, /slow holds 77\.0 MiB"


def look_at_progress(t, directory, op, words):
    """The line comes while the daemon is at it, is written over, and leaves nothing behind."""
    d = SlowDaemon(directory, op)
    try:
        t.say("memctl %s; echo status=$?" % words)
        assert d.asked.wait(DEADLINE)
        assert "\n" not in t.expect(PROGRESS % op)  # from the line's begin
        assert "\n" not in t.expect(PROGRESS % op)
        d.may_answer.set()
        left = re.split(r"\r\x1b\[K", t.expect("status=0"))[-1]
        assert "memctl" not in left, left
        t.expect(PROMPT)
    finally:
        d.end()
    os.unlink(directory + "/control.sock")


def test_progress_of_a_long_reclaim(t, directory):
    look_at_progress(t, directory, "reclaim", "reclaim /slow 5M")


def test_progress_of_a_long_move(t, directory):
    look_at_progress(t, directory, "move", "move $$ /slow")


def test_no_progress_where_stderr_is_no_terminal(t, directory):
    d = SlowDaemon(directory, "reclaim")
    try:
        t.say("memctl reclaim /slow 5M 2>%s/err; echo status=$?" % directory)
        assert d.asked.wait(DEADLINE)
        assert d.threads == 1, "somebody sees to a line"
        d.may_answer.set()
        t.expect("status=0")
        with open(directory + "/err") as f:
            assert f.read() == ""
    finally:
        d.end()
    os.unlink(directory + "/control.sock")


def memctl(directory, *arguments):
    return subprocess.run(["memctl", *arguments], env={**os.environ, "MEMCTL_DIR": directory}, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def t_members(directory):
    return memctl(directory, "ps", "--no-header", "-f", "comm")


def wait_for(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "waited too long until " + what
        time.sleep(0.02)


def run_test(test):
    if not shutil.which("bash"):
        raise Skip("no bash")
    directory = tempfile.mkdtemp(prefix="memctl-tty-", dir="/dev/shm")
    t = Terminal(directory)
    try:
        test(t, directory)
    finally:
        memctl(directory, "kill", "/")
        with contextlib.suppress(OSError):
            t.close()
        memctl(directory, "daemon", "stop")
        shutil.rmtree(directory)


def main():
    tests = [(n[5:].replace("_", " "), f) for n, f in globals().items() if n.startswith("test_")]
    print("1..%d" % len(tests))
    bad = 0
    for i, (name, test) in enumerate(tests, 1):
        try:
            run_test(test)
            print("ok %d - %s" % (i, name))
        except Skip as why:
            print("ok %d - %s # SKIP %s" % (i, name, why))
        except Exception:
            bad += 1
            print("not ok %d - %s" % (i, name))
            print("# " + traceback.format_exc().replace("\n", "\n# "))
        sys.stdout.flush()
    return bad > 0


sys.exit(main())
