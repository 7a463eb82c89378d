#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What groups held in time, and what happened to them: recorded on change, kept over the daemon's end. Prints TAP."""
import json
import os
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import Ground, main, test, wait_for

STEPS = r"""
import sys
kept = []
for line in sys.stdin:
    n = int(line)
    try:
        kept.append([b"x" * (1 << 20) for i in range(n)])
        print("ok", flush=True)
    except MemoryError:
        print("refused", flush=True)
"""


class Client:
    def __init__(self, g):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(g.env["MEMCTL_DIR"] + "/control.sock")

    def ask(self, **words):
        self.socket.send(json.dumps(dict(words, v=1)).encode())
        answer = json.loads(self.socket.recv(1 << 17))
        assert answer["ok"], answer
        return answer


def rows(g, group):
    c, cursor, all_rows = Client(g), 0, []
    while True:
        answer = c.ask(op="history", group=group, cursor=cursor)
        all_rows += answer["rows"]
        if not answer["more"]:
            return all_rows
        cursor = answer["cursor"]


def events(g, group="/"):
    return [json.loads(line) for line in g.do("events", "--json", group).splitlines()]


class Stepper:
    def __init__(self, g, group, *options):
        self.p = g.start([g.memctl, "run", "-g", group, *options, "--", sys.executable, "-c", STEPS])

    def step(self, mib):
        self.p.stdin.write("%d\n" % mib)
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def end(self):
        self.p.stdin.close()
        self.p.wait(60)
        self.p.stdout.close()
        self.p.stderr.close()


@test("usage by class, limits and events are recorded when they change, at most once a second")
def _(g):
    s = Stepper(g, "/a", "--max", "100M")
    assert s.step(20) == "ok"
    wait_for("20 MiB are seen", lambda: any(sum(r["classes"]) > 20 << 20 for r in rows(g, "/a")[:-1]))
    assert s.step(30) == "ok"
    wait_for("50 MiB are seen", lambda: any(sum(r["classes"]) > 50 << 20 for r in rows(g, "/a")[:-1]))
    assert s.step(90) == "refused"
    g.do("set", "/a", "memory.high=80M")
    oom = Client(g).ask(op="history", group="/a")["events"].index("oom")
    wait_for("the refusal and the limit are seen", lambda: any(
        r["events"][oom] and r["high"] == 80 << 20 for r in rows(g, "/a")[:-1]))
    all_rows = rows(g, "/a")
    times = [r["at"] for r in all_rows]
    assert times == sorted(times)
    # the last row is the present, whenever that is
    assert all(b - a >= 995 for a, b in zip(times, times[1:-1])), times
    assert all(r["max"] == 100 << 20 for r in all_rows if sum(r["classes"]) > 20 << 20), all_rows
    s.end()
    wait_for("its end is seen", lambda: sum(rows(g, "/a")[-2]["classes"]) == 0)


@test("events: made, limits, refusals, removed; of groups below, and only of those")
def _(g):
    g.do("create", "-p", "/shop/front", "memory.max=32M")
    wait_for("it is made", lambda: any(e["event"] == "made" and e["group"] == "/shop/front" for e in events(g, "/shop")))
    s = Stepper(g, "/shop/front")
    assert s.step(64) == "refused"
    g.do("set", "/shop/front", "memory.max=48M")
    wait_for("both are told", lambda: {"oom", "limit"} <= {e["event"] for e in events(g, "/shop/front")})
    limit = next(e for e in events(g, "/shop/front") if e["event"] == "limit")
    assert limit["text"] == "memory.max 48.0 MiB, was 32.0 MiB", limit
    s.end()
    g.do("rm", "-r", "/shop")
    wait_for("it is gone", lambda: {("removed", "/shop"), ("removed", "/shop/front")} <=
             {(e["event"], e["group"]) for e in events(g, "/shop")})
    assert all(e["group"].startswith("/shop") for e in events(g, "/shop"))
    assert not events(g, "/shopping")
    ran = g.spawn([g.memctl, "events", "shop"])
    assert ran.status == 1 and "is not a group's path" in ran.err, ran


