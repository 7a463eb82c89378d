# SPDX-License-Identifier: MIT
"""The kernel's count: a memory cgroup of version 1 or 2, found, made, read and removed.

How far the kernel's own number can be off: memory.stat is summed up from per-CPU counts ("rstat"). A CPU hands
its changes on when there are 64 of them (MEMCG_CHARGE_BATCH; a change is a page or an event such as a page fault),
and a reader sums up only when 64 for each CPU are pending; else it prints the sums of the last time. So right after
a change the number may lack 128 pages for each CPU, 1 MiB with two. A worker sums up everything every 2 s: at rest
the number is exact 2 s after the last change. Nothing asks for it earlier. Shared and huge pages count once,
where they are mapped; what fork shares counts for the cgroup of who first wrote it."""
import errno
import os
import time

PREFIX = "memctl-oracle-"


class Unavailable(Exception):
    """No memory cgroup that this user may make: the reason."""


class Cgroup:
    """One directory of ours below a place where cgroups may be made. Subclasses know the names."""

    def __init__(self, place, name):
        self.path = os.path.join(place, PREFIX + name)
        os.mkdir(self.path)

    def add(self, pid):
        with open(self.path + "/cgroup.procs", "w") as f:
            f.write(str(pid))

    def pids(self):
        with open(self.path + "/cgroup.procs") as f:
            return [int(line) for line in f]

    def stat(self):
        with open(self.path + "/memory.stat") as f:
            return {name: int(value) for name, value in (line.split() for line in f)}

    def swap(self):
        return 0

    def close(self):
        """Its last process may still be on its way out."""
        end = time.monotonic() + 10
        while True:
            try:
                os.rmdir(self.path)
                return
            except OSError as e:
                if e.errno != errno.EBUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)


class Version1(Cgroup):
    def counts(self):
        """Bytes of anonymous memory and of shmem; total_: with what the program makes below, should it."""
        stat = self.stat()
        return stat["total_rss"], stat["total_shmem"]

    def swap(self):
        return self.stat().get("total_swap", 0)


class Version2(Cgroup):
    def counts(self):
        stat = self.stat()
        return stat["anon"], stat["shmem"]

    def swap(self):
        try:
            with open(self.path + "/memory.swap.current") as f:
                return int(f.read())
        except FileNotFoundError:  # a kernel without swap accounting
            return 0


# ---- finding a place ---------------------------------------------------------------------------------------------

def mounts(mountinfo):
    """(type, root, where, options) of every mount of a cgroup hierarchy."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, last = left.split(), right.split()
        if last and last[0] in ("cgroup", "cgroup2"):
            yield last[0], fields[3], fields[4], last[2].split(",")


def memberships(text):
    """controllers -> path, as /proc/self/cgroup has them; version 2 is ''."""
    rows = (line.split(":", 2) for line in text.splitlines())
    return {name: path for _, controllers, path in rows for name in controllers.split(",")}


def downward(root, where, path):
    """The mount's own directory and those below, to the one of path. From the top: a cgroup of systemd's or a
    container's is its maker's alone."""
    inside = os.path.relpath(path, root) if path.startswith(root) else "."
    place = where
    yield place
    for name in inside.split("/"):
        if name not in (".", ".."):
            place = os.path.join(place, name)
            yield place


def has_counts(version, place):
    """Whether a cgroup made there has memory.stat; says why not."""
    try:
        trial = version(place, "trial-%d" % os.getpid())
    except OSError as e:
        return "%s: %s" % (place, e.strerror)
    try:
        trial.counts()
    except (OSError, KeyError) as e:
        return "%s: %s" % (place, "no memory controller" if isinstance(e, OSError) else "no field %s" % e)
    finally:
        trial.close()
    return None


def find(mountinfo=None, membership=None):
    """(version, place): where this user may make memory cgroups. Nothing there is changed: version 2 does
    not hand the controller down everywhere."""
    mountinfo = mountinfo or open("/proc/self/mountinfo").read()
    mine = memberships(membership or open("/proc/self/cgroup").read())
    why = []
    for kind, root, where, options in mounts(mountinfo):
        if kind == "cgroup" and "memory" not in options:
            continue
        version, name = (Version1, "memory") if kind == "cgroup" else (Version2, "")
        for place in downward(root, where, mine.get(name, "/")):
            problem = has_counts(version, place)
            if not problem:
                return version, place
            why.append(problem)
    raise Unavailable("; ".join(why) or "no memory cgroup is mounted")
