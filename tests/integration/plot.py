#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl plot: text, SVG and PNG of the same past, looked at for what is cut, overlaps or is missing. Prints TAP."""
import itertools
import os
import re
import sys
import unicodedata
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from past import GROUP, end, make
from pixels import read_png
from real_programs import Ground, main, test, wait_for

LETTER = 7.25


def width_of(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@test("text: at 80 and 200 columns, blocks and letters; no line is too long, all is named")
def _(g):
    make(g)
    for width, locale in itertools.product((80, 200), ("C", "C.UTF-8")):
        ran = g.spawn([g.memctl, "plot", GROUP, "--width", str(width)], {"LC_ALL": locale})
        assert ran.status == 0, ran
        lines = ran.out.splitlines()
        assert max(map(width_of, lines)) <= width, ran.out
        assert 14 <= len(lines) <= 24, ran.out
        for word in (GROUP, "memory.max 64M", "memory.high 56M", "heap", "shmem", "events", "R refused", "64M"):
            assert word in ran.out, (word, ran.out)
        fill = "h", "s" if locale == "C" else "\u2588"
        assert any(c in ran.out for c in fill)
        assert locale != "C" or ran.out.isascii(), ran.out
        # the letter R stands below the axis, in the picture's columns
        marks = next(line for line in lines if line.lstrip().startswith("events"))
        assert "R" in marks[9:], marks
        # limits are in the picture, memory.max above memory.high
        high, most = ("-", "=") if locale == "C" else ("\u254c", "\u2501")
        axis = next(i for i, line in enumerate(lines) if re.match(r" +[+\u2514]", line) and "|" not in line and i > 6)
        picture = lines[1:axis]
        rows = [i for i, line in enumerate(picture) if line[9:].count(most) > 5]
        lower = [i for i, line in enumerate(picture) if line[9:].count(high) > 5]
        assert rows and lower and rows[0] <= lower[0], ran.out


def texts(svg):
    """(left, top, right, bottom, words) of all words."""
    boxes = []
    for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        x, y, words = float(t.get("x")), float(t.get("y")), t.text
        w = len(words) * LETTER
        x -= {"start": 0, "middle": w / 2, "end": w}[t.get("text-anchor")]
        boxes.append((x, y - 10, x + w, y + 3, words))
    return boxes


@test("SVG: well-formed; no words overlap or are cut, from 640 to 1600 pixels")
def _(g):
    make(g)
    for width, height in ((640, 300), (960, 360), (1600, 500)):
        svg = g.do("plot", GROUP, "--svg", "--width", str(width), "--height", str(height))
        boxes = texts(svg)
        for a in boxes:
            assert a[0] >= 0 and a[1] >= 0 and a[2] <= width + 1 and a[3] <= height, (a, width, height)
        for a, b in itertools.combinations(boxes, 2):
            assert a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] or b[3] <= a[1], (a, b, width)
        words = " ".join(b[4] for b in boxes)
        for word in ("heap", "shmem", "memory.max", "memory.high", "R refused", "R"):
            assert word in words, (word, words)
        fills = set(re.findall(r'fill="url\(#(\w+)\)"', svg))
        assert {"heap", "shmem"} <= fills, fills
        assert "stroke-dasharray" in svg, "memory.high can be told from memory.max by colour alone"


@test("PNG: nothing touches the border; classes differ without colour")
def _(g):
    make(g)
    for width, height in ((640, 300), (1600, 500)):
        path = g.path("p.png")
        g.do("plot", GROUP, "-o", path, "--width", str(width), "--height", str(height))
        with open(path, "rb") as f:
            rows = read_png(f.read())
        assert (len(rows[0]), len(rows)) == (width, height)
        border = rows[:4] + rows[-4:] + [row[:4] + row[-4:] for row in rows]
        assert all(p == (255, 255, 255) for row in border for p in row), "something is cut at the border"
        greys = {round((r * 3 + g_ * 6 + b) / 100) for row in rows for r, g_, b in row}
        assert len(greys) > 8, greys
        coloured = sum(abs(r - b) > 20 for row in rows for r, g_, b in row)
        assert coloured > width * height // 50, "the areas are not filled"


@test("a limit far above is told, not drawn; colours only at terminals; errors in a sentence")
def _(g):
    make(g)
    g.do("create", "/far", "memory.max=64G")
    wait_for("it is recorded", lambda: g.spawn([g.memctl, "plot", "/far"]).status == 0)
    text = g.do("plot", "/far")
    assert "memory.max 64G (above the picture)" in text and "\x1b" not in text, text
    ran = g.spawn([g.memctl, "plot", "/nowhere"])
    assert ran.status == 1 and "no such group: /nowhere" in ran.err, ran
    ran = g.spawn([g.memctl, "plot", "--since", "soon", "/far"])
    assert ran.status == 2 and "is no time" in ran.err, ran
    ran = g.spawn([g.memctl, "plot", "/far", "-o", "/nowhere/p.svg"])
    assert ran.status == 1 and "cannot write" in ran.err, ran
    end(g.member)


sys.exit(main(Ground))
