#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Call sites of device memory: memctl profile says who holds it. In front of a driver without a device. Prints TAP."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import MIB, OK, DeviceGround, Program  # noqa: E402
from real_programs import main, test  # noqa: E402


def devices(g, group):
    p = json.loads(g.do("profile", "--format", "json", group))
    return p, [s for s in p["stacks"] if s["kind"] == "device"]


def live(stacks):
    return sum(s["live_bytes"] for s in stacks)


def begin(g, group):
    return Program(g, group, options=("--keep", "--profile=/dev/null")).begin()


@test("device memory by call site, as long as it is held, and who called")
def _(g):
    group = g.group()
    p = begin(g, group)
    a = p.keep("alloc 64M")
    p.keep("create 32M")
    picture, stacks = devices(g, group)
    assert live(stacks) == 96 * MIB and sum(s["live_count"] for s in stacks) == 2, stacks
    assert len(stacks) == 2, stacks  # two places in the program
    for s in stacks:
        frames = [picture["frames"][i] for i in s["frames"]]
        assert "main" in [f["function"] for f in frames], frames
        assert not any("libmemctl" in f.get("module", "") for f in frames), frames
    assert p.result("free %d" % a) == OK
    picture, stacks = devices(g, group)
    assert live(stacks) == 32 * MIB and sum(s["allocated_bytes"] for s in stacks) == 96 * MIB, stacks
    p.end()


@test("what a killed program held is still told")
def _(g):
    group = g.group()
    p = begin(g, group)
    p.keep("alloc 48M")
    p.kill()
    assert live(devices(g, group)[1]) == 48 * MIB


@test("many small ones are estimated")
def _(g):
    group = g.group()
    p = begin(g, group)
    for _ in range(600):
        p.keep("alloc 64K")
    total = live(devices(g, group)[1])
    assert abs(total / (600 * 65536) - 1) < 0.3, total
    p.end()


sys.exit(main(DeviceGround))
