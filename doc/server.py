# SPDX-License-Identifier: MIT
"""A server for the tutorial: a cache that grows, buffers that are shared, and work that comes and goes.
server.py CACHE SHARED WORK: MiB of each, at most."""
import mmap
import random
import sys
import time

CACHE, SHARED, WORK = (int(word) for word in (sys.argv[1:] + ["48", "12", "16"][len(sys.argv) - 1:]))
cache = []
shared = mmap.mmap(-1, SHARED << 20)
random.seed(7)
for second in range(100000):
    begin = second * 4096 * 64 % len(shared)
    shared[begin:begin + 4096 * 64] = b"s" * (4096 * 64)
    try:
        if len(cache) < 16 * CACHE:
            cache += [b"c" * 65000 for entry in range(24)]
        work = mmap.mmap(-1, random.randint(1, WORK) << 20, mmap.MAP_PRIVATE)
        work[:] = b"w" * len(work)
        answers = [b"a" * 65000 for entry in range(random.randint(0, 16 * WORK))]
        time.sleep(0.2)
        del work, answers
    except (MemoryError, OSError):
        cache = cache[len(cache) // 2:]
        print("server: refused, half of the cache is dropped", flush=True)
