#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl top at terminals of several sizes and kinds: what it shows, and what its keys do. Prints TAP."""
import contextlib
import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import REGION, DeviceGround, Program
from real_programs import Ground, main, test, wait_for
from screen import Screen

HOLD = "import sys; b = bytearray(%d << 20); print('up', flush=True); sys.stdin.read()"


@contextlib.contextmanager
def member(g, group, mib, *options):
    """A process in a group that holds so much until the end."""
    p = g.start([g.memctl, "run", "-g", group, *options, "--", sys.executable, "-c", HOLD % mib])
    assert p.stdout.readline() == "up\n"
    try:
        yield p
    finally:
        p.stdin.close()
        p.wait(60)
        p.stdout.close()
        p.stderr.close()


@contextlib.contextmanager
def top(g, *options, **how):
    s = Screen(g, [g.memctl, "top", "-d", "0.2", *options], **how)
    try:
        yield s
    finally:
        s.close()


def lines(text):
    """Group lines: those under the titles."""
    rows = text.rstrip("\n").split("\n")
    title = next((i for i, row in enumerate(rows) if row.startswith("GROUP")), len(rows))
    return [row for row in rows[title + 1:-1] if row.strip() and "Help" not in row]  # the last is the foot


def names(text):
    return [re.match(r"[|` +-]*(\S+)", row)[1] for row in lines(text)]


def in_order(text, *wanted):
    """True when all of them are there, each below the one before."""
    at = [names(text).index(name) for name in wanted if name in names(text)]
    return len(at) == len(wanted) and at == sorted(at)


@test("80x24 and 200x50: groups, bars, limits, members; nothing is cut")
def _(g):
    g.do("create", "/shop", "memory.max=64M", "memory.high=48M")
    g.do("create", "/shop/front")
    with member(g, "/shop/front", 40):
        for width, height in ((80, 24), (200, 50)):
            with top(g, width=width, height=height) as s:
                text = s.until("usage is seen", lambda t: re.search(r"front +[45]\d\.\dM", t))
                rows = text.rstrip("\n").split("\n")
                assert len(rows) == height and all(len(row) <= width for row in rows), text
                shop = next(row for row in rows if "-shop" in row)
                # 43 of 48 MiB is 90 %: near, drawn against max, with high marked
                assert "48.0M" in shop and re.search(r"\[[|#]+ *! *\]", shop), shop
                assert rows[3].startswith("heap") or rows[3].startswith("anon") or "nothing" in rows[3], rows[3]
                assert "Help" in rows[-1] and "Quit" in rows[-1], text
                titles = next(row for row in rows if row.startswith("GROUP"))
                assert ("REFUSED" in titles) == (width == 200), titles


@test("without colours: NO_COLOR and monochrome terminals show the same words")
def _(g):
    g.do("create", "/near", "memory.max=48M")
    with member(g, "/near", 38):
        def seen(**how):
            with top(g, **how) as s:
                s.until("the bar is there", lambda t: re.search(r"near .*\[[|#]+", t))
                raw = s.raw()
                return bool(re.search("\x1b\\[[0-9;]*3[0-7]", raw)), names(s.text())
        colour, with_colour = seen()
        assert colour, "no colours where there should be"
        for env in ({"NO_COLOR": "1"}, {"TERM": "vt220"}):
            colour, without = seen(env=env)
            assert not colour and without == with_colour, (env, colour, without)


@test("a terminal that cannot, and no terminal at all, are told")
def _(g):
    ran = g.spawn([g.memctl, "top"])
    assert ran.status == 1 and "memctl: top: this is no terminal" in ran.err, ran
    # the shell stays: tmux drops what a program that ends has written last
    s = Screen(g, ["sh", "-c", g.memctl + " top; read x"], width=150, env={"TERM": "dumb"})
    try:
        s.shows("(TERM=dumb) cannot show a full screen")
    finally:
        s.close()


@test("sorting, folding, flat list, filter and search")
def _(g):
    for name in ("/sort", "/sort/aa", "/sort/bb", "/sort/bb/deep", "/sort/cc"):
        g.do("create", name)
    with member(g, "/sort/bb", 30), top(g, width=100) as s:
        s.until("bb is first", lambda t: in_order(t, "bb", "aa"))
        s.keys("N")
        s.until("by name", lambda t: in_order(t, "aa", "bb"))
        s.keys("I")
        s.until("inverse", lambda t: in_order(t, "cc", "bb", "aa"))
        s.keys("I", "M")
        s.keys("/")
        s.type("sort/bb")
        s.keys("Enter")
        s.until("found", lambda t: t.split("\n")[2] == "/sort/bb")
        s.keys("Left")
        text = s.until("folded", lambda t: "deep" not in t)
        assert "+ bb" in text
        s.keys("Right")
        s.shows("deep")
        s.keys("t")
        s.shows("/sort/bb/deep ")
        s.keys("t", "f")
        s.type("deep")
        s.until("filtered", lambda t: names(t) == ["/", "sort", "bb", "deep"])
        s.keys("Escape")
        s.shows("-cc")


@test("members, and all numbers of a group")
def _(g):
    with member(g, "/crew", 20) as p, top(g, "-m", width=120) as s:
        assert p.pid
        s.until("its member is there", lambda t: re.search(r"\n +\d+ python3 ", t))
        s.keys("/")
        s.type("crew")
        s.keys("Enter", "i")
        s.shows("memory.current", "memory.events.low", "bytes that members of this group")
        s.keys("q", "m")
        s.until("no members", lambda t: "python3" not in t and "GROUP" in t)


