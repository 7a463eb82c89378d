# SPDX-License-Identifier: MIT
"""What the tests with real programs share: a private daemon, groups, comparing runs, TAP."""
import os
import pwd
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

DEADLINE = 60.0
HANGS = 900  # seconds: a test that waits for what never comes, as for a line of a program
GIB = 1 << 30
MEMCTL = shutil.which("memctl") or "memctl"
DAEMON = os.environ.get("MEMCTL_DAEMON", "")
PRELOAD = os.environ.get("MEMCTL_PRELOAD", "")
PLENTY = "4G"
ROOT = os.geteuid() == 0
SPACE = 6 * GIB  # of addresses: the belt, should a limit not hold

tests = []


class Skip(Exception):
    """A program that is not there."""


def test(title):
    def add(function):
        tests.append((title, function))
        return function
    return add


def need(*programs):
    """The paths of the programs; skips where one is missing."""
    for name in programs:
        if not shutil.which(name):
            raise Skip(name + " is missing")
    return [shutil.which(name) for name in programs]


def wait_for(what, condition):
    """The condition's first true value; the test fails after the deadline."""
    end = time.monotonic() + DEADLINE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "waited too long until " + what
        time.sleep(0.01)


def tasks(pid):
    """Name and state of each thread."""
    found = []
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/stat" % (pid, task)) as f:
                name, rest = f.read().split("(", 1)[1].rsplit(") ", 1)
                found.append((name, rest[0]))
        except FileNotFoundError:
            pass
    return found


def listens(pid):
    wait_for("its helper listens", lambda: ("memctl", "S") in tasks(pid))


def leave_room(pid, size):
    """So many more addresses: a driver on the CPU then has no more memory than that."""
    with open("/proc/%d/status" % pid) as f:
        has = [int(line.split()[1]) << 10 for line in f if line.startswith("VmSize:")][0]
    resource.prlimit(pid, resource.RLIMIT_AS, (has + size, has + size))


class Ran:
    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __str__(self):
        return "%s\nstatus %d\n--- stdout\n%s\n--- stderr\n%s" % (
            " ".join(self.argv), self.status, self.out[-2000:], self.err[-3000:])


