#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The units: what systemd says of them, and socket activation as they do it. Prints TAP."""
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import DAEMON, Ground, main, need, test, wait_for

BUILD = os.environ.get("MEMCTL_BUILD", ".")


@test("systemd has nothing to say about the units")
def _(g):
    analyze, = need("systemd-analyze")
    for name in ("memctld.service", "memctld.socket", "memctl-export.service"):
        with open(BUILD + "/data/" + name) as f:
            text = f.read()
        assert "@" not in text, text
        text = re.sub(r"^ExecStart=\S+", "ExecStart=" + (DAEMON if "memctld" in name else g.memctl), text, flags=re.M)
        g.write(name, text)
    for name in ("memctld.service", "memctld.socket", "memctl-export.service"):
        ran = g.spawn([analyze, "--user", "--man=no", "verify", g.path(name)], {"XDG_RUNTIME_DIR": g.work}, space=0)
        said = [line for line in (ran.out + ran.err).splitlines() if name.split(".")[0] in line]
        assert not said, ran


@test("socket activation: the first connection starts the daemon, which serves the socket it was passed")
def _(g):
    activate, = need("systemd-socket-activate")
    directory = g.path("run")
    os.mkdir(directory, 0o700)
    p = g.start([activate, "--seqpacket", "--listen=%s/control.sock" % directory, DAEMON, "--foreground",
                 "--dir=" + directory])
    try:
        wait_for("it listens", lambda: os.path.exists(directory + "/control.sock"))
        env = {"MEMCTL_DIR": directory}
        ran = g.spawn([g.memctl, "run", "--max", "64M", "--", "echo", "hello"], env)
        assert ran.status == 0 and ran.out == "hello\n", ran
        ran = g.spawn([g.memctl, "daemon", "status"], env)
        assert "pid %d\n" % p.pid in ran.out, ran  # it became the daemon
    finally:
        p.send_signal(signal.SIGTERM)
        try:
            p.wait(60)
        except subprocess.TimeoutExpired:
            p.kill()
        for pipe in (p.stdin, p.stdout, p.stderr):
            pipe.close()


sys.exit(main(Ground))
