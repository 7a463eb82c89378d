#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyTorch in a group with a limit on the device, with each of its allocators: what it reserves is charged, its own
out-of-memory error is what it gets at the limit and it goes on after it; and tensors that two processes share."""
import importlib.util
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import MIB  # noqa: E402
from gpu_ground import GpuGround  # noqa: E402
from real_programs import Skip, main, test, tests  # noqa: E402

ALLOCATORS = {"the caching allocator": "", "expandable segments": "expandable_segments:True",
              "cudaMallocAsync": "backend:cudaMallocAsync"}

PROGRAM = """
import json, torch
torch.cuda.init()
torch.zeros(1, device="cuda")
kept = [torch.zeros(32 << 20, dtype=torch.uint8, device="cuda") for _ in range(4)]
free, total = torch.cuda.mem_get_info()
try:
    kept.append(torch.zeros(16 << 30, dtype=torch.uint8, device="cuda"))
    refused = ""
except torch.cuda.OutOfMemoryError as e:
    refused = type(e).__name__
del kept[0]
kept.append(torch.ones(32 << 20, dtype=torch.uint8, device="cuda"))
torch.cuda.synchronize()
print(json.dumps({"refused": refused, "total": total, "sum": int(kept[-1].sum()), "reserved": torch.cuda.memory_reserved()}),
      flush=True)
input()
"""

SHARING = """
import os, torch, torch.multiprocessing as mp
def child(q, done):
    t = q.get()
    t += 1
    torch.cuda.synchronize()
    done.put(int(t[0]))
    del t
if __name__ == "__main__":
    mp.set_start_method("spawn")
    q, done = mp.Queue(), mp.Queue()
    p = mp.Process(target=child, args=(q, done))
    p.start()
    t = torch.zeros(64 << 20, dtype=torch.uint8, device="cuda")
    q.put(t)
    print(done.get(timeout=120), int(t[0]), flush=True)
    p.join()
"""


def need_torch(g):
    if g.reason:
        raise Skip(g.reason)
    if not importlib.util.find_spec("torch"):
        raise Skip("PyTorch is missing")


for title, settings in ALLOCATORS.items():
    @test("PyTorch, %s" % title)
    def _(g, settings=settings):
        need_torch(g)
        group = g.group("4G")
        p = g.start([g.memctl, "run", "-g", group, "--", sys.executable, g.write("program.py", PROGRAM)],
                    {"MEMCTL_DEVICE": "on", "PYTORCH_CUDA_ALLOC_CONF": settings}, space=None)
        line = p.stdout.readline()
        assert line, p.communicate()
        told = json.loads(line)
        assert told["refused"] == "OutOfMemoryError" and told["total"] <= 4 << 30 and told["sum"] == 32 << 20, told
        region = next(iter(g.table("/", "dmem.capacity")))
        held = g.number(group, "dmem.current", region)
        assert max(told["reserved"], 128 * MIB) <= held <= 4 << 30, (told, held)
        assert p.communicate("\n", timeout=60) and p.returncode == 0
        g.region = region
        g.finish(group)


@test("PyTorch, a tensor that two processes share is charged once")
def _(g):
    need_torch(g)
    group = g.group("8G")
    ran = g.spawn([g.memctl, "run", "-g", group, "--", sys.executable, g.write("sharing.py", SHARING)], {"MEMCTL_DEVICE": "on"},
                  space=None)
    assert ran.status == 0 and ran.out == "1 1\n", ran
    g.region = next(iter(g.table("/", "dmem.capacity")))
    g.finish(group)


if os.environ.get("ONLY"):
    tests[:] = [t for t in tests if os.environ["ONLY"] in t[0]]
sys.exit(main(GpuGround))
