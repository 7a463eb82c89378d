#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The examples in tests/examples do what they say."""
import gzip
import os
import re
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE + "/../lib")
from grower import grower
from real_programs import Skip, compile_c, main, need, test, wait_for

EXAMPLES = os.path.normpath(HERE + "/../examples")
BUILD = os.environ.get("MEMCTL_BUILD", ".")

def strain(g, group):
    g.spawn([g.memctl, "run", "-g", group, "--", grower(g), "30"])


def path_with_memctl(g):
    return {"PATH": os.path.dirname(g.memctl) + ":" + os.environ["PATH"]}


@test("each function of libmemctl")
def _(g):
    ran = g.spawn([BUILD + "/tests/examples/functions"])
    assert ran.status == 0 and ran.err == "", ran
    for line in "no such group: /no-such-group", "memory.events.oom: 0", "134217728 bytes at most, 0 charges refused":
        assert line in ran.out, ran


@test("the same with the static library")
def _(g):
    need("pkg-config")
    jansson = g.spawn(["pkg-config", "--libs", "jansson"]).out.split()
    text = open(EXAMPLES + "/functions.c").read()
    shutil.copy(EXAMPLES + "/../../memctl/memctl.h", g.work)
    program = compile_c(g, "static", text, "-I" + g.work, "-Wall", "-Wextra", "-Werror",
                        BUILD + "/memctl/libmemctl.a", *jansson, "-pthread")
    ran = g.spawn([program], {"LD_LIBRARY_PATH": ""})
    assert ran.status == 0 and ran.err == "", ran


@test("a cache that shrinks itself")
def _(g):
    ran = g.spawn([g.memctl, "run", "--max", "64M", "--", BUILD + "/tests/examples/cache", "100000"])
    entries, dropped, shrunk = map(int, re.fullmatch(
        r"(\d+) entries, (\d+) dropped, shrunk (\d+) times\n", ran.out).groups())
    assert ran.status == 0 and entries + dropped <= 100000, ran
    assert entries > 0 and shrunk > 0, ran


@test("a subscriber in Python")
def _(g):
    group = g.new_group()
    g.do("create", group)
    socket = g.env["MEMCTL_DIR"] + "/control.sock"
    process = g.start([sys.executable, EXAMPLES + "/subscribe.py", socket, group, "removed"])
    assert process.stdout.readline() == "waiting for removed of %s\n" % group
    g.do("rm", group)
    assert process.stdout.readline() == "removed 1\n"
    g.do("daemon", "stop")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "the daemon ended" in err, err
    g.do("daemon", "start")
    ran = g.spawn([sys.executable, EXAMPLES + "/subscribe.py", socket, "/nowhere", "oom"])
    assert ran.status == 1 and "ENOENT" in ran.err, ran


@test("a shell script that compresses logs")
def _(g):
    group = g.new_group()
    g.do("create", group, "memory.max=16M")
    logs = g.path("logs")
    os.mkdir(logs)
    for name in "server.log", "server.log.1", "server.log.2":
        g.write("logs/" + name, "a line\n" * 1000)
    process = g.start([EXAMPLES + "/gzip-logs", group, logs], path_with_memctl(g))

    def is_done():
        strain(g, group)
        return sorted(os.listdir(logs)) == ["server.log", "server.log.1.gz", "server.log.2.gz"]
    wait_for("the logs are compressed", is_done)
    assert gzip.open(logs + "/server.log.1.gz", "rt").read() == "a line\n" * 1000
    process.terminate()
    process.communicate()
    g.settled(group)


def unit_line(key):
    text = open(EXAMPLES + "/memctl-restart@.service").read()
    return re.search("^%s=(.*)$" % key, text, re.M).group(1)


@test("a unit that restarts a service: systemd understands it")
def _(g):
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is missing")
    text = open(EXAMPLES + "/memctl-restart@.service").read()
    unit = g.write("memctl-restart@web.service", text.replace("ExecStart=memctl", "ExecStart=" + g.memctl))
    g.write("web.service", "[Service]\nExecStart=/bin/true\n")
    runtime = g.path("runtime")
    os.mkdir(runtime, 0o700)
    ran = g.spawn(["systemd-analyze", "verify", "--user", "--man=no", unit],
                  {"SYSTEMD_UNIT_PATH": g.work + ":", "XDG_RUNTIME_DIR": runtime})
    assert ran.status == 0 and "memctl-restart" not in ran.err, ran


@test("and its command restarts the service")
def _(g):
    g.do("create", "/web", "memory.max=16M")
    tools = g.path("tools")
    os.mkdir(tools)
    g.write("tools/systemctl", '#!/bin/sh\necho "$@" >> "%s"\n' % g.path("told"))
    os.chmod(tools + "/systemctl", 0o755)
    env = path_with_memctl(g)
    env["PATH"] = tools + ":" + env["PATH"]
    process = g.start(["/bin/sh", "-c", "exec " + unit_line("ExecStart").replace("%i", "web")], env)

    def is_told():
        strain(g, "/web")
        return os.path.exists(g.path("told")) and open(g.path("told")).read()
    told = wait_for("it is restarted", is_told)
    assert told.splitlines()[0] == "--user restart web.service", told
    process.terminate()
    process.communicate()
    g.settled("/web")


sys.exit(main())
