# SPDX-License-Identifier: MIT
"""A program in a cgroup and in a group of memctl at once: both counts, sampled, and how far they are apart.

Only COMMAND is in the cgroup: not `memctl run`, not the daemon. A shell that runs under the preload says its pid,
waits until it was put into the cgroup, and becomes the program by exec. What the shell had the kernel counted elsewhere (a
page stays with the cgroup that first touched it) and memctl here; exec ends both. So the samples begin right after
exec, with the program's dynamic loader, whose memory counts for both. This exec is a step; later ones are one where the
kernel's number says so."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

MIB = 1 << 20
INTERVAL = 0.2
AFTER_STEP = 1.0     # s, in which samples are shown but not judged
LARGEST = 0.03       # of the kernel's number, or
LARGEST_BYTES = 2 * MIB
MEAN = 0.01          # of it, on an average; the bytes in the same proportion: 2 MiB of 67 are 3 %, 0.67 MiB are 1 %
SMALL = LARGEST_BYTES / LARGEST
FEWEST = 5           # samples that count; with fewer nothing is shown
LONGEST = 240.0      # s, of a program
SETTLED = 10.0       # s, until a group without members is empty

START = 'echo $$ >"$0.new"; mv "$0.new" "$0"; read -r go <"$1"; shift; exec "$@"'

stop = threading.Event()  # set: all that runs is ended


class Stopped(Exception):
    pass


class Client:
    """The daemon's socket."""

    def __init__(self, directory):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        self.socket.connect(directory + "/control.sock")

    def get(self, group, *keys):
        self.socket.send(json.dumps({"v": 1, "op": "get", "group": group, "keys": keys}).encode())
        answer = json.loads(self.socket.recv(1 << 16))
        if not answer["ok"]:
            raise RuntimeError("get %s: %s" % (group, answer["error"]))
        return answer["values"]

    def current(self, group):
        return int(self.get(group, "memory.current")["memory.current"])

    def close(self):
        self.socket.close()


class Sample:
    """The kernel's number just before and just after memctl's. What lies between these two is no difference."""

    def __init__(self, at, before, ours, after, step, swap=0):
        self.at, self.ours, self.step, self.swap = at, ours, step, swap
        self.low, self.high = min(before, after), max(before, after)
        self.counted = True
        self.ending = False  # somebody was about to end, and memctl's number is the lower one

    @property
    def difference(self):
        return self.ours - min(max(self.ours, self.low), self.high)

    @property
    def error(self):
        """The difference as a part of the kernel's number, or of 67 MiB where that is more."""
        return abs(self.difference) / max(self.high, SMALL)


def mark_steps(samples):
    """A step: the kernel's number changed by more than 3 % and 2 MiB since the last sample, or while this was taken.
    And an end: a process gives back what it has in its last destructor, some ms before the kernel does."""
    last, stepped = 0, 0.0
    for s in samples:
        least, most = min(last, s.low), max(last, s.high)
        if most - least > max(LARGEST * most, LARGEST_BYTES):
            stepped = s.at
        s.counted = s.at - stepped >= AFTER_STEP and not s.ending
        last = s.high


class Result:
    """What the samples of one run say."""

    def __init__(self, samples, problems):
        mark_steps(samples)
        counted = [s for s in samples if s.counted]
        self.samples, self.counted, self.problems = samples, len(counted), list(problems)
        self.peak = max((s.high for s in samples), default=0)
        self.swap = max((s.swap for s in samples), default=0)
        self.worst = max(counted, key=lambda s: s.error, default=None)
        self.worst_at_all = max(samples, key=lambda s: s.error, default=None)
        self.mean = sum(s.error for s in counted) / len(counted) if counted else 0.0
        self.mean_bytes = sum(abs(s.difference) for s in counted) / len(counted) if counted else 0.0
        self.judge()

    def judge(self):
        if self.counted < FEWEST:
            self.problems.append("only %d samples count" % self.counted)
        if self.worst and self.worst.error > LARGEST:
            self.problems.append("largest")
        if self.mean > MEAN:
            self.problems.append("mean")

    COLUMNS = "%-22s %-8s %9s %22s %15s %22s %5s  %s"

    @staticmethod
    def heading():
        return Result.COLUMNS % ("program", "THP", "peak", "largest", "mean", "largest incl. steps", "n", "verdict")

    def row(self, name, mode):
        return Result.COLUMNS % (
            name, mode, mib(self.peak), both(self.worst), "%s %5.2f%%" % (mib(self.mean_bytes), 100 * self.mean),
            both(self.worst_at_all), self.counted, ", ".join(self.problems) or "ok")

    def notes(self):
        if self.worst and self.problems:
            yield "worst at %.1f s, %r: kernel %s, memctl %s" % (
                self.worst.at, self.worst.step, mib(self.worst.high), mib(self.worst.ours))
        if self.swap:
            yield "the kernel had up to %s in swap, which is not in its number" % mib(self.swap)


