#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The daemon from outside: start and end, the protocol, adoption after kill -9. Prints TAP."""
import array
import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import Skip, wait_for

DAEMON = os.environ.get("MEMCTL_DAEMON", "controld/memctld")
DEADLINE = 20.0
PACKET_MAX = 65536
GROUPS_MAX = 65535
CONNECTIONS_MAX = 16384
ROOT = os.geteuid() == 0


class Client:
    def __init__(self, directory):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(directory + "/control.sock")  # waits where the queue is full
        self.socket.settimeout(DEADLINE)

    def raw(self, packet):
        self.socket.send(packet)
        return json.loads(self.socket.recv(PACKET_MAX))

    def ask(self, op, **arguments):
        return self.raw(json.dumps({"v": 1, "op": op, **arguments}).encode())

    def do(self, op, **arguments):
        reply = self.ask(op, **arguments)
        assert reply["ok"], reply
        return reply

    def refused(self, op, errno, **arguments):
        reply = self.ask(op, **arguments)
        assert not reply["ok"] and reply["errno"] == errno, (op, arguments, reply)
        assert len(reply["error"]) > 5
        return reply["error"]

    def pages(self, op, rows, **arguments):
        found, pages = [], 0
        cursor = {}
        while True:
            reply = self.do(op, **arguments, **cursor)
            found += reply[rows]
            pages += 1
            if not reply["more"]:
                return found, pages
            cursor = {"cursor": reply["cursor"]}

    def get(self, group, key):
        return self.do("get", group=group, keys=[key])["values"][key]

    def close(self):
        self.socket.close()


