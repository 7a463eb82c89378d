#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shared memory of real processes: every kind counts once, for the first user's group, and as the kernel counts it.

Everything is done by the user who runs the tests, and by nobody where that is root: who has no privilege learns the
size of an object in other ways."""
import contextlib
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from real_programs import ROOT, Ground, Skip, compile_c, main, test, wait_for  # noqa: E402

MIB = 1 << 20
PYTHON = "/usr/bin/python3"
SHM = "/dev/shm"
OWN = 64 * MIB  # what a Python takes beside, at most
NOISE = 64 << 10  # per-CPU parts that the kernel adds up late, and pages of our segment
KERNEL = "/sys/fs/cgroup/memory"  # version 1: the file system says shmem there since 4.11

# A member: does what it reads, a line each, and says when it has done it.
MEMBER = """
import ctypes, os, sys, time
MIB = 1 << 20
SHARED, PRIVATE, ANONYMOUS, REMOVE, REMAP = 1, 2, 32, 9, 0o40000
libc = ctypes.CDLL(None, use_errno=True)
size, address, number = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
def function(name, result, *arguments):
    f = getattr(libc, name)
    f.restype, f.argtypes = result, arguments
    def call(*values):
        answer = f(*values)
        assert answer not in (-1, address(-1).value), name + ": " + os.strerror(ctypes.get_errno())
        return answer
    return call
mmap = function("mmap", address, address, size, number, number, number, ctypes.c_long)
munmap = function("munmap", number, address, size)
madvise = function("madvise", number, address, size, number)
shmget = function("shmget", number, number, size, number)
shmat = function("shmat", address, number, address, number)
shmdt = function("shmdt", number, address)
shmctl = function("shmctl", number, number, number, address)
memset = function("memset", address, address, number, size)
def share(fd, mib, flags=SHARED):
    return mmap(None, mib * MIB, 3, flags, fd, 0)
def anonymous(mib):
    return share(-1, mib, SHARED | ANONYMOUS)
def touch(p, mib, first=0):
    memset(p + first * MIB, 1, mib * MIB)
def punch(p, mib):
    madvise(p, mib * MIB, REMOVE)
def segment(mib):
    return shmget(0, mib * MIB, 0o1600)
def file(path, mib):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, mib * MIB)
    return fd
def memfd(mib):
    fd = os.memfd_create("test")
    os.ftruncate(fd, mib * MIB)
    return fd
def child(code):
    began, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        code()
        os.write(done, b"x")
        time.sleep(1000)
    assert os.read(began, 1) == b"x"
    return pid
def end(pid):
    os.kill(pid, 9)
    os.waitpid(pid, 0)
print(os.getpid(), flush=True)
for line in sys.stdin:
    exec(line)
    print("ok", flush=True)
"""


class Member:
    def __init__(self, ground, group, cgroup=None):
        argv = [ground.memctl, "run", "-g", group, "--keep", "--", PYTHON, "-c", MEMBER]
        if cgroup:
            argv = ["sh", "-c", "echo $$ > %s/cgroup.procs && exec \"$@\"" % cgroup, "sh", *argv]
        self.process = ground.start(argv)
        self.pid = int(self.process.stdout.readline())

    def do(self, *lines):
        for line in lines:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            assert answer == "ok\n", (line, answer, self.process.stderr.read())

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class Stage:
    """Groups and members of one test; at its end all of them have gone, and nothing is charged."""

    def __init__(self, ground):
        self.ground = ground
        self.members, self.groups, self.paths = [], [], []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for m in self.members:
            m.end()
        for path in self.paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for group in self.groups:
            if kind is None:
                self.ground.settled(group)

    def group(self):
        self.groups.append(self.ground.new_group())
        self.ground.do("create", self.groups[-1])
        return self.groups[-1]

    def member(self, group, cgroup=None):
        self.members.append(Member(self.ground, group, cgroup))
        return self.members[-1]

    def path(self):
        """A name on a tmpfs."""
        kind = subprocess.run(["stat", "-fc", "%T", SHM], capture_output=True, text=True, check=False).stdout
        if kind != "tmpfs\n":
            raise Skip("no tmpfs on " + SHM)
        self.paths.append("%s/memctl-shared-%d-%d" % (SHM, os.getpid(), len(self.paths)))
        return self.paths[-1]

    def shmem(self, group):
        rows = dict(line.split() for line in self.ground.get(group, "memory.stat").splitlines())
        return int(rows["shmem"])

    def expect(self, group, mib):
        """The group is charged for so much shared memory, to the page."""
        wait_for("%s has %g MiB of shared memory" % (group, mib), lambda: self.shmem(group) == mib * MIB)
        current = int(self.ground.get(group, "memory.current"))
        assert mib * MIB <= current < mib * MIB + OWN, "charged are %d bytes" % current


class Users:
    """A ground of our own, and one of nobody's."""

    def __init__(self):
        self.grounds = {None: Ground()}
        if ROOT:
            self.grounds["nobody"] = Ground(user="nobody")

    def close(self):
        for ground in self.grounds.values():
            ground.close()


