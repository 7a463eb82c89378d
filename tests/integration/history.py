#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What groups held in time, and what happened to them: recorded on change, kept over the daemon's end. Prints TAP."""
import json
import os
import re
import signal
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from events_client import Client
from growing import Grower
from real_programs import Ground, main, need, test, wait_for

def rows(g, group):
    c, cursor, all_rows = Client(g), 0, []
    while True:
        answer = c.do("history", group=group, cursor=cursor)
        all_rows += answer["rows"]
        if not answer["more"]:
            return all_rows
        cursor = answer["cursor"]


def events(g, group="/"):
    return [json.loads(line) for line in g.do("events", "--json", group).splitlines()]


@test("usage by class, limits and events are recorded when they change, at most once a second")
def _(g):
    s = Grower(g, "/a", "--max", "100M")
    assert s.grow(20) == "ok"
    wait_for("20 MiB are seen", lambda: any(sum(r["classes"]) > 20 << 20 for r in rows(g, "/a")[:-1]))
    assert s.grow(30) == "ok"
    wait_for("50 MiB are seen", lambda: any(sum(r["classes"]) > 50 << 20 for r in rows(g, "/a")[:-1]))
    assert s.grow(90) == "no"
    g.do("set", "/a", "memory.high=80M")
    oom = Client(g).do("history", group="/a")["events"].index("oom")
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
    assert any(e["event"] == "made" and e["group"] == "/shop/front" for e in events(g, "/shop"))
    s = Grower(g, "/shop/front")
    assert s.grow(64) == "no"
    g.do("set", "/shop/front", "memory.max=48M")
    assert {"oom", "limit"} <= {e["event"] for e in events(g, "/shop/front")}
    limit = next(e for e in events(g, "/shop/front") if e["event"] == "limit")
    assert limit["text"] == "memory.max 48.0 MiB, was 32.0 MiB", limit
    s.end()
    g.do("rm", "-r", "/shop")
    assert {("removed", "/shop"), ("removed", "/shop/front")} <= {(e["event"], e["group"]) for e in events(g, "/shop")}
    assert all(e["group"].startswith("/shop") for e in events(g, "/shop"))
    assert not events(g, "/shopping")
    ran = g.spawn([g.memctl, "events", "shop"])
    assert ran.status == 1 and "is not a group's path" in ran.err, ran


@test("pressure is recorded: of who is slowed above memory.high, and of the groups above")
def _(g):
    g.do("create", "-p", "/slow/inner", "memory.high=8M")
    s = Grower(g, "/slow/inner")
    s.ask(24)
    for group in ("/slow/inner", "/slow"):
        wait_for("it is recorded", lambda path=group: any(r["some"] > 0 for r in rows(g, path)[:-1]))
    some = [r["some"] for r in rows(g, "/slow/inner")]
    assert some == sorted(some), some
    g.do("set", "/slow/inner", "memory.high=max")
    assert s.answer() == "ok"
    s.end()


@test("events: a kill is told with its report")
def _(g):
    g.do("create", "/k", "memory.max=60M", "memory.oom.policy=kill")
    s = Grower(g, "/k")
    assert s.grow(20) == "ok"
    s.ask(60)
    assert s.process.wait(60) == 128 + signal.SIGKILL
    s.end()
    wait_for("it is told", lambda: {"report", "oom_kill"} <= {e["event"] for e in events(g, "/k")})
    told = [e["event"] for e in events(g, "/k")]
    assert told.count("made") == 1 and told[0] == "made", told
    report = next(e for e in events(g, "/k") if e["event"] == "report")
    assert re.search(r"pid \d+ \(grow", report["text"]) and "/k" in report["text"], report
    plain = g.do("events", "/k")
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  report +/k\n    \S", plain, re.M), plain
    assert len(g.do("events", "-n", "1", "--json").splitlines()) == 1


@test("events of a group that lived for a moment are told too")
def _(g):
    ran = g.spawn([g.memctl, "run", "-g", "/brief", "--max", "32M", "--", sys.executable, "-c", "x = [b'x' * (1 << 20) for i in range(64)]"])
    assert ran.status == 1 and "MemoryError" in ran.err, ran
    assert any(e["event"] == "oom" for e in events(g, "/brief"))


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


def waits_for_ever(pid):
    """Each thread sleeps in the kernel, and no time wakes it."""
    poll, ppoll, futex = "7", "271", "202"
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/syscall" % (pid, task)) as f:
            call = f.read().split()
        forever = {poll: call[3:4] == ["0xffffffff"] or call[3:4] == ["0xffffffffffffffff"], ppoll: call[3:4] == ["0x0"],
                   futex: call[4:5] == ["0x0"]}
        if not forever.get(call[0]):
            return False
    return True


@test("events -f sleeps until there is something, prints it at once, and ends when nobody reads it")
def _(g):
    g.do("create", "-p", "/push/inner")
    wait_for("it is made", lambda: events(g, "/push/inner"))
    p = g.start([g.memctl, "events", "-f", "-n", "0", "/push"])
    wait_for("it sleeps", lambda: waits_for_ever(p.pid))
    g.do("create", "/elsewhere")
    g.do("set", "/push/inner", "memory.high=11M")
    line = p.stdout.readline()
    assert "limit" in line and "/push/inner" in line and "memory.high 11.0 MiB, was max" in line, line
    wait_for("it sleeps again", lambda: waits_for_ever(p.pid))
    g.do("rm", "-r", "/push")
    seen = [p.stdout.readline() for i in range(2)]
    assert all("removed" in line for line in seen), seen
    g.do("create", "/push")
    assert "made" in p.stdout.readline()
    p.stdout.close()
    p.wait(60)
    p.stdin.close()
    p.stderr.close()


@test("the event \"history\" is for the group and all above it, not beside it")
def _(g):
    for group in ("/told", "/told/here", "/told/there"):
        g.do("create", group)
    wait_for("it is recorded", lambda: len(events(g, "/told")) == 3)
    c = Client(g)
    here, above, top = (c.subscribe(group, "history") for group in ("/told/here", "/told", "/"))
    there = c.subscribe("/told/there", "history")
    g.do("set", "/told/here", "memory.max=12M")
    wait_for("it is told", lambda: here.count() and above.count() and top.count())
    assert not there.count()


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
    # a report, however many lines it has, is one entry
    ran = g.spawn([g.memctl, "run", "-g", "/k", "--max", "32M", "--oom", "kill", "--", sys.executable, "-c",
                   "x = [b'x' * (1 << 20) for i in range(64)]"], env)
    assert ran.status == 128 + signal.SIGKILL, ran
    while b"MEMCTL_EVENT=report\n" not in (entry := journal.recv(65536)):
        pass
    size, = struct.unpack_from("<Q", entry, entry.index(b"MESSAGE\n") + 8)
    message = entry[entry.index(b"MESSAGE\n") + 16:][:size].decode()
    assert message.startswith("out of memory in /k: pid ") and message.count("\n") > 4, message
    assert b"MEMCTL_GROUP=/k\n" in entry and b"PRIORITY=4\n" in entry, entry
    assert g.spawn([g.memctl, "daemon", "stop"], env).status == 0
    journal.close()


sys.exit(main(Ground))
