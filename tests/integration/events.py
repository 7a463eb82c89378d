#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Events: thresholds, pressure, out of memory, memory.events, stalls and removal, told by eventfds to real clients about
real members."""
import os
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from events_client import MIB, PAGE, Client, Member, drain
from real_programs import Skip, main, test, wait_for

CGROUP = "/sys/fs/cgroup/memory"


def make(g, *keys, charge="commit"):
    group = g.new_group()
    g.do("create", group, "memory.charge=" + charge, *keys)
    return group


def current(g, group):
    return int(g.get(group, "memory.current"))


class Barrier:
    """A group of its own whose thresholds are crossed: what was crossed before has been looked at then."""

    def __init__(self, g, client):
        group = make(g)
        self.member = Member(g, group)
        self.told = client.subscribe(group, "usage:%d" % (current(g, group) + PAGE))
        self.turns = 0

    def wait(self):
        self.member.do("u 1" if self.turns % 2 else "m 1")
        self.turns += 1
        self.told.await_count(self.turns)


# ---- thresholds ------------------------------------------------------------------------------------------------------


@test("a threshold is told at its very page, up and down, and never when it is set")
def _(g):
    client = Client(g)
    barrier = Barrier(g, client)
    group = make(g)
    others = [Member(g, group) for _ in range(4)]  # with stocks of their own
    member = Member(g, group)
    for other in others:
        other.do("m 3")
        other.do("a 100000")
    member.do("m 200")
    member.do("u 190")
    base = current(g, group)
    reached = client.subscribe(group, "usage:%d" % base)
    above = client.subscribe(group, "usage:%d" % (base + 5 * PAGE))
    for _ in range(4):
        member.do("m 1")
        barrier.wait()
        assert above.count() == reached.count() == 0
    member.do("m 1")  # nothing else happens: it is told now or never
    above.await_count(1)
    member.do("u 1")
    above.await_count(2)
    assert current(g, group) == base + 4 * PAGE
    member.do("u 4")
    barrier.wait()
    assert reached.count() == 0 and above.count() == 2
    member.do("u 1")
    reached.await_count(1)
    member.do("m 6")
    reached.await_count(2)
    above.await_count(3)
    for each in [*others, member, barrier.member]:
        each.end()


@test("several thresholds crossed at once fire each, and add up on one eventfd")
def _(g):
    client = Client(g)
    group = make(g)
    member = Member(g, group)
    base = current(g, group)
    one = client.subscribe(group, "usage:%d" % (base + 10 * PAGE))
    for pages in 10, 20, 30, 400:
        reply, came = client.ask("subscribe", group=group, event="usage:%d" % (base + pages * PAGE), share=one.id)
        assert reply["ok"] and not came, reply
    assert member.do("m 100") == 100
    one.await_count(4)
    assert member.do("u 100") == 100
    one.await_count(8)
    above = client.subscribe("/", "usage:%d" % (current(g, "/") + 300 * PAGE))
    assert member.do("m 500") == 500
    one.await_count(13)
    above.await_count(1)
    member.end()  # what it held goes with it
    one.await_count(18)
    above.await_count(2)


@test("a fall below a threshold is told though others have charged in advance")
def _(g):
    client = Client(g)
    group = make(g)
    holders = [Member(g, group) for _ in range(8)]
    for holder in holders:  # far from any threshold: stocks are filled
        holder.do("m 300")
        holder.do("u 20")
    size = current(g, group)
    told = client.subscribe(group, "usage:%d" % (size - 99 * PAGE))
    assert holders[0].do("u 99") == 99
    assert client.fired(told.id) == 0
    assert holders[0].do("u 1") == 1
    told.await_count(1)
    assert current(g, group) == size - 100 * PAGE
    for holder in holders:
        holder.end()


@test("what others charged in advance, far from the threshold, blurs it in neither direction")
def _(g):
    client = Client(g)
    barrier = Barrier(g, client)
    group = make(g)
    member = Member(g, group)
    holders = [Member(g, group) for _ in range(8)]
    far = 20000
    base = current(g, group)
    told = client.subscribe(group, "usage:%d" % (base + far * PAGE))

    def fill():
        for holder in holders:
            holder.do("m 300")
            holder.do("u 40")

    fill()
    lacking = far - (current(g, group) - base) // PAGE
    assert member.do("m %d" % (lacking - 1)) == lacking - 1
    barrier.wait()
    assert told.count() == 0
    member.do("m 1")
    told.await_count(1)
    member.do("m %d" % far)
    fill()
    surplus = (current(g, group) - base) // PAGE - far
    assert member.do("u %d" % surplus) == surplus
    barrier.wait()
    assert told.count() == 1
    member.do("u 1")
    told.await_count(2)
    for each in [*holders, member, barrier.member]:
        each.end()


@test("memory that is granted and touched later is told when it is seen")
def _(g):
    client = Client(g)
    group = make(g, charge="resident")
    member = Member(g, group)
    told = client.subscribe(group, "usage:32M")
    assert member.do("a %d" % (64 * MIB)) == 1
    told.await_count(1)
    member.do("f")
    told.await_count(2)
    member.end()


@test("memsw is memory and swap together")
def _(g):
    client = Client(g)
    group = make(g)
    member = Member(g, group)
    base = current(g, group)
    both = client.subscribe(group, "memsw:%d" % (base + 10 * PAGE))
    alone = client.subscribe(group, "usage:%d" % (base + 20 * PAGE))
    member.do("m 15")
    both.await_count(1)
    member.do("m 10")
    alone.await_count(1)
    member.do("u 25")
    both.await_count(2)
    alone.await_count(2)
    member.end()


def v1_group(name, pid):
    folder = "%s/%s" % (CGROUP, name)
    os.mkdir(folder)
    with open(folder + "/cgroup.procs", "w") as file:
        file.write(str(pid))
    return folder


def v1_threshold(folder, size):
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    with open(folder + "/memory.usage_in_bytes") as usage, open(folder + "/cgroup.event_control", "w") as control:
        control.write("%d %d %d" % (fd, usage.fileno(), size))
    return fd


@test("the kernel beside us: the same program crosses the same thresholds under both")
def _(g):
    if not os.access(CGROUP + "/cgroup.event_control", os.W_OK):
        raise Skip("no cgroup v1 to be written here")
    client = Client(g)
    group = make(g)
    member = Member(g, group)
    folder = v1_group("memctl-events-%d" % os.getpid(), member.process.pid)
    try:
        base = current(g, group)
        sizes = [n * MIB for n in (2, 4, 8)]
        ours = [client.subscribe(group, "usage:%d" % (base + size)) for size in sizes]
        kernels = [v1_threshold(folder, size) for size in sizes]
        for turn in 1, 2:
            assert member.do("m %d" % (12 * MIB // PAGE)) == 12 * MIB // PAGE
            for mine, its in zip(ours, kernels):
                mine.await_count(2 * turn - 1)
                wait_for("the kernel says so", lambda fd=its: drain(fd))
            member.do("u %d" % (12 * MIB // PAGE))
            for mine, its in zip(ours, kernels):
                mine.await_count(2 * turn)
                wait_for("the kernel says so", lambda fd=its: drain(fd))
        member.end()
    finally:
        member.process.kill()
        wait_for("it is gone", lambda: not open(folder + "/cgroup.procs").read())
        os.rmdir(folder)


# ---- pressure ----------------------------------------------------------------------------------------------------------

# Who refuses, who listens how in g, g/c, g/c/d; who is told. A member of g/c/d asks.
ATTRIBUTION = [
    ("d", {"g": "default", "c": "default", "d": "default"}, "d"),
    ("c", {"g": "default", "c": "default", "d": "hierarchy"}, "c"),
    ("d", {"g": "default", "c": "local"}, "g"),
    ("d", {"g": "hierarchy", "c": "default", "d": "default"}, "gd"),
    ("d", {"g": "local", "c": "local", "d": "local"}, "d"),
    ("d", {"g": "hierarchy", "c": "hierarchy", "d": "hierarchy"}, "gcd"),
    ("c", {"g": "hierarchy", "c": "local", "d": "local"}, "gc"),
    ("d", {"g": "default", "c": "default"}, "c"),
    ("g", {"g": "local", "c": "hierarchy", "d": "default"}, "g"),
]


def attribution(g, refuses, listeners, told):
    client = Client(g)
    top = make(g)
    path = {"g": top, "c": top + "/c", "d": top + "/c/d"}
    g.do("create", path["c"])
    g.do("create", path["d"])
    g.do("set", path[refuses], "memory.max=64M")
    member = Member(g, path["d"])
    subscriptions = {who: client.subscribe(path[who], "pressure:critical," + mode) for who, mode in listeners.items()}
    assert member.do("r 1") == 0
    for who in told:
        subscriptions[who].await_count(1)
    for who, subscription in subscriptions.items():
        assert (subscription.count() == 1) == (who in told), (refuses, listeners, told, who)
    member.end()
    g.do("rm", "-r", top)


for _row in ATTRIBUTION:
    test("pressure: %s refuses, %s: told %s" % (
        _row[0], ", ".join("%s %s" % pair for pair in _row[1].items()), " and ".join(_row[2])))(
            lambda g, row=_row: attribution(g, *row))


@test("pressure of reclaim that gives what is wanted is low; refusals are critical; levels are cumulative")
def _(g):
    client = Client(g)
    group = make(g, "memory.max=64M")
    member = Member(g, group)
    level = {name: client.subscribe(group, "pressure:" + name) for name in ("low", "medium", "critical")}
    for _ in range(800):
        assert member.do("a 65000") == 1
    assert member.do("h") == 400  # 26 MB in pieces
    for _ in range(25):
        assert member.do("a 1000000") == 1  # 10 of them without giving a piece back
    wait_for("low is told", level["low"].count)
    assert level["critical"].count() == 0
    before = {name: each.count() for name, each in level.items()}
    # The first one's window may have begun with what was given.
    wait_for("critical is told", lambda: member.do("r 1") == 0 and level["critical"].count())
    for name in "low", "medium":
        wait_for("%s is told" % name, lambda n=name: level[n].count() >= before[n] + level["critical"].seen)
    member.end()


# ---- the others ----------------------------------------------------------------------------------------------------------


@test("memory.events: a storm is told a few times, and its end")
def _(g):
    client = Client(g)
    top = make(g)
    group = top + "/below"
    g.do("create", group, "memory.max=16M")
    member = Member(g, group)
    told = client.subscribe(group, "events")
    above = client.subscribe(top, "events")
    beside = client.subscribe(make(g), "events")
    begin = time.monotonic()
    assert member.do("r 20000") == 0
    most = int((time.monotonic() - begin) * 100) + 2
    wait_for("both are told", lambda: told.count() and above.count())
    assert told.count() <= most, (told.count(), most)
    before = told.count()
    time_out = time.monotonic() + 60
    while client.fired(told.id) != before:  # the end of the storm
        before = client.fired(told.id)
        assert time.monotonic() < time_out
        time.sleep(0.02)
    before = told.count()
    assert member.do("r 1") == 0
    wait_for("one more is told", lambda: told.count() > before)
    assert beside.count() == 0
    member.end()


def oom_tree(g, policy):
    client = Client(g)
    top = make(g)
    path = {"g": top, "c": top + "/c", "d": top + "/c/d"}
    g.do("create", path["c"], "memory.max=16M", "memory.oom.policy=" + policy)
    g.do("create", path["d"])
    return client, path, {who: client.subscribe(path[who], "oom") for who in path}


@test("oom: an episode of refusals is told once, to who refused and all below")
def _(g):
    client, path, told = oom_tree(g, "fail")
    member = Member(g, path["d"])
    assert member.do("r 1000") == 0
    told["c"].await_count(1)
    told["d"].await_count(1)
    assert told["g"].count() == 0
    late = client.subscribe(path["d"], "oom")  # nothing of it lasts
    assert late.count() == 0
    member.end()


@test("oom: who waits is told of once, and at once to who comes later; room ends the episode")
def _(g):
    client, path, told = oom_tree(g, "wait")
    member = Member(g, path["d"])
    member.say("m 5000")
    told["c"].await_count(1)
    told["d"].await_count(1)
    late = client.subscribe(path["d"], "oom")
    assert late.count() == 1
    g.do("set", path["c"], "memory.max=64M")
    assert member.hear() == 5000
    assert client.subscribe(path["d"], "oom").count() == 0
    g.do("set", path["c"], "memory.max=24M")
    member.say("m 5000")
    told["c"].await_count(2)
    late.await_count(2)
    assert told["g"].count() == 0
    g.do("set", path["c"], "memory.max=max")
    assert member.hear() == 5000
    member.end()


@test("oom: a kill is told once, before it shows")
def _(g):
    _, path, told = oom_tree(g, "kill")
    member = Member(g, path["d"])
    member.say("m 5000")
    told["c"].await_count(1)
    told["d"].await_count(1)
    assert member.process.wait(60) == -signal.SIGKILL
    assert told["c"].count() == 1 and told["g"].count() == 0


@test("stalls above memory.high are told, at most once a window")
def _(g):
    client = Client(g)
    group = make(g, "memory.high=8M")
    quiet = client.subscribe(make(g), "stall:some:1000:1000000")
    told = client.subscribe(group, "stall:some:100000:1000000")
    begin = time.monotonic()
    member = Member(g, group)
    member.say("m 6000")
    wait_for("it is told", told.count)
    assert told.count() <= time.monotonic() - begin + 1
    assert quiet.count() == 0
    g.do("set", group, "memory.high=max")
    assert member.hear() == 6000
    member.end()


@test("a removed group tells all its subscribers once more; a new one of its name is another one")
def _(g):
    client = Client(g)
    group = make(g)
    events = ["removed", "usage:1M", "events", "oom", "pressure:low", "stall:some:1000:1000000", "memsw:1M"]
    all_of_it = [client.subscribe(group, event) for event in events]
    g.do("rm", group)
    for each in all_of_it:
        each.await_count(1)
    g.do("create", group, "memory.charge=commit", "memory.max=16M")
    again = client.subscribe(group, "usage:%d" % MIB)
    member = Member(g, group)
    assert member.do("m 1000") == 1000
    assert member.do("r 1") == 0
    again.await_count(1)
    rows = {row["id"]: row for row in client.do("subscriptions")["subscriptions"]}
    for each, event in zip(all_of_it, events):
        assert each.count() == 1, event
        assert rows[each.id] == {"id": each.id, "group": group, "event": event, "fired": 1, "removed": True}
        client.do("unsubscribe", id=each.id)
        client.refused("ENOENT", "unsubscribe", id=each.id)
    assert [row["id"] for row in client.do("subscriptions")["subscriptions"]] == [again.id]
    member.end()


@test("what is unsubscribed is told nothing any more")
def _(g):
    client, other = Client(g), Client(g)
    group = make(g)
    member = Member(g, group)
    size = "usage:%d" % (current(g, group) + 10 * PAGE)
    gone, stays = client.subscribe(group, size), client.subscribe(group, size)
    other.refused("ENOENT", "unsubscribe", id=gone.id)  # another's
    client.do("unsubscribe", id=gone.id)
    member.do("m 20")
    stays.await_count(1)
    assert gone.count() == 0
    member.end()


# ---- clients of all kinds ------------------------------------------------------------------------------------------------


@test("requests that make no sense are refused, one by one, and leave nothing behind")
def _(g):
    client = Client(g)
    group = make(g)
    pid = int(open(g.env["MEMCTL_DIR"] + "/memctld.pid").read())
    kept = client.subscribe(group, "removed")
    before = len(os.listdir("/proc/%d/fd" % pid))
    pipe = os.pipe()
    fds = [os.eventfd(0) for _ in range(250)]
    for event in ("", "usage", "usage:", "usage:1x", "usage:-1", "pressure:", "pressure:high", "pressure:low,", "oom:1",
                  "pressure:low, local", "stall:some:1:0", "stall:some:2000:1000", "stall:all:1:2", "stall:some:1:99999999",
                  "dmem:1M", "usage:1M "[:-1] + "q", "x" * 1000):
        if event == "usage:":
            continue  # as the kernel has it: 0
        client.refused("EINVAL", "subscribe", group=group, event=event)
    client.refused("ENODEV", "subscribe", group=group, event="dmem:no/such:1M")
    client.refused("ENOENT", "subscribe", group="/no/such", event="oom")
    for passed in (client.socket.fileno(), *pipe, os.open("/dev/null", os.O_RDWR)):
        client.refused("EINVAL", "subscribe", [passed], group=group, event="oom")
    for many in fds, fds[:2]:
        client.refused("EINVAL", "subscribe", many, group=group, event="oom")
    client.refused("EINVAL", "subscribe", fds[:1], group=group, event="oom", share=kept.id)
    client.refused("ENOENT", "subscribe", group=group, event="oom", share=kept.id + 1000)
    reply, came = client.ask("status", fds)
    assert reply["ok"] and not came
    assert len(os.listdir("/proc/%d/fd" % pid)) <= before  # connections of before may have gone
    for fd in [*fds, *pipe]:
        os.close(fd)


@test("a full eventfd that nobody reads, blocking or not, holds up nobody")
def _(g):
    client = Client(g)
    group = make(g)
    member = Member(g, group)
    size = "usage:%d" % (current(g, group) + 10 * PAGE)
    full = [os.eventfd(0, flags) for flags in (0, os.EFD_NONBLOCK, os.EFD_SEMAPHORE)]
    for fd in full:
        os.write(fd, struct.pack("Q", (1 << 64) - 2))
        reply, came = client.ask("subscribe", [fd], group=group, event=size)
        assert reply["ok"] and not came, reply
    told = client.subscribe(group, size)
    for turn in range(10):
        member.do("m 20")
        told.await_count(2 * turn + 1)
        member.do("u 20")
        told.await_count(2 * turn + 2)
    Client(g).do("hello")
    member.end()


SUBSCRIBER = """
import os, sys
sys.path.insert(0, %r)
from events_client import Client
class G: env = os.environ
client = Client(G)
subscription = client.subscribe(sys.argv[1], sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    if line == "close\\n":
        subscription.close()
    print(0 if line == "close\\n" else subscription.count(), flush=True)
"""


@test("subscribers that are stopped, killed, or close their eventfd alone disturb nobody")
def _(g):
    client = Client(g)
    group = make(g)
    member = Member(g, group)
    size = "usage:%d" % (current(g, group) + 10 * PAGE)
    script = SUBSCRIBER % (os.path.dirname(os.path.abspath(__file__)) + "/../lib")
    stopped, killed, closes = (g.start([sys.executable, "-c", script, group, size]) for _ in range(3))
    for each in stopped, killed, closes:
        assert each.stdout.readline() == "ready\n"
    told = client.subscribe(group, size)
    stopped.send_signal(signal.SIGSTOP)
    closes.stdin.write("close\n")
    closes.stdin.flush()
    assert closes.stdout.readline() == "0\n"
    count = client.do("status")["subscriptions"]
    member.do("m 20")
    told.await_count(1)
    killed.kill()
    killed.wait()
    wait_for("the killed one's is gone", lambda: client.do("status")["subscriptions"] == count - 1)
    member.do("u 20")
    told.await_count(2)
    stopped.send_signal(signal.SIGCONT)
    stopped.stdin.write("count\n")
    stopped.stdin.flush()
    assert stopped.stdout.readline() == "2\n"
    for each in stopped, closes:
        each.communicate(timeout=60)
    wait_for("theirs are gone", lambda: client.do("status")["subscriptions"] == count - 3)
    member.end()


@test("the daemon's end closes connections; the next one knows nothing of subscriptions and arms anew")
def _(g):
    client = Client(g)
    group = make(g)
    member = Member(g, group)
    size = "usage:%d" % (current(g, group) + 10 * PAGE)
    old = client.subscribe(group, size)
    g.do("daemon", "stop")
    assert client.socket.recv(100) == b""
    g.do("daemon", "start")
    client = Client(g)
    assert client.do("status")["subscriptions"] == 0
    reply, _ = client.ask("subscribe", [old.fd], group=group, event=size)
    assert reply["ok"]
    member.do("m 20")
    old.await_count(1)
    member.end()


@test("ten thousand subscriptions to one group, all told; sixty thousand with one eventfd")
def _(g):
    client = Client(g)
    group = make(g)
    member = Member(g, group)
    size = "usage:%d" % (current(g, group) + 10 * PAGE)
    one = os.eventfd(0, os.EFD_NONBLOCK)
    for _ in range(10000):
        reply, _ = client.ask("subscribe", [one], group=group, event=size)
        assert reply["ok"], reply
    assert member.do("m 20") == 20
    seen = []
    wait_for("all are told", lambda: seen.append(drain(one)) or sum(seen) >= 10000)
    assert sum(seen) == 10000
    for _ in range(50000):
        reply, _ = client.ask("subscribe", [one], group="/", event="removed")
        assert reply["ok"], reply
    pages, cursor = [], {}
    while cursor is not None:
        reply = client.do("subscriptions", **cursor)
        pages += [row["id"] for row in reply["subscriptions"]]
        cursor = {"cursor": reply["cursor"]} if reply["more"] else None
    assert len(pages) == len(set(pages)) == 60000 and pages == sorted(pages)
    client.socket.close()
    client = Client(g)
    wait_for("all are gone", lambda: client.do("status")["subscriptions"] == 0)
    member.end()


@test("where no descriptor is left, that is said, and goes by again")
def _(g):
    client = Client(g)
    pid = int(open(g.env["MEMCTL_DIR"] + "/memctld.pid").read())
    before = subprocess.check_output(["prlimit", "--pid", str(pid), "--nofile", "--raw", "--noheadings", "-o", "SOFT,HARD"],
                                     text=True).split()
    subprocess.check_call(["prlimit", "--pid", str(pid), "--nofile=%d:%s" % (100, before[1])])
    try:
        mine = []
        while True:
            reply, came = client.ask("subscribe", group="/", event="removed")
            if not reply["ok"]:
                break
            mine += came
            assert len(mine) < 200
        assert reply["errno"] == "EMFILE" and "share" in reply["error"], reply
        fd = os.eventfd(0)
        client.refused("EMFILE", "subscribe", [fd], group="/", event="removed")
        client.do("hello")
        client.do("subscribe", group="/", event="removed", share=client.do("subscriptions")["subscriptions"][0]["id"])
    finally:
        subprocess.check_call(["prlimit", "--pid", str(pid), "--nofile=%s:%s" % tuple(before)])
    reply, came = client.ask("subscribe", [fd], group="/", event="removed")
    assert reply["ok"], reply
    for each in [*mine, fd]:
        os.close(each)


if __name__ == "__main__":
    sys.exit(main())
