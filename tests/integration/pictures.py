#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every picture is drawn as its readers have it, and looked at: nothing overlaps, nothing is cut, and without colours all can
still be told apart. What was drawn stays in $MEMCTL_PICTURES, where that is set. Prints TAP."""
import itertools
import os
import re
import sys
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from past import GROUP, end, holder, make
from pixels import crop, draw_svg, grey, is_blank, read_png
from real_programs import Ground, compile_c, main, test, wait_for
from screen import Screen

SVG = "{http://www.w3.org/2000/svg}"
MONO = 0.602  # the width of DejaVu Sans Mono's letters, of its size
KEEP = os.environ.get("MEMCTL_PICTURES")

# Long names, names that XML minds, one column beside another, and a deep one.
TEMPLATES = r"""
#include <map>
#include <string>
#include <vector>
namespace warehouse {
template <class Key, class Value> struct Shelf {
	std::map<Key, std::vector<Value>> content;
	__attribute__((noinline)) void put(const Key &key, size_t n) { content[key].resize(n); }
};
}
__attribute__((noinline)) char *go_deeper(int n, std::vector<std::string> &to)
{
	if (!n) {
		to.emplace_back(6 << 20, 'x');
		return &to.back()[0];
	}
	char *p = go_deeper(n - 1, to);
	p[n]++;
	return p;
}
int main()
{
	warehouse::Shelf<std::string, std::pair<int, std::string>> shelf;
	std::vector<std::string> strings;
	for (int i = 0; i < 20; i++) {
		shelf.put("key" + std::to_string(i), 20000 + i);
		strings.emplace_back(1 << 20, 'x');
	}
	go_deeper(12, strings);
	return strings.empty();
}
"""


def keep(name):
    return KEEP and "%s/%s.png" % (KEEP, name)


def part(outer, inner, slack=0.6):
    """inner lies within outer: (left, top, right, bottom)."""
    return (outer[0] - slack <= inner[0] and outer[1] - slack <= inner[1] and inner[2] <= outer[2] + slack
            and inner[3] <= outer[3] + slack)


def apart(a, b, slack=0.6):
    return a[2] <= b[0] + slack or b[2] <= a[0] + slack or a[3] <= b[1] + slack or b[3] <= a[1] + slack


def difference(a, b):
    """How much two swatches of one size differ in black and white, 0 to 1: of a hatch, its lines."""
    pairs = [(grey(p), grey(q)) for row, other in zip(a, b) for p, q in zip(row, other)]
    return sum(abs(p - q) for p, q in pairs) / len(pairs)


# ---- flame graphs -------------------------------------------------------------------------------------------------

def frames_of(svg):
    """(box, box of the label's words or None, fill, depth) of each frame."""
    for g in ET.fromstring(svg).iter(SVG + "g"):
        rect, text = g.find(SVG + "rect"), g.find(SVG + "text")
        x, y, w, h = (float(rect.get(a)) for a in ("x", "y", "width", "height"))
        tx, ty = float(text.get("x")), float(text.get("y"))
        words = text.text or ""
        label = (tx, ty - 10, tx + 12 * MONO * len(words), ty + 3) if words else None
        yield (x, y, x + w, y + h), label, rect.get("fill"), int(g.get("data-d"))


def lightness(fill):
    return int(re.fullmatch(r"hsl\(\d+,\d+%,(\d+)%\)", fill)[1]) / 100


def look_at_flames(svg, name):
    root = ET.fromstring(svg)
    width, height = float(root.get("width")), float(root.get("height"))
    frames = list(frames_of(svg))
    labels = [label for _, label, _, _ in frames if label]
    assert len(frames) > 10 and len(labels) > 6, (len(frames), len(labels))
    for box, label, fill, _ in frames:
        assert part((10, 60, width - 10, height - 30), box), (box, width, height)
        assert not label or part(box, label, 0), "a label is wider than its frame: %s %s" % (box, label)
        assert lightness(fill) >= 0.7, "too dark for black words: " + fill
    for (a, _, _, _), (b, _, _, _) in itertools.combinations(frames, 2):
        assert apart(a, b), (a, b)
    for box, _, _, depth in frames:  # each stands on its caller
        assert not depth or any(d == depth - 1 and below[0] - 0.6 <= box[0] and box[2] <= below[2] + 0.6
                                for below, _, _, d in frames), box
    rows = draw_svg(svg, keep(name))
    assert (len(rows[0]), len(rows)) == (width, height)
    for margin in ((0, 0, 9, height), (width - 9, 0, width, height), (0, 0, width, 6), (0, height - 6, width, height)):
        assert is_blank(crop(rows, *margin)), "something is cut, or runs into the margin %s" % (margin,)
    # frames side by side have a line between them
    for (a, _, _, _), (b, _, _, _) in itertools.permutations([f for f in frames if f[0][2] - f[0][0] > 8], 2):
        if abs(a[2] - b[0]) < 0.1 and abs(a[1] - b[1]) < 0.1:
            y = round(a[3]) - 3
            edge = min(grey(rows[y][x]) for x in (round(a[2]) - 1, round(a[2]), min(round(a[2]) + 1, len(rows[0]) - 1)))
            inside = min(grey(rows[y][round(a[2]) - 4]), grey(rows[y][round(b[0]) + 2]))
            assert edge < inside - 0.08, (a, b, edge, inside)


@test("flame graph: labels within their frames, nothing overlaps or is cut, frames have lines between them")
def _(g):
    program = compile_c(g, "templates", TEMPLATES, "-g", compiler="g++")
    ran = g.spawn([g.memctl, "run", "-g", "/flames", "--keep", "--profile=" + g.path("p.json"), "--profile-rate=64K", "--", program])
    assert ran.status == 0, ran
    look_at_flames(g.do("profile", "/flames", "--format", "svg", "--by", "peak"), "flames")
    look_at_flames(g.do("profile", "/flames", "--format", "svg", "--by", "allocated"), "flames-allocated")


@test("flame graph of a difference, and of Python: the same")
def _(g):
    ran = g.spawn([g.memctl, "run", "-g", "/python", "--keep", "--profile=" + g.path("q.json"), "--", sys.executable, "-c",
                   "import mmap\ndef work(n):\n  return [bytearray(1 << 19) for i in range(n)]\nx = work(40); y = work(9)"])
    assert ran.status == 0, ran
    look_at_flames(g.do("profile", "--diff", g.path("p.json"), g.path("q.json"), "--format", "svg"), "flames-diff")


# ---- plots --------------------------------------------------------------------------------------------------------

@test("plot as SVG, drawn: margins are empty, classes differ in black and white, memory.max from memory.high")
def _(g):
    make(g)
    for width, height in ((640, 300), (1600, 300)):
        svg = g.do("plot", GROUP, "--svg", "--width", str(width), "--height", str(height))
        rows = draw_svg(svg, keep("plot-%d" % width))
        assert (len(rows[0]), len(rows)) == (width, height)
        border = ((0, 0, width, 4), (0, height - 4, width, height), (0, 0, 4, height), (width - 4, 0, width, height))
        for margin in border:
            assert is_blank(crop(rows, *margin)), "something is cut at the border %s, %d wide" % (margin, width)
        title = next(t.text for t in ET.fromstring(svg).iter(SVG + "text") if (t.text or "").startswith("now "))
        assert re.fullmatch(r"now \S+, peak [^ ,]+(, memory.max [^ ,]+(, memory.high [^ ,]+)?)?", title), title
        # between the chart's right end and the border: no words, no areas
        assert is_blank(crop(rows, width - 12, 40, width - 4, height)), "something runs out of the chart"


@test("plot's classes: any two differ in black and white")
def _(g):
    make(g)
    svg = g.do("plot", GROUP, "--svg")
    names = re.findall(r'<pattern id="(\w+)"', svg)
    assert len(names) == 6, names
    swatches = "".join('<rect x="0" y="%d" width="16" height="16" fill="url(#%s)"/>' % (16 * i, name)
                       for i, name in enumerate(names))
    defs = re.search(r"<defs>.*</defs>", svg, re.S)[0]
    rows = draw_svg('<svg xmlns="http://www.w3.org/2000/svg" width="16" height="%d">%s%s</svg>' % (
        16 * len(names), defs, swatches), keep("classes"))
    part_of = {name: crop(rows, 0, 16 * i, 16, 16 * i + 16) for i, name in enumerate(names)}
    for a, b in itertools.combinations(names, 2):
        assert difference(part_of[a], part_of[b]) > 0.07, (a, b, difference(part_of[a], part_of[b]))


@test("plot as PNG is the same picture as SVG")
def _(g):
    make(g)
    end(g.member)  # from now on its past stays as it is
    wait_for("its end is recorded", lambda: "now 0" in g.do("plot", GROUP))
    path = g.path("same.png")
    options = ("--width", "640", "--height", "300")
    drawn = g.do("plot", GROUP, "--svg", *options)  # time goes on between the two: by a part of a pixel
    g.do("plot", GROUP, "-o", path, *options)
    with open(path, "rb") as f:
        png = read_png(f.read())
    svg = draw_svg(drawn)
    assert (len(png), len(png[0])) == (len(svg), len(svg[0]))
    assert difference(png, svg) < 0.06, difference(png, svg)


# ---- top ----------------------------------------------------------------------------------------------------------

def look_at_top(s, width, height, name):
    """Its text in lines, after it was drawn and looked at."""
    text = s.text()
    rows = text.rstrip("\n").split("\n")
    assert len(rows) == height and max(map(len, rows)) <= width, text
    drawn = draw_svg(s.svg(), keep(name))
    assert is_blank(crop(drawn, 0, 0, len(drawn[0]), 6)) and is_blank(crop(drawn, 0, len(drawn) - 6, len(drawn[0]), len(drawn)))
    assert is_blank(crop(drawn, 0, 0, 6, len(drawn))), "words begin in the margin"
    return rows


def columns_of(rows):
    """Where the titles end: {title: end}, and the rows of groups."""
    at = next(i for i, row in enumerate(rows) if row.startswith("GROUP"))
    return {m[0]: m.end() for m in re.finditer(r"[A-Z]+", rows[at])}, [row for row in rows[at + 1:-1] if row.strip()]


@test("top with long names, large numbers and many members: columns stand apart at 80 and at 200, with colours and without")
def _(g):
    deep = "/" + "/".join("a-name-of-some-length-%d" % i for i in range(9))
    wide = "/w" + "x" * 61
    g.do("create", "-p", deep, "memory.max=1023G")
    g.do("create", wide, "memory.max=99M", "memory.high=98M")
    p = holder(g, wide)
    for (width, height), env in itertools.product(((80, 24), (200, 50)), ({}, {"NO_COLOR": "1"})):
        s = Screen(g, [g.memctl, "top", "-d", "0.2"], width=width, height=height, env=env)
        try:
            s.until("usage is seen", lambda t: re.search(r"x+ +[234]\d\.\dM +98\.0M", t))
            rows = look_at_top(s, width, height, "top-%d%s" % (width, "-plain" if env else ""))
            titles, groups = columns_of(rows)
            assert {"HELD", "LIMIT", "USED", "RATE", "STALL", "MEM"} <= set(titles), titles
            for row in groups:
                # a blank before each number, and each ends where its title does
                for title in ("HELD", "LIMIT", "STALL", "MEM"):
                    at = titles[title]
                    word = re.search(r"\S+$", row[:at])
                    assert word and (len(row) <= at or row[at] == " ") and row[word.start() - 1] in " ", (title, row)
            assert any("~" in row for row in groups) == (width == 80), "long names are shortened where need be: %s" % groups
            assert any(re.search(r"\[[|#]+ *!? *\]", row) for row in groups), "bars say it without colours"
        finally:
            s.close()
    end(p)


@test("top's help and its page of numbers fit 80x24; nothing is cut but at the end of a sentence")
def _(g):
    s = Screen(g, [g.memctl, "top"], width=80, height=24)
    try:
        s.shows("Quit")
        s.keys("h")
        s.shows("sort by name", "quit", "the limit was met")
        look_at_top(s, 80, 24, "top-help")
        s.keys("h", "i")
        s.shows("memory.current", "memory.events.low")
        rows = look_at_top(s, 80, 24, "top-numbers")
        sentences = [row[47:] for row in rows[2:-1] if len(row) > 47]
        explained = g.do("stat", "-o", "csv", "/") + g.do("export", "--once")
        for said in sentences:
            whole = re.search(re.escape(said.rstrip(".")) + (" " if said.endswith("...") else "$"), explained, re.M)
            assert len(said) < 33 and whole, "it is cut within a word: " + said
    finally:
        s.close()


# ---- tables -------------------------------------------------------------------------------------------------------

@test("tree, stat and ps at terminals of 80 and 200 columns: no line is broken, numbers stand below each other")
def _(g):
    g.do("create", "-p", "/table/inner/most", "memory.max=1G")
    p = holder(g, "/table/inner/most")
    for width, words in itertools.product((80, 200), (["tree", "/table"], ["stat", "/table"], ["ps", "/table"])):
        # it stays: tmux drops what a program that ends has written last
        s = Screen(g, ["sh", "-c", "%s %s; echo ended; read x" % (g.memctl, " ".join(words))], width=width, height=50)
        try:
            rows = [row for row in s.shows("ended").split("\n") if row.strip() and row != "ended"]
            piped = [row for row in g.do(*words).split("\n") if row.strip()]
            assert max(map(len, rows)) <= width, rows
            assert len(rows) == len(piped), "lines are broken at %d columns: %s" % (width, rows)
            s_svg = draw_svg(s.svg(), keep("%s-%d" % (words[0], width)))
            assert is_blank(crop(s_svg, 0, 0, len(s_svg[0]), 6))
        finally:
            s.close()
    end(p)


sys.exit(main(Ground))