def mib(size):
    return "%.2fM" % (size / MIB)


def both(sample):
    """A sample's difference in bytes and as a plain percentage of the kernel's number."""
    if not sample:
        return "-"
    share = "%+.1f%%" % (100 * sample.difference / sample.high) if sample.high > MIB else "-"
    return "%+.2fM %s" % (sample.difference / MIB, share)


def command_line(pid):
    """Empty while exec is under way, and of who has ended."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read()
    except OSError:
        return b""


def is_ending(pid):
    """Gone, or in the kernel's exit already (PF_EXITING)."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return bool(int(fields[6]) & 4)
    except OSError:
        return True


# ---- running -----------------------------------------------------------------------------------------------------

class Run:
    """One run of argv. job: a directory of its own, its user, its environment (programs.py)."""

    def __init__(self, job, cgroup, group, trace=None):
        self.job, self.cgroup, self.group, self.trace = job, cgroup, group, trace
        self.client = Client(job.ground.env["MEMCTL_DIR"])
        self.step, self.out_at = "", 0
        self.samples, self.problems = [], []

    def result(self, argv):
        self.process = self.start(argv)
        try:
            self.admit()
            self.sample_all()
            self.ended(self.process.wait())
        except Stopped as why:
            self.problems.append(str(why))
        finally:
            self.end_all()
            self.client.close()
        return Result(self.samples, self.problems)

    def start(self, argv):
        os.mkfifo(self.job.path("start.go"))
        os.chmod(self.job.path("start.go"), 0o666)
        words = [self.job.ground.memctl, "run", "-g", self.group, "--keep", "--",
                 "/bin/sh", "-c", START, self.job.path("start.pid"), self.job.path("start.go"), *argv]
        options = self.job.ground.options(self.job.env, None)
        options["cwd"] = self.job.dir
        with open(self.job.path("start.out"), "ab") as out, open(self.job.path("start.err"), "ab") as err:
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **options)

    def until(self, what, seconds, condition):
        end = time.monotonic() + seconds
        while not condition():
            if stop.is_set() or time.monotonic() > end:
                raise Stopped(what)
            time.sleep(0.005)

    def admit(self):
        """Into the cgroup, and off."""
        def gone_or(condition):
            return lambda: self.process.poll() is not None or condition()
        self.until("it does not start", 60, gone_or(lambda: os.path.exists(self.job.path("start.pid"))))
        if self.process.poll() is not None:
            raise Stopped("it does not start: " + self.said())
        with open(self.job.path("start.pid")) as f:
            pid = int(f.read())
        shell = command_line(pid)
        self.cgroup.add(pid)
        fd = os.open(self.job.path("start.go"), os.O_WRONLY)  # the shell is about to read
        os.write(fd, b"go\n")
        os.close(fd)
        self.until("it does not become the program", 60, gone_or(lambda: command_line(pid) not in (shell, b"")))
        self.begin = time.monotonic()

    def sample_all(self):
        """Until nobody is left in the cgroup."""
        due = self.begin
        while self.process.poll() is None or self.cgroup.pids():
            if stop.is_set() or time.monotonic() - self.begin > LONGEST:
                raise Stopped("it does not end")
            self.sample()
            due = max(due + INTERVAL, time.monotonic())
            stop.wait(due - time.monotonic())

    def sample(self):
        pids = self.cgroup.pids()
        before = sum(self.cgroup.counts())
        ours = self.client.current(self.group)
        after = sum(self.cgroup.counts())
        if not self.cgroup.pids():  # ended meanwhile: the end is judged by ended()
            return
        sample = Sample(time.monotonic() - self.begin, before, ours, after, self.latest_step(), self.cgroup.swap())
        self.samples.append(sample)
        if sample.difference < 0 and sample.error > MEAN:
            time.sleep(0.01)
            sample.ending = any(is_ending(pid) for pid in pids)
        if self.trace:
            self.trace.add(self, sample)

    def latest_step(self):
        """The last line '@ STEP' that the program has printed."""
        with open(self.job.path("start.out"), "rb") as f:
            f.seek(self.out_at)
            text = f.read()
        whole = text[:text.rfind(b"\n") + 1]
        self.out_at += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line.startswith("@ "):
                self.step = line[2:].strip()
        return self.step

    def ended(self, status):
        if status:
            self.problems.append("exit status %d: %s" % (status, self.said()))
        end = time.monotonic() + SETTLED
        while self.client.current(self.group) != 0:
            if time.monotonic() > end:
                self.problems.append("%s stay charged" % mib(self.client.current(self.group)))
                return
            time.sleep(0.02)

    def said(self):
        with open(self.job.path("start.err"), errors="replace") as f:
            return f.read()[-500:].strip() or "nothing on stderr"

    def end_all(self):
        """What is left in the cgroup was started here, and so was `memctl run`."""
        end = time.monotonic() + 10
        while self.cgroup.pids() and time.monotonic() < end:
            for pid in self.cgroup.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