class Ground:
    """A private directory with a runtime directory in it, perhaps another user's."""

    def __init__(self, user=None):
        self.user = user
        self.top = os.path.realpath(tempfile.mkdtemp(prefix="memctl-programs-"))
        self.work = self.top + "/work"
        os.mkdir(self.work)
        self.groups = 0
        self.memctl = MEMCTL
        self.env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "MEMCTL_GROUP", "MALLOC_CONF")}
        self.env.update(LC_ALL="C", TMPDIR=self.work, HOME=self.work, MEMCTL_DIR=self.top + "/run")
        if user:
            self.give_to_user()
        self.do("daemon", "start")

    def give_to_user(self):
        """Another user may not see the build: it gets copies."""
        entry = pwd.getpwnam(self.user)
        self.memctl = self.copy(MEMCTL)
        self.env.update(MEMCTL_DAEMON=self.copy(DAEMON), MEMCTL_PRELOAD=self.copy(PRELOAD))
        self.env.pop("LD_LIBRARY_PATH", None)
        for directory in (self.top, self.work):
            os.chown(directory, entry.pw_uid, entry.pw_gid)
        self.env["USER"] = self.env["LOGNAME"] = self.user

    def copy(self, path):
        to = shutil.copy(path, self.top)
        os.chmod(to, 0o755)
        return to

    def close(self):
        self.spawn([self.memctl, "daemon", "stop"])
        shutil.rmtree(self.top, ignore_errors=True)

    def path(self, name):
        return self.work + "/" + name

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    # ---- running -------------------------------------------------------------------------------------------------

    def options(self, env, space):
        def limit():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if space:
                resource.setrlimit(resource.RLIMIT_AS, (space, space))
        options = {"env": {**self.env, **(env or {})}, "cwd": self.work, "preexec_fn": limit,
                   "start_new_session": True}
        if self.user:
            entry = pwd.getpwnam(self.user)
            options.update(user=self.user, group=entry.pw_gid, extra_groups=[])
        return options

    def spawn(self, argv, env=None, space=SPACE, stdin=None):
        """Runs argv to its end."""
        p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, errors="replace", **self.options(env, space))
        try:
            out, err = p.communicate(stdin, timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)  # its own session, started here
            out, err = p.communicate()
            raise AssertionError("does not end: %s" % Ran(argv, -1, out, err)) from None
        return Ran(argv, p.returncode if p.returncode >= 0 else 128 - p.returncode, out, err)

    def start(self, argv, env=None, space=SPACE):
        """Starts argv with a pipe as its standard input, which keeps it alive."""
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, **self.options(env, space))

    def do(self, *words):
        ran = self.spawn([self.memctl, *words])
        assert ran.status == 0, ran
        return ran.out

    def get(self, group, key):
        return self.do("get", "-b", group, key).strip()

    def event(self, group, name):
        rows = dict(line.split() for line in self.get(group, "memory.events").splitlines())
        return int(rows[name])

    # ---- judging -------------------------------------------------------------------------------------------------

    def new_group(self):
        self.groups += 1
        return "/t%d" % self.groups

    def settled(self, group):
        """Nothing is charged any more: not to the group, not to the root."""
        for path in (group, "/"):
            wait_for("%s is empty" % path, lambda p=path: self.get(p, "memory.current") == "0")
        self.do("rm", group)

    def run_in(self, group, limit, argv, env=None, space=SPACE, stdin=None):
        return self.spawn([self.memctl, "run", "-g", group, "--keep", "--max", limit, "--", *argv], env, space, stdin)

    def same(self, argv, env=None, space=SPACE, stdin=None, status=0):
        """Plain and with plenty: the same output and status, and memctl has nothing to say."""
        group = self.new_group()
        plain = self.spawn(argv, env, space, stdin)
        assert plain.status == status, plain
        ran = self.run_in(group, PLENTY, argv, env, space, stdin)
        assert (ran.status, ran.out) == (plain.status, plain.out), "plain: %s\nin the group: %s" % (plain, ran)
        assert "memctl:" not in ran.err, ran
        assert int(self.get(group, "memory.peak")) > 0, "nothing was charged"
        assert self.event(group, "oom") == 0
        self.settled(group)
        return ran

    def refused(self, limit, argv, says, who, status=None, env=None, space=SPACE, stdin=None):
        """Under a limit that it must meet: the program says so in its own words, and memctl who it was (a pattern:
        of several programs at the limit, any may be the last that was refused)."""
        group = self.new_group()
        ran = self.run_in(group, limit, argv, env, space, stdin)
        assert ran.status != 0 if status is None else ran.status in status, ran
        assert re.search(says, ran.out + ran.err), "it does not say %r: %s" % (says, ran)
        assert re.search(r"^memctl: %s refused \d+ charges?: its memory.max is" % group, ran.err, re.M), ran
        named = re.search(r"^memctl:   (it|the last) was pid \d+( \((.*)\))?, which asked for", ran.err, re.M)
        assert named and (who is None or re.fullmatch(who, named[3] or "")), "it was not %s: %s" % (who, ran)
        self.within(group)
        self.settled(group)
        return ran

    def within(self, group):
        """The peak was below the limit, but for what could not be refused: that is counted. How much of it is touched
        between two looks is a matter of speed; here only that it does not go on and on."""
        over = int(self.get(group, "memory.peak")) - int(self.get(group, "memory.max"))
        assert over <= 0 or self.event(group, "over") > 0, "%d bytes over, uncounted" % over
        lazy = int(self.get(group, "memory.stat").split("over_lazy ")[1].split()[0])
        most = int(self.get(group, "memory.max")) if lazy else 4 << 20
        assert over <= most, "%d bytes over" % over


def compile_c(ground, name, text, *options, compiler="gcc"):
    """A program built from text: its path."""
    need(compiler)
    source = ground.write(name + (".cc" if compiler == "g++" else ".c"), text)
    ran = ground.spawn([compiler, "-O1", "-o", ground.path(name), source, *options])
    assert ran.status == 0, ran
    return ground.path(name)


def comment(text):
    for line in text.splitlines():
        print("# " + line)


def hangs(*_):
    raise AssertionError("hangs")


def main(make_ground=Ground):
    """Runs what @test collected, with one ground for all."""
    print("1..%d" % len(tests), flush=True)
    signal.signal(signal.SIGALRM, hangs)
    failed = 0
    ground = make_ground()
    try:
        for i, (title, function) in enumerate(tests, 1):
            begin = time.monotonic()
            signal.alarm(HANGS)
            try:
                function(ground)
                print("ok %d - %s" % (i, title))
            except Skip as why:
                print("ok %d - %s # SKIP %s" % (i, title, why))
            except Exception:
                failed += 1
                print("not ok %d - %s" % (i, title))
                comment(traceback.format_exc())
            signal.alarm(0)
            comment("%.1f s" % (time.monotonic() - begin))
            sys.stdout.flush()
    finally:
        ground.close()
    return 1 if failed else 0
