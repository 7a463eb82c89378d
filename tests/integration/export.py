#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl export: every key of every group, read by promtool and by a Prometheus of our own. Prints TAP."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sys
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import NO_MEMORY, REGION, DeviceGround, Program
from real_programs import Ground, main, need, test, wait_for

TOP = os.path.dirname(os.path.abspath(__file__)) + "/../.."
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ALIASES = {"memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes", "memory.soft_limit_in_bytes",
           "memory.use_hierarchy", "memory.oom_control"}


@contextlib.contextmanager
def exporter(g, where="0"):
    p = g.start([g.memctl, "export", "--listen", where])
    line = p.stderr.readline()
    assert "serving at" in line, line + p.stderr.read()
    try:
        yield line.split()[-1]
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(60) == 0
        for pipe in (p.stdin, p.stdout, p.stderr):
            pipe.close()


def fetch(url, accept=None):
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def samples(text):
    """{name: {labels: value}}"""
    ret = {}
    for line in text.splitlines():
        found = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)', line)
        assert line.startswith("#") or found, line
        if found:
            ret.setdefault(found[1], {})[found[2] or ""] = float(found[3])
    return ret


@test("every key of every group is there, with its value")
def _(g):
    g.do("create", "-p", "/shop/front", "memory.max=64M", "memory.oom.policy=wait", "memory.swappiness=10")
    text = g.do("export", "--once")
    got = samples(text)
    for group in ("/", "/shop", "/shop/front"):
        keys = json.loads(g.do("get", "--json", group))
        for key, value in keys.items():
            if key in ALIASES or key.startswith("memory.oom.report") or (isinstance(value, str) and "\n" in value):
                continue
            name = "memctl_" + re.sub("[^a-z0-9]", "_", key)
            found = [n for n in got if n == name or n.startswith(name + "_")]
            if isinstance(value, dict) and not value or value == "":
                continue
            assert found, (key, sorted(got))
            assert any('group="%s"' % group in labels for n in found for labels in got[n]), (key, group)
    assert got["memctl_memory_max_bytes"]['group="/shop/front"'] == 64 << 20
    assert got["memctl_memory_max_bytes"]['group="/shop"'] == float("inf")
    assert got["memctl_memory_oom_policy"]['group="/shop/front",value="wait"'] == 1
    assert got["memctl_memory_swappiness"]['group="/shop/front"'] == 10
    assert got["memctl_memory_events_total"]['group="/shop",item="oom"'] == 0
    assert got["memctl_groups"][""] == 3 and got["memctl_up"][""] == 1


@test("promtool has nothing to say about the metrics, nor about the alerts")
def _(g):
    promtool, = need("promtool")
    ran = g.spawn([promtool, "check", "metrics"], stdin=g.do("export", "--once"))
    assert ran.status == 0 and not ran.out.strip() and not ran.err.strip(), ran
    ran = g.spawn([promtool, "check", "rules", TOP + "/data/memctl.rules.yml"])
    assert ran.status == 0 and "5 rules found" in ran.out, ran
    unit = g.write("unit.yml", """
rule_files: [%s/data/memctl.rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'memctl_memory_events_total{group="/a",item="oom"}', values: '0 0 3 3'}
      - {series: 'memctl_memory_events_total{group="/b",item="oom"}', values: '7 7 7 7'}
      - {series: 'memctl_memory_current_bytes{group="/a"}', values: '95x20'}
      - {series: 'memctl_memory_max_bytes{group="/a"}', values: '100x20'}
      - {series: 'memctl_memory_current_bytes{group="/b"}', values: '95x20'}
      - {series: 'memctl_memory_max_bytes{group="/b"}', values: '1000x20'}
    alert_rule_test:
      - {eval_time: 3m, alertname: MemctlGroupRefused, exp_alerts: [{exp_labels: {group: /a, item: oom, severity: warning},
         exp_annotations: {summary: "/a was refused memory",
         description: "memctl events /a says when, memctl plot /a shows it."}}]}
      - {eval_time: 15m, alertname: MemctlGroupNearLimit, exp_alerts: [{exp_labels: {group: /a, severity: warning},
         exp_annotations: {summary: "/a holds 95%% of its memory.max",
         description: "What it asks for beyond that is refused."}}]}
""" % os.path.realpath(TOP))
    ran = g.spawn([promtool, "test", "rules", unit])
    assert ran.status == 0, ran


@test("a port: OpenMetrics for who asks for it, the older format for others; only on this machine")
def _(g):
    with exporter(g) as url:
        new, kind = fetch(url, OPENMETRICS)
        assert kind.startswith("application/openmetrics-text; version=1.0.0") and new.endswith("# EOF\n"), kind
        assert "# TYPE memctl_memory_events counter\n" in new and "# UNIT memctl_memory_current_bytes bytes\n" in new
        # a family stands in one place
        families = re.findall(r"^# TYPE (\S+)", new, re.M)
        assert len(families) == len(set(families))
        old, kind = fetch(url)
        assert kind.startswith("text/plain; version=0.0.4") and "# TYPE memctl_memory_events_total counter\n" in old
        assert "EOF" not in old
        try:
            fetch(url.replace("/metrics", "/other"))
            raise AssertionError("no 404")
        except urllib.error.HTTPError as e:
            assert e.code == 404
        port = int(url.split(":")[2].split("/")[0])
        with open("/proc/net/tcp") as f:
            at = [line.split()[1] for line in f if line.split()[1].endswith(":%04X" % port)]
        assert "0100007F:%04X" % port in at and "00000000:%04X" % port not in at, at
    ran = g.spawn([g.memctl, "export", "--listen", "0.0.0.0:80"])
    assert ran.status == 2 and "is no address for this" in ran.err, ran


