#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two processes at the limit of a device, a million allocations each: never over it, and nobody is refused what fits."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import MIB, OK, DeviceGround, Program  # noqa: E402
from real_programs import main, test  # noqa: E402

N = 1000000


def churn(pair, size):
    for p in pair:
        p.say("churn %d %s" % (N, size))
    return [p.answer() for p in pair]


@test("one of both fits, of several sizes: never over, and each gets its share")
def _(g):
    group = g.group("64M")
    pair = [Program(g, group).begin() for _ in range(2)]
    for size in ("40M", "33M", "63M"):
        for result, done, refused in churn(pair, size):
            assert result == OK and done + refused == N and done > 0, (size, done, refused)
        assert g.number(group, "dmem.peak") <= 64 * MIB and g.current(group) == 0
    for p in pair:
        p.end()
    g.empty(group)


@test("both fit, with what lies in the other's stock: nobody is refused")
def _(g):
    group = g.group("64M")
    pair = [Program(g, group).begin() for _ in range(2)]
    for size in ("32M", "1M", "4K", "8M"):
        assert churn(pair, size) == [[OK, N, 0]] * 2, size
    assert g.number(group, "dmem.peak") <= 64 * MIB and g.current(group) == 0
    for p in pair:
        p.end()
    g.empty(group)


sys.exit(main(DeviceGround))