def both(title):
    """A test for each user."""
    def add(function):
        for user in [None, "nobody"] if ROOT else [None]:
            def run(users, user=user):
                with Stage(users.grounds[user]) as stage:
                    function(stage)
            test(title + (", without privilege" if user else ""))(run)
        return function
    return add


# ---- kinds -----------------------------------------------------------------------------------------------------

def grows_and_ends(stage, *make, end="munmap(p, 32 * MIB)"):
    """Made, touched in parts, a hole punched, ended."""
    group = stage.group()
    m = stage.member(group)
    m.do(*make)
    stage.expect(group, 0)
    m.do("touch(p, 3)")
    stage.expect(group, 3)
    m.do("touch(p, 17, 3)")
    stage.expect(group, 20)
    m.do("punch(p, 5)")
    stage.expect(group, 15)
    m.do(end)
    stage.expect(group, 0)


@both("shared anonymous memory")
def _(stage):
    grows_and_ends(stage, "p = anonymous(32)")


@both("less than is granted without being charged")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("p = mmap(None, MIB // 2, 3, SHARED | ANONYMOUS, -1, 0)", "memset(p, 1, MIB // 4)")
    stage.expect(group, 0.25)


@both("/dev/zero")
def _(stage):
    grows_and_ends(stage, "fd = os.open('/dev/zero', os.O_RDWR)", "p = share(fd, 32)", "os.close(fd)")


@both("a memfd")
def _(stage):
    grows_and_ends(stage, "fd = memfd(32)", "p = share(fd, 32)")


@both("a memfd that nobody has open")
def _(stage):
    grows_and_ends(stage, "fd = memfd(32)", "p = share(fd, 32)", "os.close(fd)")


@both("a memfd that grows")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("fd = memfd(2)", "p = share(fd, 2)", "touch(p, 2)")
    stage.expect(group, 2)
    m.do("os.ftruncate(fd, 8 * MIB)", "q = share(fd, 8)", "touch(q, 8)")
    stage.expect(group, 8)
    m.do("os.ftruncate(fd, 3 * MIB)")
    stage.expect(group, 3)


@both("a file on a tmpfs")
def _(stage):
    grows_and_ends(stage, "fd = file(%r, 32)" % stage.path(), "p = share(fd, 32)", "os.close(fd)")


@both("a file on a tmpfs without a name")
def _(stage):
    path = stage.path()
    grows_and_ends(stage, "fd = file(%r, 32)" % path, "p = share(fd, 32)", "os.unlink(%r)" % path)


@both("a System V segment")
def _(stage):
    grows_and_ends(stage, "id = segment(32)", "p = shmat(id, None, 0)", "shmctl(id, 0, None)", end="shmdt(p)")


@both("a System V segment removed while it is attached")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("id = segment(32)", "p = shmat(id, None, 0)", "touch(p, 4)", "shmctl(id, 0, None)", "touch(p, 6, 4)")
    stage.expect(group, 10)


@both("a segment that takes the place of private memory")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("p = share(-1, 32, PRIVATE | ANONYMOUS)", "touch(p, 32)", "id = segment(32)", "shmat(id, p, REMAP)",
         "shmctl(id, 0, None)", "touch(p, 4)")
    stage.expect(group, 4)