@test("a Unix socket, private, taken away at the end; a dead one's is replaced")
def _(g):
    path = g.path("metrics.sock")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    with exporter(g, "unix:" + path):
        assert os.stat(path).st_mode & 0o777 == 0o600
        c = http.client.HTTPConnection("localhost")
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.connect(path)
        c.request("GET", "/metrics")
        assert samples(c.getresponse().read().decode())["memctl_up"][""] == 1
        c.close()
        ran = g.spawn([g.memctl, "export", "--listen", "unix:" + path])
        assert ran.status == 1 and "cannot listen" in ran.err, ran
    assert not os.path.exists(path)


@test("without a daemon memctl_up is 0, and none is started; it goes on with the next")
def _(g):
    with exporter(g) as url:
        g.do("daemon", "stop")
        got = samples(fetch(url)[0])
        assert got == {"memctl_up": {"": 0}}, got
        assert g.spawn([g.memctl, "daemon", "status"]).status == 3
        g.do("daemon", "start")
        assert samples(fetch(url)[0])["memctl_up"][""] == 1


@test("per region: capacity, usage and limits of device memory, of every group")
def _(g):
    device = DeviceGround()
    try:
        device.do("create", "-p", "/gpu/a", "dmem.max=all 256M")
        p = Program(device, "/gpu/a").begin()
        p.keep("alloc 64M")
        got = samples(device.do("export", "--once"))
        of_region = 'group="%s",region="' + REGION + '"'
        assert got["memctl_dmem_current_bytes"][of_region % "/gpu/a"] == 64 << 20, got["memctl_dmem_current_bytes"]
        assert got["memctl_dmem_current_bytes"][of_region % "/gpu"] == 64 << 20
        assert got["memctl_dmem_max_bytes"][of_region % "/gpu/a"] == 256 << 20
        assert got["memctl_dmem_max_bytes"][of_region % "/gpu"] == float("inf")
        assert got["memctl_dmem_capacity_bytes"][of_region % "/"] > 64 << 20
        assert p.do("alloc 1G")[0] == NO_MEMORY
        got = samples(device.do("export", "--once"))
        assert got["memctl_dmem_events_total"][of_region % "/gpu/a" + ',item="oom"'] == 1
        assert got["memctl_dmem_pressure_ratio"][of_region % "/gpu/a" + ',item="some.avg10"'] >= 0
        keys = json.loads(device.do("get", "--json", "/gpu/a"))
        for key, value in keys.items():
            if key.startswith("dmem.") and value:
                assert any(name.startswith("memctl_" + key.replace(".", "_")) for name in got), key
        assert got["memctl_dmem_max_bytes"]['group="/gpu/a",region="all"'] == 256 << 20
        text = [line.rsplit(" ", 1)[0] for line in device.do("export", "--once").splitlines() if line[0] != "#"]
        assert len(text) == len(set(text)), "a series is there twice"
        promtool, = need("promtool")
        ran = device.spawn([promtool, "check", "metrics"], stdin=device.do("export", "--once"))
        assert ran.status == 0 and not ran.out.strip() and not ran.err.strip(), ran
        p.end()
    finally:
        device.close()


@test("with many groups and members: each is there once, members are counted up the tree")
def _(g):
    members = [g.start([g.memctl, "run", "-g", "/many/m%d" % (i % 4), "--keep", "--", "cat"]) for i in range(24)]
    for i in range(300):
        g.do("create", "/shop/front/g%d" % i)
    wait_for("all run", lambda: samples(g.do("export", "--once"))["memctl_group_members"].get('group="/many"') == 24)
    text = g.do("export", "--once")
    lines = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines)), "a series is there twice"
    got = samples(text)
    groups = got["memctl_groups"][""]
    assert groups > 305 and len(got["memctl_memory_current_bytes"]) == groups
    assert [got["memctl_group_members_local"]['group="/many/m%d"' % i] for i in range(4)] == [6] * 4
    for p in members:
        p.stdin.close()
        assert p.wait(60) == 0
        p.stdout.close()
        p.stderr.close()


@test("a real Prometheus scrapes it")
def _(g):
    prometheus, = need("prometheus")
    with exporter(g) as url, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        config = g.write("prometheus.yml", """
global: {scrape_interval: 1s}
rule_files: [%s/data/memctl.rules.yml]
scrape_configs: [{job_name: memctl, static_configs: [{targets: ['%s']}]}]
""" % (os.path.realpath(TOP), url.split("/")[2]))
        p = g.start([prometheus, "--config.file=" + config, "--storage.tsdb.path=" + g.path("tsdb"),
                     "--web.listen-address=127.0.0.1:%d" % port], space=0)

        def query(text):
            try:
                answer = fetch("http://127.0.0.1:%d/api/v1/query?query=%s" % (port, urllib.parse.quote(text)))[0]
            except OSError:
                assert p.poll() is None, p.stderr.read()
                return []
            return json.loads(answer)["data"]["result"]
        try:
            found = wait_for("it has scraped", lambda: query('memctl_memory_max_bytes{group="/shop/front"}'))
            assert float(found[0]["value"][1]) == 64 << 20, found
            assert query("memctl_up")[0]["value"][1] == "1"
            targets = json.loads(fetch("http://127.0.0.1:%d/api/v1/targets" % port)[0])["data"]["activeTargets"]
            assert targets[0]["health"] == "up" and not targets[0]["lastError"], targets
        finally:
            p.terminate()
            p.communicate(timeout=60)


sys.exit(main(Ground))
