# SPDX-License-Identifier: MIT
"""Every sample of a run as a line of a table, with what else is known then: for finding causes."""
import os

FIELDS = ("RssAnon", "RssShmem", "Pss_Anon", "Pss_Shmem", "Private_Dirty", "AnonHugePages", "LazyFree")


def rollup(pid):
    """Bytes by field, of one process; nothing where it has just ended."""
    found = {}
    for name in "status", "smaps_rollup":
        try:
            with open("/proc/%d/%s" % (pid, name)) as f:
                for line in f:
                    key, _, value = line.partition(":")
                    if key in FIELDS:
                        found[key] = int(value.split()[0]) << 10
        except (OSError, ValueError):
            pass
    return found


class Trace:
    def __init__(self, path):
        self.file = open(path, "w", buffering=1)
        self.heading = False

    def add(self, run, sample):
        anon, shmem = run.cgroup.counts()
        rows = {"s": "%.2f" % sample.at, "step": sample.step.replace(" ", "_") or "-", "kernel": sample.high,
                "anon": anon, "shmem": shmem, "memctl": sample.ours, "diff": sample.difference}
        pids = run.cgroup.pids()
        rows["pids"] = len(pids)
        processes = [rollup(pid) for pid in pids]
        rows.update({key: sum(p.get(key, 0) for p in processes) for key in FIELDS})
        stat = run.client.get(run.group, "memory.stat")["memory.stat"]
        lines = stat.items() if isinstance(stat, dict) else (line.split()[:2] for line in stat.splitlines())
        rows.update({"mc." + name: value for name, value in lines})
        if not self.heading:
            print(*rows, sep="\t", file=self.file)
            self.heading = True
        print(*rows.values(), sep="\t", file=self.file)
        if os.environ.get("ORACLE_SMAPS") and abs(sample.difference) > 2 << 20:
            for pid in pids:
                self.smaps(pid)

    def smaps(self, pid):
        try:
            with open("/proc/%d/smaps" % pid) as f:
                print("# smaps of %d\n# %s" % (pid, f.read().replace("\n", "\n# ")), file=self.file)
        except OSError:
            pass

    def close(self):
        self.file.close()
