# SPDX-License-Identifier: MIT
"""A group with a past that has everything a plot shows: what pictures are made of."""
import sys

from real_programs import wait_for

GROUP = "/plot/a-group-with-a-rather-long-name"

# Heap, anon, shared memory; then it is refused some.
CLASSES = r"""
import mmap, sys
heap = [bytearray(1 << 16) for i in range(320)]
anon = mmap.mmap(-1, 3 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
anon[:] = b"x" * len(anon)
shared = mmap.mmap(-1, 12 << 20)
shared[:] = b"y" * len(shared)
print("up", flush=True)
sys.stdin.readline()
try:
    x = [b"x" * (1 << 20) for i in range(100)]
except MemoryError:
    x = None
    print("refused", flush=True)
sys.stdin.read()
"""


def holder(g, group):
    """A process that holds some of each class until end() of it."""
    p = g.start([g.memctl, "run", "-g", group, "--", sys.executable, "-c", CLASSES])
    assert p.stdout.readline() == "up\n"
    return p


def end(p):
    p.stdin.close()
    p.wait(60)
    p.stdout.close()
    p.stderr.close()


def make(g):
    """GROUP has its past, of which everything is recorded; g.member is its process. Once for all tests."""
    if hasattr(g, "member"):
        return
    g.do("create", "-p", GROUP, "memory.max=64M", "memory.high=56M")
    g.member = holder(g, GROUP)
    wait_for("it is recorded", lambda: "shmem" in g.spawn([g.memctl, "plot", GROUP]).out)
    g.member.stdin.write("\n")
    g.member.stdin.flush()
    assert g.member.stdout.readline() == "refused\n"
    wait_for("the refusal is recorded", lambda: "R refused" in g.do("plot", GROUP))
