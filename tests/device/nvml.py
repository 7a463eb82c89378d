#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What NVML tells programs of a device's memory and of who has it: the group's share, and the driver's own answers
otherwise. In front of a driver without a device. Prints TAP."""
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import BUILD, GIB, MIB, OK, REGION, SECOND, DeviceGround, Program  # noqa: E402
from real_programs import main, test, wait_for  # noqa: E402
from told_program import ToldProgram  # noqa: E402

INVALID, UNSUPPORTED, TOO_SMALL = 2, 3, 7
UNKNOWN = 2 ** 64 - 1
NONE = 2 ** 32 - 1
VERSIONS = ("1", "2", "3", "detail")
WIDTH = {"1": 2, "2": 4, "3": 4, "3-32": 5, "detail": 5}


running = []


class Reader(ToldProgram):
    """It asks NVML."""

    def __init__(self, g, group=None, env=None):
        super().__init__(g, group, ["python3", os.path.dirname(os.path.abspath(__file__)) + "/nvml_client.py"],
                         {**g.device_env, **(env or {})})
        running.append(self)

    def rows(self, kind="compute", version="3", room=16):
        result, n, *words = self.do("list %s %s %d" % (kind, version, room))
        assert result == OK, (kind, version, result)
        width = WIDTH[version]
        assert len(words) == n * width, (n, words)
        return [words[i * width:(i + 1) * width] for i in range(n)]

    def used(self, *which):
        return {row[0]: row[1] for row in self.rows(*which)}

    def memory(self, version=1):
        result, available, total, used = self.do("memory %d" % version)
        assert result == OK
        return available, total, used


def begin(g, group, device=0, env=None):
    running.append(Program(g, group, env=env).begin(device))
    return running[-1]


def holder(g, group, size, device=0, env=None):
    """Its pid, and itself."""
    p = begin(g, group, device, env)
    p.keep("alloc " + size)
    return p.do("pid")[1], p


def finish(g, *groups):
    while running:
        running.pop().end()
    g.empty(*groups)


@test("both APIs show the same share; with dmem.view=real, the device")
def _(g):
    group = g.group("1G", devices=2, reversed=1)
    p = Program(g, group).begin()
    p.keep("alloc 256M")
    assert p.do("info") == [OK, 768 * MIB, GIB]
    assert p.do("nvml1 1") == [OK, 768 * MIB, GIB, 256 * MIB]
    assert p.do("nvml2 1") == [OK, 768 * MIB, GIB, 256 * MIB]
    assert p.do("total 0") == [OK, GIB]
    assert p.do("infonull") == [OK, GIB]
    g.do("set", group, "dmem.view=real")
    assert p.do("info") == [OK, 8 * GIB - 256 * MIB, 8 * GIB]
    assert p.do("nvml1 1") == [OK, 8 * GIB - 256 * MIB, 8 * GIB, 256 * MIB]
    p.end()
    g.empty(group)


@test("lists of processes: members have what they are charged, others what the driver says")
def _(g):
    other = g.group("1G")
    group = g.group("1G", context=300 * MIB)  # which NVML shows, and which is charged as found
    theirs, c = holder(g, other, "3M")
    first, _ = holder(g, group, "40M")
    second, b = holder(g, group, "1M")
    outside, d = holder(g, None, "8M")
    assert g.current(group) == 641 * MIB
    reader = Reader(g, group)
    for version in VERSIONS:
        rows = reader.rows("compute", version)
        assert [row[0] for row in rows] == [theirs, first, second, outside]  # the driver's order
        assert [row[1] for row in rows] == [304 * MIB, 340 * MIB, 301 * MIB, 308 * MIB], rows
        assert all(row[2:] == [NONE, NONE, 0][:len(row) - 2] for row in rows), rows
    assert reader.memory() == (GIB - 642 * MIB, GIB, 641 * MIB)  # whole blocks are free
    plain = Reader(g).used()
    assert plain == {theirs: 304 * MIB, first: 340 * MIB, second: 302 * MIB, outside: 308 * MIB}, plain
    assert Reader(g, other).used() == {**plain, theirs: 303 * MIB}
    finish(g, group, other)


@test("members' bytes add up to what is used, also small ones, and what is kept for the next request")
def _(g):
    group = g.group("1G")
    programs = [begin(g, group) for _ in range(3)]
    for i, p in enumerate(programs):
        for size in ("4K", "5000", "1", "2M", "%dM" % (i + 3)):
            p.keep("alloc " + size)
        p.result("free 4")  # 2M, of which an account keeps some
    reader = Reader(g, group)
    for version in (1, 2):
        used = reader.memory(version)[2]
        assert used == g.current(group) == sum(reader.used().values()) == 3 * (4 * 4096) + 12 * MIB, (used, reader.used())
    finish(g, group)


@test("a process that computes and draws is in both lists, with the same number; MPS's are the driver's")
def _(g):
    group = g.group("1G", context=64 * MIB)
    g.device_env["FAKE_NVML_GRAPHICS"] = "1"
    pid, p = holder(g, group, "1M")
    reader = Reader(g, group)
    for kind in ("compute", "graphics", "mps"):
        for version in VERSIONS:
            assert [row[:2] for row in reader.rows(kind, version)] == [[pid, 65 * MIB]], (kind, version)
    finish(g, group)


@test("what the driver does not tell of members is what they are charged")
def _(g):
    group = g.group("1G")
    g.device_env["FAKE_NVML_USED"] = "unknown"
    pid, p = holder(g, group, "48M")
    outside, q = holder(g, None, "8M")
    reader = Reader(g, group)
    for version in VERSIONS:
        assert [row[:2] for row in reader.rows("compute", version)] == [[pid, 48 * MIB], [outside, UNKNOWN]]
    g.do("set", group, "dmem.view=real")
    assert reader.used() == {pid: UNKNOWN, outside: UNKNOWN}
    finish(g, group)


@test("too little room, none, no place: the driver's answer")
def _(g):
    group = g.group("1G")
    programs = [holder(g, group, "1M")[1] for _ in range(3)]
    answers = []
    for reader in (Reader(g), Reader(g, group)):
        said = []
        for kind in ("compute", "graphics", "mps"):
            for version in VERSIONS:
                said += [(kind, version, room, reader.do("list %s %s %d" % (kind, version, room))[:2]) for room in (0, 1, 2)]
            said += [(kind, version, reader.do("null %s %s" % (kind, version))) for version in ("1", "2", "3")]
        answers.append(said)
    assert answers[0] == answers[1], [pair for pair in zip(*answers) if pair[0] != pair[1]]
    assert ("compute", "3", 0, [TOO_SMALL, 3]) in answers[1] and ("graphics", "1", 0, [OK, 0]) in answers[1], answers[1]
    assert ("compute", "3", [INVALID, INVALID, 4]) in answers[1], answers[1]
    assert len(reader.rows("compute", "3", 3)) == 3
    finish(g, group)


@test("a member that is listed for each of its instances has all in the first place")
def _(g):
    group = g.group("1G")
    g.device_env["FAKE_NVML_TWICE"] = "1"
    (first, _), (outside, _) = holder(g, group, "3M"), holder(g, None, "8M")
    for version in VERSIONS:
        rows = Reader(g, group).rows("compute", version)
        assert [row[:2] for row in rows] == [[first, 3 * MIB], [first, 0], [outside, 4 * MIB], [outside, 4 * MIB]], rows
    finish(g, group)


@test("a driver whose third version has longer entries")
def _(g):
    group = g.group("1G", context=64 * MIB)
    g.device_env["FAKE_NVML_V3"] = "32"
    (first, _), (second, _) = holder(g, group, "3M"), holder(g, group, "5M")
    assert g.current(group) == 136 * MIB  # contexts are found
    reader = Reader(g, group)
    for _ in range(2):
        assert reader.rows("compute", "3-32") == [[first, 67 * MIB, NONE, NONE, 0], [second, 69 * MIB, NONE, NONE, 0]]
        assert reader.used("compute", "2") == {first: 67 * MIB, second: 69 * MIB}
    finish(g, group)


@test("limits and views that change meanwhile")
def _(g):
    group = g.group("max")
    pid, p = holder(g, group, "3M")
    reader = Reader(g, group)
    driver, charged = {pid: 4 * MIB}, {pid: 3 * MIB}
    assert reader.used() == driver and reader.memory()[1] == 8 * GIB
    g.do("set", group, "dmem.max=gpu0 64M")
    assert reader.used() == charged and reader.memory() == (60 * MIB, 64 * MIB, 3 * MIB)
    g.do("set", group, "dmem.max=gpu0 2M")
    assert reader.used() == charged and reader.memory() == (0, 2 * MIB, 2 * MIB)
    g.do("set", group, "dmem.view=real")
    assert reader.used() == driver and reader.memory() == (8 * GIB - 4 * MIB, 8 * GIB, 4 * MIB)
    g.do("set", group, "dmem.view=virtual")
    assert reader.used() == charged
    g.do("set", group, "dmem.max=gpu0 max")
    assert reader.used() == driver
    finish(g, group)


@test("the view is of the group whose limit is the least: all below it are in it, those beside it are not")
def _(g):
    above = g.group("1G")
    for name in ("/a", "/b"):
        g.do("create", above + name)
    (first, a), (second, b) = holder(g, above + "/a", "3M"), holder(g, above + "/b", "5M")
    readers = [Reader(g, above + "/a"), Reader(g, above)]
    for reader in readers:
        assert reader.used() == {first: 3 * MIB, second: 5 * MIB} and reader.memory()[2] == 8 * MIB
    g.do("set", above + "/a", "dmem.max=all 512M")
    assert readers[0].used() == {first: 3 * MIB, second: 6 * MIB} and readers[0].memory()[2] == 3 * MIB
    assert readers[1].used() == {first: 3 * MIB, second: 5 * MIB}
    g.do("move", str(second), above + "/a")  # what it has stays where it was
    b.keep("alloc 1M")
    assert readers[0].used() == {first: 3 * MIB, second: MIB} and readers[0].memory()[2] == 4 * MIB
    finish(g, above + "/a", above + "/b", above)


@test("a member that was killed is in no list, and what it had is not used")
def _(g):
    group = g.group("1G")
    (first, a), (second, b) = holder(g, group, "3M"), holder(g, group, "5M")
    reader = Reader(g, group)
    os.kill(first, signal.SIGKILL)
    running.remove(a)
    a.end(128 + signal.SIGKILL)
    wait_for("it is gone", lambda: g.current(group) == 5 * MIB)
    assert reader.used() == {second: 5 * MIB} and reader.memory()[2] == 5 * MIB
    finish(g, group)


@test("what contexts take is found by the driver's own lists, whatever is shown")
def _(g):
    group = g.group("1G", context=64 * MIB, module=10 * MIB)
    p = begin(g, group)
    p.keep("alloc 3M")  # 4M of the driver's
    assert g.current(group) == 67 * MIB
    p.keep("module")
    assert g.current(group) == 78 * MIB  # and what it takes beside: by the lists that are shown it would be 67M
    reader = Reader(g, group)
    assert list(reader.used().values()) == [78 * MIB] == [reader.memory()[2]]
    finish(g, group)


@test("a device by its number, UUID and address is one, whatever order CUDA has")
def _(g):
    group = g.group("1G", devices=3, reversed=1)
    g.do("set", group, "dmem.max=%s 512M" % REGION)
    pid, p = holder(g, group, "3M", 1, {"CUDA_VISIBLE_DEVICES": "2,0,1"})
    q = begin(g, group, 2, {"CUDA_VISIBLE_DEVICES": "2,0,1"})
    q.keep("alloc 5M")
    second = q.do("pid")[1]
    assert (g.current(group), g.current(group, SECOND)) == (3 * MIB, 5 * MIB)
    reader = Reader(g, group)
    for line in ("index 2", "uuid " + REGION.split("/")[1], "address 0000:01:00.0"):
        assert reader.do(line) == [OK], line
        assert reader.used()[pid] == 3 * MIB and reader.memory()[1:] == (512 * MIB, 3 * MIB), line
    for line in ("index 1", "uuid " + SECOND.split("/")[1], "address 0000:02:00.0"):
        assert reader.do(line) == [OK], line
        assert reader.used()[second] == 5 * MIB and reader.memory()[1:] == (GIB, 5 * MIB), line
    assert reader.result("index 3") == INVALID and reader.result("uuid GPU-0") == 6
    finish(g, group)


@test("parts of a device have regions of their own; the whole, which nobody uses, is shown as it is")
def _(g):
    group = g.group("1G", devices=2, mig=1)
    g.do("set", group, "dmem.max=%s 512M" % REGION)
    first, a = holder(g, group, "3M")
    second, b = holder(g, group, "5M", 1)
    assert (g.current(group), g.current(group, SECOND)) == (3 * MIB, 5 * MIB)
    reader = Reader(g, group)
    for part, pid, total, used in ((0, first, 512 * MIB, 3 * MIB), (1, second, GIB, 5 * MIB)):
        assert reader.do("part %d" % part) == [OK]
        assert reader.memory() == (total - (used + MIB), total, used), (part, reader.memory())
        for version in VERSIONS:
            assert [row[:2] for row in reader.rows("compute", version)] == [[pid, used]], (part, version)
        assert [row[2:] for row in reader.rows("compute", "3")] == [[part + 1, 0]]
        assert reader.do("uuid MIG-" + (SECOND if part else REGION).split("/")[1][4:]) == [OK]
        assert reader.used() == {pid: used}
    assert reader.do("index 0") == [OK] and reader.result("index 1") == INVALID
    assert reader.memory() == (16 * GIB - 10 * MIB, 16 * GIB, 10 * MIB)
    assert reader.used() == {first: 4 * MIB, second: 6 * MIB}
    finish(g, group)


@test("a device that does not tell its memory: the driver's answer")
def _(g):
    group = g.group("1G")
    g.device_env["FAKE_NVML_MEMORY"] = "none"
    pid, p = holder(g, group, "3M")
    reader = Reader(g, group)
    assert reader.do("memory 1")[0] == UNSUPPORTED and reader.do("memory 2")[0] == UNSUPPORTED
    assert reader.used() == {pid: 3 * MIB}
    finish(g, group)


if __name__ == "__main__":
    sys.exit(main(DeviceGround))