@test("events: a kill is told with its report")
def _(g):
    g.do("create", "/k", "memory.max=60M", "memory.oom.policy=kill")
    s = Stepper(g, "/k")
    assert s.step(20) == "ok"
    s.p.stdin.write("35\n")
    s.p.stdin.flush()
    assert s.p.wait(60) == 128 + signal.SIGKILL
    s.p.stdin.close()
    s.p.stdout.close()
    s.p.stderr.close()
    wait_for("it is told", lambda: {"report", "oom_kill"} <= {e["event"] for e in events(g, "/k")})
    report = next(e for e in events(g, "/k") if e["event"] == "report")
    assert "python" in report["text"] and "/k" in report["text"], report
    plain = g.do("events", "/k")
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  report +/k\n    \S", plain, re.M), plain
    assert len(g.do("events", "-n", "1", "--json").splitlines()) == 1


@test("events of a group that lived for a moment are told too")
def _(g):
    ran = g.spawn([g.memctl, "run", "-g", "/brief", "--max", "32M", "--", sys.executable, "-c", "x = [b'x' * (1 << 20) for i in range(64)]"])
    assert ran.status == 1 and "MemoryError" in ran.err, ran
    wait_for("it is told", lambda: any(e["event"] == "oom" for e in events(g, "/brief")))


@test("events -f goes on, also with the next daemon; the past is still there")
def _(g):
    g.do("create", "/f")
    wait_for("it is made", lambda: events(g, "/f"))
    p = g.start([g.memctl, "events", "-f", "/f"])
    assert "made" in p.stdout.readline()
    g.do("daemon", "stop")
    g.do("daemon", "start")
    assert any(e["event"] == "made" for e in events(g, "/f"))
    before = len(rows(g, "/a"))
    assert before > 3, "the history of the last daemon is lost"
    wait_for("the daemon has looked", lambda: len(rows(g, "/f")) > 1)
    g.do("set", "/f", "memory.max=10M")
    line = p.stdout.readline()
    assert "limit" in line and "memory.max 10.0 MiB, was max" in line, line
    p.kill()
    p.wait()
    for pipe in (p.stdin, p.stdout, p.stderr):
        pipe.close()


@test("a group that was made anew under a name has no past")
def _(g):
    g.do("create", "/again", "memory.max=10M")
    wait_for("it is recorded", lambda: any(r["max"] == 10 << 20 for r in rows(g, "/again")[:-1]))
    g.do("rm", "/again")
    g.do("create", "/again", "memory.max=20M")
    wait_for("it is recorded", lambda: any(r["max"] == 20 << 20 for r in rows(g, "/again")))
    assert all(r["max"] == 20 << 20 for r in rows(g, "/again"))


@test("under systemd, events have fields of their own in the journal")
def _(g):
    """The daemon's log goes to the journal when it was started in the background: bwrap shows it one of ours."""
    from real_programs import need
    need("bwrap")
    os.makedirs(g.path("journal"), exist_ok=True)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(g.path("journal") + "/socket")
    journal.settimeout(60)
    run = g.path("run2")
    bwrap = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/run/systemd", "--bind", g.path("journal"),
             "/run/systemd/journal"]
    env = {"MEMCTL_DIR": run}
    ran = g.spawn([*bwrap, g.memctl, "daemon", "start"], env)
    assert ran.status == 0, ran
    ran = g.spawn([g.memctl, "run", "-g", "/j", "--max", "32M", "--", sys.executable, "-c",
                   "x = [b'x' * (1 << 20) for i in range(64)]"], env)
    assert ran.status == 1, ran
    seen = {}
    while seen.get("MEMCTL_EVENT") != "oom":
        seen = dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines() if "=" in line)
    assert seen["MEMCTL_GROUP"] == "/j" and seen["SYSLOG_IDENTIFIER"] == "memctld", seen
    assert seen["MEMCTL_COUNT"].isdigit() and len(seen["MESSAGE_ID"]) == 32 and seen["PRIORITY"] == "4", seen
    assert g.spawn([g.memctl, "daemon", "stop"], env).status == 0
    journal.close()


sys.exit(main(Ground))
