#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl watch: a line for each notification, commands that are run, and a daemon that goes away meanwhile."""
import datetime
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import compile_c, main, test, wait_for

MIB = 1 << 20

# Holds as many MiB as the last line of its input said, and says so.
HOLD = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
	char line[16];
	void *p = NULL;
	while (fgets(line, sizeof line, stdin)) {
		size_t n = (size_t)atoi(line) << 20;
		free(p);
		p = n ? malloc(n) : NULL;
		if (p)
			memset(p, 1, n);
		puts(p || !n ? "held" : "refused");
		fflush(stdout);
	}
	return 0;
}
"""


class Holder:
    """A member that holds as much as it is told."""

    def __init__(self, g, group):
        self.process = g.start([g.memctl, "run", "-g", group, "--", compile_c(g, "hold", HOLD)],
                               {"MALLOC_CONF": "dirty_decay_ms:0"})

    def hold(self, mib):
        self.process.stdin.write("%d\n" % mib)
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.communicate(timeout=60)


class Watch:
    def __init__(self, g, *words, env=None):
        self.g = g
        before = subscriptions(g)
        events = [word for word in words if word.split(":")[0] in ("usage", "oom", "events", "removed", "pressure")]
        self.process = g.start([g.memctl, "watch", *words], env)
        wait_for("it is subscribed", lambda: subscriptions(g) == before + len(events) or
                 self.process.poll() is not None)

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def end(self):
        """Waits for its end: status, output and messages. (communicate() would lose what readline() has read ahead.)"""
        self.process.wait(timeout=60)
        return self.process.returncode, self.process.stdout.read(), self.process.stderr.read()

    def stop(self):
        self.process.terminate()
        assert self.end()[0] == -signal.SIGTERM


def subscriptions(g):
    ran = g.spawn([g.memctl, "daemon", "status", "--json"])
    return json.loads(ran.out)["subscriptions"] if ran.status == 0 else 0


def pid_of_daemon(g):
    return int(open(g.env["MEMCTL_DIR"] + "/memctld.pid").read())


@test("a line: time, group, event, how often, usage")
def _(g):
    group = g.new_group()
    g.do("create", group)
    watch, holder = Watch(g, group, "usage:20M", "removed"), Holder(g, group)
    holder.hold(30)
    time, where, event, fired, current = watch.line().split()
    assert (where, event, fired) == (group, "usage:20M", "1"), (where, event, fired)
    assert 0 < int(current) < 40 * MIB, current  # the threshold counts what is charged and not touched yet
    then = datetime.datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs((datetime.datetime.now(datetime.timezone.utc) - then).total_seconds()) < 3600, time
    holder.hold(0)
    assert watch.line().split()[2:4] == ["usage:20M", "1"]
    holder.end()
    g.settled(group)
    status, out, err = watch.end()
    assert (status, out.split()[1:], err) == (0, [group, "removed", "1", "0"], ""), (status, out, err)


@test("as JSON, a line each; with fields; with a line of titles")
def _(g):
    group = g.new_group()
    g.do("create", group)
    watches = [Watch(g, group, "removed", "--json"), Watch(g, group, "removed", "-f", "event,fired"),
               Watch(g, group, "removed", "-o", "csv", "-f", "group,event"), Watch(g, group, "removed", "-q")]
    g.do("rm", group)
    ends = [watch.end() for watch in watches]
    assert [end[0] for end in ends] == 4 * [0], ends
    line = json.loads(ends[0][1])
    del line["time"]
    assert line == {"group": group, "event": "removed", "fired": 1, "current": 0, "missed": 0}, line
    assert [end[1] for end in ends[1:]] == ["removed 1\n", "group,event\n%s,removed\n" % group, ""], ends


@test("--count ends it after so many lines, --timeout after so long")
def _(g):
    group = g.new_group()
    g.do("create", group)
    holder = Holder(g, group)
    watch = Watch(g, "--count=2", group, "usage:20M")
    while watch.process.poll() is None:  # a crossing there and back may be none
        holder.hold(30)
        holder.hold(0)
    status, out, _ = watch.end()
    assert status == 0 and len(out.splitlines()) == 2, out
    assert Watch(g, "--timeout=0.1", group, "oom").end() == (0, "", "")
    assert Watch(g, "--timeout=0.1", "--count=1", group, "oom").end() == (124, "", "")
    holder.end()
    g.settled(group)


@test("--exec runs a command, which is told what happened; its failure ends nothing")
def _(g):
    group = g.new_group()
    g.do("create", group)
    command = 'echo "$MEMCTL_WATCH_EVENT $MEMCTL_WATCH_GROUP $MEMCTL_WATCH_FIRED $MEMCTL_WATCH_CURRENT"; ' \
              'test -n "$MEMCTL_WATCH_TIME" && exit 3'
    watch = Watch(g, "-q", "--exec", command, group, "usage:20M", env={"MEMCTL_WATCH_TIME": "", "MEMCTL_WATCH_X": "y"})
    holder = Holder(g, group)
    for mib in 30, 0:
        holder.hold(mib)
        event, where, fired, current = watch.line().split()
        assert (event, where, fired) == ("usage:20M", group, "1") and int(current) >= 0
    watch.process.terminate()
    _, _, err = watch.end()
    assert "' ended with status 3" in err, err
    holder.end()
    g.settled(group)


@test("the group is removed: that is the end")
def _(g):
    group = g.new_group()
    g.do("create", group)
    watch = Watch(g, group, "oom", "usage:1M")
    g.do("rm", group)
    g.do("create", group)  # another one
    status, out, err = watch.end()
    assert (status, out, err) == (1, "", "memctl: watch: %s was removed\n" % group), (status, out, err)
    g.do("rm", group)


def survive(g, go_away, come_back):
    group = g.new_group()
    g.do("create", group)
    holder = Holder(g, group)
    holder.hold(1)
    words, program = Watch(g, group, "usage:20M"), Watch(g, group, "usage:20M", "--json")
    for mib in 30, 0:
        holder.hold(mib)
        assert words.line().split()[2:4] == ["usage:20M", "1"]
        assert json.loads(program.line())["fired"] == 1
        go_away(g)
        come_back(g)
        line = json.loads(program.line())
        assert (line["fired"], line["missed"]) == (0, 1), line
        assert "the daemon of %s was away" % group in words.process.stderr.readline()
    for mib in 30, 0:
        holder.hold(mib)
        assert words.line().split()[2:4] == ["usage:20M", "1"]
        assert json.loads(program.line())["fired"] == 1
    holder.end()
    g.settled(group)
    assert words.end()[0] == 1 and program.end()[0] == 1


@test("a daemon that was killed and started again")
def _(g):
    survive(g, lambda g: os.kill(pid_of_daemon(g), signal.SIGKILL), lambda g: g.do("ls"))


@test("a daemon that was stopped and started again")
def _(g):
    survive(g, lambda g: g.do("daemon", "stop"), lambda g: g.do("daemon", "start"))


@test("a daemon that nobody else starts again")
def _(g):
    survive(g, lambda g: os.kill(pid_of_daemon(g), signal.SIGKILL), lambda g: None)


@test("a group that went while no daemon ran")
def _(g):
    group = g.new_group()
    g.do("create", group)
    watch, plain = Watch(g, group, "removed"), Watch(g, group, "oom")
    g.do("daemon", "stop")
    for name in "limits", "counters":
        try:
            os.remove(g.env["MEMCTL_DIR"] + "/" + name)
        except FileNotFoundError:
            pass
    g.do("daemon", "start")
    status, out, err = watch.end()
    assert status == 0 and out.split()[1:] == [group, "removed", "1", "0"], (status, out, err)
    assert "was away" in err
    status, out, err = plain.end()
    assert (status, out) == (1, "") and err.endswith("%s was removed\n" % group), err


@test("what cannot be watched is said in a sentence")
def _(g):
    group = g.new_group()
    g.do("create", group)
    for words, status, sentence in (
            (("/nowhere", "oom"), 1, "/nowhere"),
            ((group, "nonsense"), 1, "nonsense"),
            ((group, "pressure:high"), 1, "'high'"),
            ((group, "usage:lots"), 1, "lots"),
            ((), 2, "GROUP or EVENT is missing"),
            ((group,), 2, "GROUP or EVENT is missing"),
            ((group, "oom", "-o", "openmetrics"), 2, "openmetrics"),
            ((group, "oom", "--count", "0"), 2, "--count"),
            ((group, "oom", "--count", "-1"), 2, "--count"),
            ((group, "oom", "--timeout", "soon"), 2, "--timeout"),
            ((group, "oom", "--lmm"), 2, "--lmm"),
            ((group, "oom", "-f", "colour"), 2, "colour")):
        ran = g.spawn([g.memctl, "watch", *words])
        assert ran.status == status and sentence in ran.err and ran.out == "", ran
    g.do("rm", group)


@test("a reader that goes away ends it without a word")
def _(g):
    group = g.new_group()
    g.do("create", group)
    watch, holder = Watch(g, group, "usage:20M"), Holder(g, group)
    watch.process.stdout.close()
    while watch.process.poll() is None:
        holder.hold(30)
        holder.hold(0)
    assert watch.process.returncode in (1, -signal.SIGPIPE)
    assert watch.process.stderr.read() == ""
    watch.process.stderr.close()
    holder.end()
    g.settled(group)


sys.exit(main())