@both("and what it replaces is given back, where charged is what is asked for")
def _(stage):
    group = stage.group()
    stage.ground.do("set", group, "memory.charge=commit")
    m = stage.member(group)
    m.do("p = share(-1, 32, PRIVATE | ANONYMOUS)", "id = segment(32)")
    before = int(stage.ground.get(group, "memory.current"))
    m.do("shmat(id, p + 5, REMAP | 0o20000)", "shmctl(id, 0, None)")  # rounded down
    assert int(stage.ground.get(group, "memory.current")) <= before - 31 * MIB, before
    m.do("share(-1, 8, PRIVATE | ANONYMOUS)")
    before = int(stage.ground.get(group, "memory.current"))
    m.do("libc.shmat(-1, p, REMAP)", "libc.shmat(id, p + 5, REMAP)")  # refused, both
    assert int(stage.ground.get(group, "memory.current")) >= before, before


@both("a file on a disk is not shared memory")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("fd = file(%r, 8)" % stage.ground.path("disk"), "p = share(fd, 8)", "touch(p, 8)", "q = anonymous(2)",
         "touch(q, 2)")
    kind = subprocess.run(["stat", "-fc", "%T", stage.ground.work], capture_output=True, text=True, check=False).stdout
    if kind == "tmpfs\n":
        raise Skip("temporary files lie on a tmpfs")
    stage.expect(group, 2)


# ---- once, and by whom -----------------------------------------------------------------------------------------

@both("two mappings in one process count once")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("fd = memfd(8)", "p = share(fd, 8)", "q = share(fd, 8)", "touch(p, 5)", "touch(q, 8)")
    stage.expect(group, 8)
    m.do("munmap(p, 8 * MIB)")
    stage.expect(group, 8)


@both("a private mapping makes a user too; its copies are its own")
def _(stage):
    path = stage.path()
    owner, user = stage.group(), stage.group()
    m, n = stage.member(owner), stage.member(user)
    m.do("fd = file(%r, 8)" % path, "p = share(fd, 8)", "touch(p, 8)")
    stage.expect(owner, 8)
    n.do("q = anonymous(1)", "fd = file(%r, 8)" % path, "p = share(fd, 8, PRIVATE)", "memset(p, 2, 4 * MIB)")
    stage.expect(owner, 8)
    wait_for("copies are charged", lambda: int(stage.ground.get(user, "memory.current")) >= 4 * MIB)
    m.end()
    wait_for("it has passed on", lambda: stage.shmem(user) == 8 * MIB)


@both("a forked child inherits; what it touches outlives it")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("p = anonymous(32)", "touch(p, 2)", "pid = child(lambda: touch(p, 6, 2))")
    stage.expect(group, 8)
    m.do("end(pid)")
    stage.expect(group, 8)


@both("also when it ended before anybody looked at it")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("p = anonymous(32)", "touch(p, 2)")
    stage.expect(group, 2)

    def is_told():  # not by each: when others have told just before, nobody is asked for some milliseconds
        m.do("""exec("if os.fork() == 0:\\n touch(p, 6, 2)\\n libc.exit(0)\\nos.wait()")""")
        return stage.shmem(group) == 8 * MIB

    wait_for("a child has told of what it touched", is_told)
    stage.expect(group, 8)
    m.do("punch(p, 2)")
    stage.expect(group, 6)


@both("what was known of it stays when nobody can be asked any more")
def _(stage):
    path = stage.path()
    group = stage.group()
    m = stage.member(group)
    m.do("fd = file(%r, 32)" % path, "p = share(fd, 32)", "os.pwrite(fd, b'x' * MIB, 20 * MIB)", "touch(p, 2)",
         "pid = child(lambda: (touch(p, 6, 2), os.close(fd)))", "end(pid)")
    stage.expect(group, 9)
    m.do("os.unlink(%r)" % path, "os.close(fd)")
    for _ in range(20):  # the daemon asks again every few milliseconds
        m.do("time.sleep(0.005)")
        stage.expect(group, 9)


@both("a private mapping of a file on a tmpfs alone")
def _(stage):
    path = stage.path()
    group = stage.group()
    m = stage.member(group)
    m.do("fd = file(%r, 8)" % path, "os.pwrite(fd, b'x' * 5 * MIB, 0)")
    stage.expect(group, 0)
    m.do("p = share(fd, 8, PRIVATE)")
    stage.expect(group, 5)