@test("a limit is set, and a wrong one is refused with its sentence")
def _(g):
    g.do("create", "/limited")
    with top(g) as s:
        s.shows("limited")
        s.keys("/")
        s.type("limited")
        s.keys("Enter", "s")
        s.shows("Set of /limited: memory.max=")
        s.type("77M")
        s.keys("Enter")
        s.shows("77.0M")
        assert g.get("/limited", "memory.max") == str(77 << 20)
        s.keys("s")
        s.type("lots")
        s.keys("Enter")
        s.shows("is no size for memory.max")
        assert g.get("/limited", "memory.max") == str(77 << 20)


@test("kill asks first: n does nothing, y does")
def _(g):
    with member(g, "/victim", 10) as p, top(g) as s:
        s.shows("victim")
        s.keys("/")
        s.type("victim")
        s.keys("Enter", "k")
        s.shows("Signal for /victim: TERM")
        s.keys("Enter")
        s.shows("Send SIGTERM to 1 member of /victim? (y/n)")
        s.keys("n")
        s.shows("nothing was done")
        assert p.poll() is None
        s.keys("k", "C-u")
        s.type("kill")
        s.keys("Enter")
        s.shows("Send SIGKILL to 1 member")
        s.keys("y")
        s.shows("1 member of /victim got SIGKILL")
        wait_for("it has ended", lambda: p.poll() is not None)
        assert p.returncode == 128 + signal.SIGKILL, p.returncode


@test("reclaim asks first, and says what came back")
def _(g):
    free = "x = [bytearray(1 << 16) for i in range(640)]; del x; " + HOLD % 1
    p = g.start([g.memctl, "run", "-g", "/giver", "--", sys.executable, "-c", free], {"MALLOC_CONF": "dirty_decay_ms:-1"})
    assert p.stdout.readline() == "up\n"
    with top(g) as s:
        s.shows("giver")
        s.keys("/")
        s.type("giver")
        s.keys("Enter", "r")
        s.shows("Size to take from /giver: max")
        s.keys("C-u")
        s.type("8M")
        s.keys("Enter")
        s.shows("Take 8M from /giver? (y/n)")
        s.keys("y")
        s.shows("/giver gave ")
    p.communicate("", timeout=60)


@test("it follows the size of its terminal")
def _(g):
    with top(g) as s:
        s.shows("Quit")
        for width, height in ((132, 40), (60, 10), (30, 5), (80, 24)):
            s.resize(width, height)
            if width < 40:
                s.shows("too small")
                continue
            text = s.until("it has the new size", lambda t, h=height: "Help" in t.rstrip("\n").split("\n")[-1]
                           and "GROUP" in t and len(t.rstrip("\n").split("\n")) == h)
            assert all(len(row) <= width for row in text.split("\n")), text


@test("device regions: what a group holds of each, its limit, and all their keys")
def _(g):
    device = DeviceGround()
    try:
        device.fresh(devices=2)
        device.do("create", "/gpu", "dmem.max=all 256M")
        p = Program(device, "/gpu").begin()
        p.keep("alloc 64M")
        second = Program(device, "/other").begin(1)
        second.keep("alloc 32M")
        for width, regions in ((80, 2), (200, 2)):
            with top(device, "-m", width=width) as s:
                s.shows("gpu")
                s.keys("/")
                s.type("gpu")
                s.keys("Enter")
                text = s.until("its region is shown", lambda t: "64.0M of 256M" in t)
                row = text.split("\n")[2]
                assert row.startswith("/gpu ") and row.rstrip().endswith("0B of 256M") and row.count(" of ") == regions, row
                assert REGION[:17] in row and len(row) <= width, row
                s.keys("i", *["NPage"] * 9)
                s.shows("/vram.full.total")
        second.end()
        p.end()
    finally:
        device.close()


@test("a group in which nothing is left to see: the chosen one goes, the bar stays on the list")
def _(g):
    g.do("create", "-p", "/goes/inner")
    with top(g) as s:
        s.shows("inner")
        s.keys("/")
        s.type("inner")
        s.keys("Enter")
        s.until("found", lambda t: t.split("\n")[2] == "/goes/inner")
        g.do("rm", "-r", "/goes")
        text = s.until("it has gone", lambda t: "goes" not in t)
        assert text.split("\n")[2].startswith("/"), text


@test("pause, another delay, a list at once, and an end after so many looks")
def _(g):
    g.do("create", "-p", "/calm/inner")
    with top(g, "-l", width=100) as s:
        s.shows("/calm/inner ")
        s.keys("z")
        s.shows("PAUSED")
        g.do("create", "/calm/newer")
        s.keys("z")
        s.shows("/calm/newer")
    ended = Screen(g, [g.memctl, "top", "-d", "0.1", "-n", "2"])
    try:
        wait_for("it has ended", ended.is_over)
    finally:
        ended.close()


@test("the daemon's end and its successor")
def _(g):
    g.do("create", "/stays")
    with top(g) as s:
        s.shows("stays")
        g.do("daemon", "stop")
        text = s.shows("no daemon runs here now")
        assert "stays" in text, text
        g.do("daemon", "start")
        g.do("create", "/later")
        text = s.shows("later")
        assert "no daemon" not in text
        s.keys("q")
        wait_for("it has ended", s.is_over)


sys.exit(main(Ground))
