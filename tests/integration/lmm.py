#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl watch --lmm: applications of GLib are told of memory pressure, on a bus of the test's own."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from grower import grower
from real_programs import Skip, compile_c, main, need, test, wait_for

PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's modules

# Frees as much as it has touched and keeps it for itself, until its input ends.
HOARD = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
	int n = atoi(argv[1]);
	char **block = malloc(n * sizeof *block);
	(void)argc;
	for (int i = 0; i < n; i++)
		memset(block[i] = malloc(1 << 20), 1, 1 << 20);
	for (int i = 0; i < n; i++)
		free(block[i]);
	puts("ready");
	fflush(stdout);
	return getchar() == EOF ? 0 : 1;
}
"""

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <policy context="default">
    <allow user="*"/>
    %s
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true"/>
    <allow receive_type="signal"/>
    <allow receive_type="method_call"/>
    <allow receive_requested_reply="true"/>
  </policy>
</busconfig>
"""

# An application: says what its monitor is made of, then each warning's level.
APPLICATION = """
import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib
monitor = Gio.MemoryMonitor.dup_default()
print(type(monitor).__name__, flush=True)
monitor.connect("low-memory-warning", lambda monitor, level: print(int(level), flush=True))
GLib.MainLoop().run()
"""


class Bus:
    """A system bus of the test's own."""

    def __init__(self, g, policy='<allow own="*"/>'):
        need("dbus-daemon")
        path = g.path("bus")
        config = g.write("bus.conf", BUS % (path, policy))
        self.process = subprocess.Popen(["dbus-daemon", "--config-file=" + config, "--nofork", "--nosyslog",
                                         "--print-address=1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True, cwd=g.work)
        self.env = {"DBUS_SYSTEM_BUS_ADDRESS": self.process.stdout.readline().strip(),
                    "GIO_USE_MEMORY_MONITOR": "dbus"}

    def end(self):
        self.process.terminate()
        self.process.communicate()


class Application:
    def __init__(self, g, bus):
        if not os.access(PYTHON, os.X_OK) or g.spawn([PYTHON, "-c", "import gi"]).status:
            raise Skip("Debian's python3-gi is missing")

        def start():
            self.process = g.start([PYTHON, "-c", APPLICATION], bus.env)
            if "DBus" in self.process.stdout.readline():
                return True
            self.process.kill()
            self.process.communicate()
            return False
        wait_for("the bridge has the name", start)

    def level(self):
        return int(self.process.stdout.readline())

    def end(self):
        self.process.kill()
        self.process.communicate()


def strain(g, group, mib=30):
    g.spawn([g.memctl, "run", "-g", group, "--", grower(g), str(mib)])


@test("an application of GLib is told")
def _(g):
    bus, top = Bus(g), g.new_group()
    g.do("create", top)
    g.do("create", top + "/below", "memory.max=16M")
    bridge = g.start([g.memctl, "watch", "--lmm", top], bus.env)
    application = Application(g, bus)
    strain(g, top + "/below")  # nothing can be had: that is critical
    while application.level() != 255:
        pass
    application.end()
    bridge.terminate()
    bridge.communicate()
    bus.end()
    g.do("rm", "-r", top)


@test("where memory can be had, the level is the lowest")
def _(g):
    bus, group = Bus(g), g.new_group()
    g.do("create", group, "memory.max=48M")
    bridge = g.start([g.memctl, "watch", "--lmm", group], bus.env)
    application = Application(g, bus)
    hoarder = g.start([g.memctl, "run", "-g", group, "--", compile_c(g, "hoard", HOARD), "40"],
                      {"MALLOC_CONF": "dirty_decay_ms:-1"})
    assert hoarder.stdout.readline() == "ready\n"
    strain(g, group, 24)
    assert application.level() == 50
    for process in hoarder, bridge:
        process.terminate()
        process.communicate()
    application.end()
    bus.end()
    g.settled(group)


@test("a second bridge is refused, and what the bus does not allow")
def _(g):
    bus = Bus(g)
    bridge = g.start([g.memctl, "watch", "--lmm"], bus.env)
    Application(g, bus).end()
    ran = g.spawn([g.memctl, "watch", "--lmm"], bus.env)
    assert ran.status == 1 and "is taken" in ran.err, ran
    bus.end()
    _, err = bridge.communicate(timeout=60)
    assert bridge.returncode == 1 and "the system bus has gone" in err, err
    bus = Bus(g, "")
    ran = g.spawn([g.memctl, "watch", "--lmm"], bus.env)
    assert ran.status == 1 and "does not let this user have the name" in ran.err, ran
    bus.end()
    ran = g.spawn([g.memctl, "watch", "--lmm"], bus.env)
    assert ran.status == 1 and "cannot reach the system bus" in ran.err, ran


@test("the bridge ends with its group")
def _(g):
    bus, group = Bus(g), g.new_group()
    g.do("create", group)
    bridge = g.start([g.memctl, "watch", "--lmm", group], bus.env)
    Application(g, bus).end()
    wait_for("it is removed", lambda: g.spawn([g.memctl, "rm", group]).status == 0)
    _, err = bridge.communicate(timeout=60)
    assert bridge.returncode == 1 and err == "memctl: watch: %s was removed\n" % group, err
    bus.end()


sys.exit(main())