@both("the first user's group pays; then the other's")
def _(stage):
    path = stage.path()
    first, second = stage.group(), stage.group()
    m = stage.member(first)
    m.do("fd = file(%r, 16)" % path, "p = share(fd, 16)", "touch(p, 4)")
    stage.expect(first, 4)
    n = stage.member(second)
    n.do("fd = file(%r, 16)" % path, "p = share(fd, 16)", "touch(p, 12)")
    stage.expect(first, 12)
    stage.expect(second, 0)
    m.end()
    stage.expect(second, 12)
    stage.expect(first, 0)
    o = stage.member(first)
    o.do("fd = file(%r, 16)" % path, "p = share(fd, 16)")
    n.do("munmap(p, 16 * MIB)")
    stage.expect(first, 12)
    stage.expect(second, 0)


@both("it passes on when who pays executes another program")
def _(stage):
    path = stage.path()
    first, second = stage.group(), stage.group()
    m, n = stage.member(first), stage.member(second)
    m.do("fd = file(%r, 16)" % path, "p = share(fd, 16)", "touch(p, 4)")
    stage.expect(first, 4)
    n.do("fd = file(%r, 16)" % path, "p = share(fd, 16)")
    m.process.stdin.write("os.execvp('sleep', ['sleep', '1000'])\n")
    m.process.stdin.flush()
    stage.expect(second, 4)
    wait_for("%s pays no more" % first, lambda: stage.shmem(first) == 0)


@both("what the daemon forgot it finds again")
def _(stage):
    group = stage.group()
    m = stage.member(group)
    m.do("p = anonymous(32)", "touch(p, 8)", "id = segment(4)", "q = shmat(id, None, 0)", "shmctl(id, 0, None)",
         "touch(q, 4)")
    stage.expect(group, 12)
    with open(stage.ground.top + "/run/memctld.pid") as f:
        os.kill(int(f.read()), signal.SIGKILL)
    stage.ground.do("daemon", "start")
    stage.expect(group, 12)


@both("who cannot be preloaded")
def _(stage):
    program = compile_c(stage.ground, "static", STATIC, "-static")
    group = stage.group()
    process = stage.ground.start([stage.ground.memctl, "run", "-g", group, "--keep", "--", program])
    try:
        assert process.stdout.readline() == "ready\n"
        wait_for("its shared memory is seen", lambda: stage.shmem(group) == 8 * MIB)
    finally:
        process.communicate("")


STATIC = """
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
int main(void)
{
	memset(mmap(0, 16 << 20, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 1, 8 << 20);
	puts("ready");
	fflush(stdout);
	return getchar() == EOF ? 0 : 1;
}
"""


# ---- the kernel's number ---------------------------------------------------------------------------------------

@contextlib.contextmanager
def kernel_group():
    path = "%s/memctl-shared-%d" % (KERNEL, os.getpid())
    if not ROOT or not os.path.exists(KERNEL + "/memory.stat"):
        raise Skip("no memory controller of version 1 that we may use")
    os.mkdir(path)
    try:
        yield path
    finally:
        wait_for("the kernel's group is empty", lambda: remove(path))


def remove(path):
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return not os.path.exists(path)


def kernels(path):
    with open(path + "/memory.stat") as f:
        return int(dict(line.split() for line in f)["shmem"])


@test("all kinds together: the kernel has the same number")
def _(users):
    with kernel_group() as cgroup:
        with Stage(users.grounds[None]) as stage:
            group = stage.group()
            m = stage.member(group, cgroup)
            before = kernels(cgroup)  # pages of our own segment
            m.do("a = anonymous(16)", "touch(a, 5)", "fd = memfd(16)", "b = share(fd, 16)", "touch(b, 6)",
                 "id = segment(16)", "c = shmat(id, None, 0)", "shmctl(id, 0, None)", "touch(c, 7)",
                 "fe = file(%r, 16)" % stage.path(), "d = share(fe, 16)", "touch(d, 8)", "os.pwrite(fd, b'x' * MIB, 10 * MIB)",
                 "punch(a, 2)", "punch(d, 3)")
            stage.expect(group, 22)
            assert abs(kernels(cgroup) - before - 22 * MIB) <= NOISE, kernels(cgroup) - before


sys.exit(main(Users))