class Daemon:
    """A daemon in a directory of its own, which ends with the test."""

    def __init__(self, *options, directory=None):
        self.home = None if directory else tempfile.mkdtemp(prefix="memctl-test-", dir=shm())
        self.dir = directory or self.home + "/run"
        self.options = options
        self.clients, self.children = [], []
        self.start()

    def start(self):
        ready, told = os.pipe()
        self.process = subprocess.Popen(
            [DAEMON, "--dir=" + self.dir, "--foreground", f"--ready-fd={told}", *self.options],
            pass_fds=[told], stderr=subprocess.PIPE)
        os.close(told)
        byte = os.read(ready, 1)
        os.close(ready)
        assert byte == b"\n", self.process.stderr.read().decode()
        self.pid = self.process.pid

    def client(self):
        client = Client(self.dir)
        self.clients.append(client)
        return client

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0
        return self.process.stderr.read().decode()

    def member(self, group="/", code=""):
        """A process that joined `group`, ran `code` and waits; its slot is .slot."""
        child = subprocess.Popen(
            [sys.executable, "-c", JOIN % (self.dir, group, code)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        self.children.append(child)
        child.slot = int(child.stdout.readline())
        return child

    def close(self):
        for client in self.clients:
            client.close()
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()
        if self.process.poll() is None:
            self.kill()
        self.process.stderr.close()
        if self.home:
            shutil.rmtree(self.home, ignore_errors=True)


JOIN = """
import json, socket, sys, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("%s/control.sock")
def ask(**request):
    s.send(json.dumps({"v": 1, **request}).encode())
    return json.loads(s.recv(65536))
print(ask(op="join", group="%s")["member"], flush=True)
%s
sys.stdin.read()
"""


def shm():
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def daemon(*options):
    d = Daemon(*options)
    try:
        yield d
    finally:
        d.close()


def refused_start(directory, *options):
    """Starts a daemon that must not start: its sentence."""
    run = subprocess.run([DAEMON, "--dir=" + directory, "--foreground", *options],
                         stderr=subprocess.PIPE, timeout=DEADLINE)
    assert run.returncode in (1, 3), run
    sentence = run.stderr.decode()
    assert sentence.count("\n") == 1, sentence
    return sentence


def contents(directory):
    found = {}
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and name != "memctld.lock":
            with open(path, "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def poke(directory, name, offset, data):
    with open(os.path.join(directory, name), "r+b", buffering=0) as file:
        file.seek(offset)
        file.write(data)


def status_lines(pid, field):
    values = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            values += [int(line.split()[1]) for line in file if line.startswith(field)]
    return values


# ---- start and end --------------------------------------------------------------------------

def test_starts_private_and_says_so():
    with daemon() as d:
        assert os.stat(d.dir).st_mode & 0o777 == 0o700
        for name in ("control.sock", "limits", "counters", "memctld.pid", "memctld.lock"):
            assert os.stat(f"{d.dir}/{name}").st_mode & 0o077 == 0, name
        with open(d.dir + "/memctld.pid") as file:
            assert int(file.read()) == d.pid
        hello = d.client().do("hello")
        assert hello["pid"] == d.pid and hello["v"] == 1 and hello["version"]


def test_goes_to_the_background_when_ready():
    home = tempfile.mkdtemp(prefix="memctl-test-", dir=shm())
    try:
        run = subprocess.run([DAEMON, "--dir=" + home + "/run"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=DEADLINE)
        assert run.returncode == 0, run  # and the pipe is closed: the daemon does not hold it
        client = Client(home + "/run")
        pid = client.do("status")["pid"]
        client.close()
        os.kill(pid, signal.SIGTERM)
        wait_for("it has ended", lambda: os.listdir(home + "/run") == [])
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_idle_it_sleeps_and_is_small():
    with daemon() as d:
        before = wait_for("both threads sleep", lambda: settled(d.pid))
        time.sleep(1.5)  # what is measured, not waited for
        assert status_lines(d.pid, "voluntary_ctxt_switches") == before
        resident = max(status_lines(d.pid, "VmRSS"))
        print(f"# resident: {resident} KiB")
        assert resident <= 4096


def settled(pid):
    before = status_lines(pid, "voluntary_ctxt_switches")
    time.sleep(0.2)
    return before if before == status_lines(pid, "voluntary_ctxt_switches") else None


def test_a_second_daemon_is_refused():
    with daemon() as d:
        sentence = refused_start(d.dir)
        assert "already" in sentence and str(d.pid) in sentence
        ready, told = os.pipe()
        run = subprocess.run([DAEMON, "--dir=" + d.dir, f"--ready-fd={told}"], pass_fds=[told],
                             stderr=subprocess.PIPE, timeout=DEADLINE)
        os.close(told)
        assert run.returncode == 3 and os.read(ready, 2) == b"b"
        os.close(ready)
        run = subprocess.run([DAEMON, "--dir=" + d.dir], stderr=subprocess.PIPE, timeout=DEADLINE)
        assert run.returncode == 3 and b"already" in run.stderr
        d.client().do("hello")


def test_ends_without_a_trace_when_unused():
    with daemon() as d:
        d.client().do("create", group="/a")
        d.client().do("remove", group="/a")
        d.end()
        assert os.listdir(d.dir) == []


def test_leaves_groups_for_the_next_one():
    with daemon() as d:
        d.client().do("create", group="/a", values={"memory.max": "7M"})
        d.end()
        assert "limits" in os.listdir(d.dir) and "control.sock" not in os.listdir(d.dir)
        d.start()
        assert d.client().get("/a", "memory.max") == 7 << 20


def test_idle_exit_waits_for_use_to_end():
    with daemon("--idle-exit=0.2") as d:
        client = d.client()
        time.sleep(0.5)
        client.do("create", group="/a")
        client.close()
        time.sleep(0.5)
        assert d.process.poll() is None
        client = d.client()
        client.do("remove", group="/a")
        client.close()
        assert d.process.wait(DEADLINE) == 0
        assert os.listdir(d.dir) == []


def test_wrong_options_are_refused():
    for option in ("--idle-exit=x", "--idle-exit=-1", "--ready-fd=x", "--ready-fd=99", "extra"):
        run = subprocess.run([DAEMON, option], stderr=subprocess.PIPE, timeout=DEADLINE)
        assert run.returncode != 0, option


def test_socket_activation():
    home = tempfile.mkdtemp(prefix="memctl-test-", dir=shm())
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = None
    try:
        listening.bind(home + "/passed.sock")
        listening.listen()
        listening.set_inheritable(True)
        script = (f"import os; os.dup2({listening.fileno()}, 3); "
                  "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
                  f"os.execv({DAEMON!r}, ['memctld', '--dir={home}/run', '--foreground'])")
        process = subprocess.Popen([sys.executable, "-c", script], close_fds=False,
                                   stderr=subprocess.DEVNULL)
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(DEADLINE)
        client.connect(home + "/passed.sock")
        client.send(b'{"v":1,"op":"hello"}')
        assert json.loads(client.recv(PACKET_MAX))["pid"] == process.pid
        client.close()
        process.terminate()
        assert process.wait(DEADLINE) == 0
        assert os.path.exists(home + "/passed.sock")
    finally:
        listening.close()
        if process and process.poll() is None:
            process.kill()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


# ---- whose directory, whose segment -----------------------------------------------------------

def test_an_open_directory_is_refused():
    home = tempfile.mkdtemp(prefix="memctl-test-", dir=shm())
    try:
        os.chmod(home, 0o755)
        assert "open to others" in refused_start(home)
        os.chmod(home, 0o700)
        os.symlink(home, home + "/link")
        assert "link" in refused_start(home + "/link")
        with open(home + "/file", "w"):
            pass
        refused_start(home + "/file")
        refused_start(home + "/none/below")
        refused_start(home + "/" + 90 * "x")
        assert sorted(os.listdir(home)) == ["file", "link"]
    finally:
        shutil.rmtree(home)


def test_a_foreign_directory_is_refused():
    if not ROOT:
        raise Skip("only root can give a directory away")
    home = tempfile.mkdtemp(prefix="memctl-test-", dir=shm())
    try:
        os.chown(home, 65534, 65534)
        assert "somebody else" in refused_start(home)
        assert os.listdir(home) == []
    finally:
        shutil.rmtree(home)


def left_behind():
    """A daemon that was killed with a group in its segment."""
    d = Daemon()
    d.client().do("create", group="/a")
    d.kill()
    return d


def test_a_damaged_segment_is_not_touched():
    for name in ("limits", "counters"):
        d = left_behind()
        try:
            poke(d.dir, name, 0, b"garbage!")
            before = contents(d.dir)
            assert "damaged" in refused_start(d.dir)
            assert contents(d.dir) == before
            os.truncate(f"{d.dir}/{name}", 8192)
            before = contents(d.dir)
            assert "damaged" in refused_start(d.dir)
            assert contents(d.dir) == before
        finally:
            d.close()


def test_another_versions_segment_is_not_touched():
    for offset in (8, 12):  # version, layout hash
        d = left_behind()
        try:
            poke(d.dir, "limits", offset, struct.pack("I", 0x7fffffff))
            before = contents(d.dir)
            assert "version" in refused_start(d.dir)
            assert contents(d.dir) == before
        finally:
            d.close()


def test_a_half_made_segment_is_made_anew():
    for break_it in (lambda p: os.unlink(p + "/counters"), lambda p: os.unlink(p + "/limits"),
                     lambda p: os.truncate(p + "/counters", 0),
                     lambda p: poke(p, "limits", 0, bytes(8))):
        d = left_behind()
        try:
            break_it(d.dir)
            d.start()
            assert d.client().do("status")["groups"] == 1
        finally:
            d.close()


def test_after_kill_9_the_segment_is_adopted():
    with daemon() as d:
        client = d.client()
        client.do("create", group="/a", values={"memory.max": "64M", "memory.swappiness": 7})
        client.do("create", group="/a/b")
        stays, goes = d.member("/a/b"), d.member("/a")
        instance = client.do("status")["instance"]
        d.kill()
        goes.kill()
        goes.wait()
        d.start()
        client = d.client()
        assert client.do("status")["instance"] == instance
        assert client.get("/a", "memory.max") == 64 << 20
        assert client.get("/a", "memory.swappiness") == 7
        assert [m["pid"] for m in client.do("members")["members"]] == [stays.pid]
        client.refused("remove", "EBUSY", group="/a/b")
        stays.kill()
        stays.wait()
        client.do("remove", group="/a", recursive=True)


def test_kill_9_at_any_time_leaves_a_sound_tree():
    with daemon() as d:
        made = set()
        for turn in range(10):
            client = d.client()
            for i in range(37 * turn + 5):
                request = {"v": 1, "op": "create", "group": f"/t{turn}-{i}"}
                client.socket.send(json.dumps(request).encode())
                if json.loads(client.socket.recv(PACKET_MAX))["ok"]:
                    made.add(request["group"])
            client.socket.send(b'{"v":1,"op":"create","group":"/last-%d"}' % turn)
            d.kill()
            d.start()
            found = {g["group"] for g in d.client().pages("list", "groups")[0]}
            assert made <= found <= made | {f"/last-{t}" for t in range(turn + 1)}
            made = found


def test_a_removed_directory_is_made_anew():
    with daemon() as d:
        client = d.client()
        client.do("create", group="/a")
        old = d.member("/a")
        instance = client.do("status")["instance"]
        shutil.rmtree(d.dir)
        wait_for("a new socket", lambda: os.path.exists(d.dir + "/control.sock"))
        status = d.client().do("status")
        assert status["dir_removed"] and status["instance"] != instance
        assert status["old_segments"] == 1 and status["old_members"] == 1
        assert client.do("status")["pid"] == d.pid  # old connections go on
        d.client().do("create", group="/a")
        old.kill()
        wait_for("the old segment is given up",
                 lambda: client.do("status")["old_segments"] == 0)
        wait_for("the watch is at rest", lambda: settled(d.pid))
        os.unlink(d.dir + "/control.sock")
        wait_for("a new socket", lambda: os.path.exists(d.dir + "/control.sock"))
        assert d.client().do("status")["groups"] == 2
        os.unlink(d.dir + "/memctld.lock")
        wait_for("a new lock", lambda: os.path.exists(d.dir + "/memctld.lock"))
        assert "already" in refused_start(d.dir)
        assert d.client().do("status")["groups"] == 2


# ---- the protocol -----------------------------------------------------------------------------

def test_the_ops():
    with daemon() as d:
        c = d.client()
        c.do("create", group="/a", values={"memory.max": "64M", "memory.high": 4096})
        c.do("create", group="/a/b")
        c.do("set", group="/a/b", values={"memory.soft": "max", "memory.oom.group": "1"})
        values = c.do("get", group="/a")["values"]
        assert values["memory.max"] == 64 << 20 and values["memory.high"] == 4096
        assert list(values)[0] == "memory.current"
        assert values["memory.events"]["oom"] == 0
        assert c.get("/a/b", "memory.soft") == "max"
        groups = c.do("list", group="/", recursive=True)["groups"]
        assert {g["group"] for g in groups} == {"/a", "/a/b"}
        assert [g["group"] for g in c.do("list")["groups"]] == ["/a"]
        assert groups[0]["max"] == 64 << 20 and groups[1]["max"] == "max"
        assert c.do("members")["members"] == []
        assert c.do("kill", group="/a")["killed"] == 0
        keys = c.do("keys")["keys"]
        assert {"memory.max", "memory.current", "memory.limit_in_bytes"} <= {k["name"] for k in keys}
        status = c.do("status")
        assert status["groups"] == 3 and status["members"] == 0 and status["dir"] == d.dir
        c.refused("remove", "EBUSY", group="/a")
        assert c.do("remove", group="/a", recursive=True)["removed"] == 2
        assert c.do("status")["groups"] == 1


def test_errors_are_replies():
    with daemon() as d:
        c = d.client()
        for packet in (b"", b"{", b"[]", b"\0\0\0", b"{}", bytes(range(256)), b"[" * PACKET_MAX):
            reply = c.raw(packet)
            assert not reply["ok"] and reply["errno"] == "EINVAL", (packet[:20], reply)
        assert c.raw(b" " * (PACKET_MAX + 1))["errno"] == "EMSGSIZE"
        assert c.raw(b"x" * 200000)["errno"] == "EMSGSIZE"
        request = b'{"v":1,"op":"hello"}'
        assert c.raw(request + b" " * (PACKET_MAX - len(request)))["ok"]
        c.refused("nope", "EOPNOTSUPP")
        c.refused("get", "ENOENT", group="/none")
        c.refused("get", "EINVAL", group="/..")
        c.refused("get", "EINVAL", group=7)
        c.refused("create", "ELOOP", group=17 * "/a")
        c.refused("create", "ENAMETOOLONG", group="/" + 64 * "n")
        c.do("create", group="/" + 63 * "n")
        c.refused("set", "ENOENT", group="/", values={"memory.nope": 1})
        c.refused("unsubscribe", "ENOENT", id=1)
        c.refused("reclaim", "EAGAIN", group="/", size="1M")
        c.refused("reclaim", "EINVAL", group="/", size="1x")
        d.client().do("hello")


def test_a_client_that_does_not_read_hinders_nobody():
    with daemon() as d:
        c, slow = d.client(), d.client()
        for i in range(300):
            c.do("create", group=f"/{i:060}")
        slow.socket.setblocking(False)
        sent = 0
        try:
            while sent < 100000:
                slow.socket.send(b'{"v":1,"op":"list"}')
                sent += 1
        except BlockingIOError:
            pass
        assert 0 < sent < 100000  # its packets are left in its own queue
        c.do("hello")
        slow.socket.settimeout(DEADLINE)
        for _ in range(sent):
            assert len(json.loads(slow.socket.recv(PACKET_MAX))["groups"]) == 300
        assert slow.ask("hello")["ok"]


def test_clients_come_and_go():
    with daemon() as d:
        c = d.client()
        c.do("hello")
        descriptors = len(os.listdir(f"/proc/{d.pid}/fd"))
        for i in range(200):
            gone = Client(d.dir)
            gone.socket.send(b'{"v":1,"op":"get","group":"/"}')
            gone.close()
        wait_for("all are closed", lambda: c.do("status")["connections"] == 1 and
                 len(os.listdir(f"/proc/{d.pid}/fd")) == descriptors)


def test_too_many_clients_are_turned_away():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < CONNECTIONS_MAX + 100:
        raise Skip("not so many descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    with daemon() as d:
        many = [Client(d.dir) for _ in range(CONNECTIONS_MAX - 10)]
        try:
            wait_for("all are accepted", lambda: many[0].do("status")["connections"] == CONNECTIONS_MAX - 10)
            more = [Client(d.dir) for _ in range(30)]
            wait_for("the most are open", lambda: many[0].do("status")["connections"] == CONNECTIONS_MAX)
            assert more[-1].socket.recv(1) == b""
            many += more
        finally:
            for client in many:
                client.close()
        wait_for("there is room again", lambda: d.client().do("status")["connections"] < 100)


def test_descriptors_that_come_along_are_dropped():
    with daemon() as d:
        c = d.client()
        c.do("hello")
        before = len(os.listdir(f"/proc/{d.pid}/fd"))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
        for _ in range(20):
            c.socket.sendmsg([b'{"v":1,"op":"hello"}'], rights)
            assert json.loads(c.socket.recv(PACKET_MAX))["ok"]
        assert len(os.listdir(f"/proc/{d.pid}/fd")) == before


def test_other_users_are_refused():
    if not ROOT:
        raise Skip("only root can become another user")
    with daemon() as d:
        assert as_nobody(d.dir) == "PermissionError"
        os.chmod(d.home, 0o711)
        os.chmod(d.dir, 0o711)
        os.chmod(d.dir + "/control.sock", 0o666)
        assert as_nobody(d.dir) == "turned away"
        assert d.client().do("status")["connections"] == 1


def as_nobody(directory):
    """What becomes of another user's hello."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            client = Client(directory)
            client.socket.send(b'{"v":1,"op":"hello"}')
            answer = "turned away" if client.socket.recv(100) == b"" else "served"
        except (BrokenPipeError, ConnectionResetError):
            answer = "turned away"
        except OSError as error:
            answer = type(error).__name__
        os.write(theirs, answer.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    answer = os.read(ours, 100).decode()
    os.close(ours)
    return answer


# ---- members ----------------------------------------------------------------------------------

def members(client, **arguments):
    return client.pages("members", "members", **arguments)[0]


def test_members_come_and_go():
    with daemon() as d:
        c = d.client()
        c.do("create", group="/a")
        c.do("create", group="/a/b")
        one, two = d.member("/a"), d.member("/a/b")
        found = {m["pid"]: m for m in members(c)}
        assert set(found) == {one.pid, two.pid}
        assert found[two.pid]["group"] == "/a/b" and found[two.pid]["state"] == "live"
        assert found[one.pid]["comm"].startswith("python")
        assert found[one.pid]["held"] >= 0 and "foreign" in found[one.pid]["flags"]
        assert [m["pid"] for m in members(c, group="/a", recursive=False)] == [one.pid]
        rows = {g["group"]: g for g in c.do("list", recursive=True)["groups"]}
        assert rows["/a"]["members"] == 2 and rows["/a"]["members_local"] == 1
        assert str(two.pid) in c.refused("remove", "EBUSY", group="/a/b")
        c.refused("remove", "EBUSY", group="/a", recursive=True)
        assert c.do("kill", group="/a/b")["killed"] == 1
        assert two.wait() == -signal.SIGKILL
        assert [m["pid"] for m in members(c)] == [one.pid]
        c.do("kill", group="/", signal=signal.SIGTERM)
        assert one.wait() == -signal.SIGTERM
        wait_for("it is reaped", lambda: c.do("status")["members"] == 0)


def test_many_members_in_pages():
    with daemon() as d:
        c = d.client()
        children = [d.member() for _ in range(40)]
        assert {m["pid"] for m in members(c)} == {child.pid for child in children}
        assert c.do("kill", group="/")["killed"] == 40
        for child in children:
            child.wait()
        assert members(c) == []


def test_a_member_cannot_raise_its_own_limit():
    code = """for group in ("/a", "/", "/b"):
    print(ask(op="set", group=group, values={"memory.max": "max"}).get("errno"), flush=True)"""
    for option, answers in (((), ["EPERM", "EPERM", "None"]), (("--allow-members",), 3 * ["None"])):
        with daemon(*option) as d:
            c = d.client()
            c.do("create", group="/a", values={"memory.max": "64M"})
            c.do("create", group="/b")
            child = d.member("/a", code)
            assert [child.stdout.readline().decode().strip() for _ in range(3)] == answers


def test_a_transient_group_goes_with_its_last_member():
    with daemon() as d:
        watcher, maker = d.client(), d.client()
        maker.do("create", group="/run-1", transient=True)
        maker.do("create", group="/run-2", transient=True)
        child = d.member("/run-1")
        maker.close()
        wait_for("the empty one goes",
                 lambda: [g["group"] for g in watcher.do("list")["groups"]] == ["/run-1"])
        assert watcher.do("list")["groups"][0]["transient"]
        child.kill()
        wait_for("the other one goes", lambda: not watcher.do("list")["groups"])


def test_another_pid_namespace():
    if not ROOT or not shutil.which("unshare"):
        raise Skip("needs root and unshare(1)")
    with daemon() as d:
        child = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c",
             JOIN % (d.dir, "/", "print(os.getpid(), flush=True)")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        d.children.append(child)
        first = child.stdout.readline()
        if not first:
            raise Skip("no pid namespaces here")
        assert int(child.stdout.readline()) == 1
        found = members(d.client())
        assert len(found) == 1 and found[0]["pid"] > 1 and "foreign" in found[0]["flags"]
        child.kill()
        wait_for("it is reaped", lambda: d.client().do("status")["members"] == 0)


# Where layout.h has a member's slot: what a preloaded image would write is written by hand.
MEMBERS_AT, MEMBER_SIZE, FLAGS_AT, EXECING = 4096, 128, 20, 2


def test_an_image_without_preload_is_observed():
    with daemon() as d:
        c = d.client()
        c.do("create", group="/a", values={"memory.max": "1M"})
        code = "sys.stdin.readline(); os.execvp('sleep', ['sleep', '1000'])"
        child = d.member("/a", code)
        slot = MEMBERS_AT + child.slot * MEMBER_SIZE
        with open(d.dir + "/counters", "rb") as file:
            file.seek(slot)
            assert struct.unpack("Q", file.read(8))[0] >> 8 == child.pid
        poke(d.dir, "counters", slot + FLAGS_AT, struct.pack("I", EXECING))
        child.stdin.write(b"\n")
        child.stdin.flush()
        d.member()  # its join rings the bell
        row = wait_for("it is observed", lambda: next(
            (m for m in members(c, group="/a") if m["state"] == "observed"), None))
        assert row["pid"] == child.pid and row["comm"] == "sleep", row
        wait_for("it is sampled", lambda: c.get("/a", "memory.current") > 0)
        stat = c.get("/a", "memory.stat")
        assert stat["observed"] == stat["committed"] and stat["heap"] == 0
        before = sum(status_lines(d.pid, "voluntary_ctxt_switches"))
        time.sleep(2)  # measured: a few looks a second, at it and for its children
        assert sum(status_lines(d.pid, "voluntary_ctxt_switches")) - before < 60
        child.kill()
        wait_for("it is given back", lambda: c.get("/a", "memory.current") == 0)


# ---- size -------------------------------------------------------------------------------------

def create_many(c, parent, count):
    """`count` groups below `parent`, requests sent ahead of the replies."""
    window, answered = 64, 0
    for i in range(count + window):
        if i < count:
            c.socket.send(b'{"v":1,"op":"create","group":"%s/%d"}' % (parent.encode(), i))
        if i >= window:
            assert json.loads(c.socket.recv(PACKET_MAX))["ok"], answered
            answered += 1


def test_as_many_groups_as_there_can_be():
    with daemon() as d:
        c = d.client()
        c.do("create", group="/p")
        start = time.monotonic()
        create_many(c, "/p", GROUPS_MAX - 2)
        created = time.monotonic() - start
        c.refused("create", "ENOSPC", group="/one-more")
        start = time.monotonic()
        found, pages = c.pages("list", "groups", group="/p")
        listed = time.monotonic() - start
        assert len({g["group"] for g in found}) == GROUPS_MAX - 2 and pages > 10
        start = time.monotonic()
        assert c.do("remove", group="/p", recursive=True)["removed"] == GROUPS_MAX - 1
        removed = time.monotonic() - start
        print(f"# 65,533 groups: made {created:.2f} s, listed {listed:.2f} s, removed {removed:.2f} s")
        assert max(created, listed, removed) < DEADLINE
        for i in range(200):
            c.do("create", group=f"/again-{i}")


def main():
    tests = [(name[5:].replace("_", " "), function) for name, function in globals().items()
             if name.startswith("test_") and (len(sys.argv) < 2 or sys.argv[1] in name)]
    print(f"1..{len(tests)}")
    failed = 0
    for number, (name, function) in enumerate(tests, 1):
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            for line in traceback.format_exc().splitlines():
                print("# " + line, flush=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
