#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""README.md's examples, typed as they stand there, in order: each succeeds, and says what README.md says but for
numbers, times and names. Prints TAP."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import DEADLINE, Ground, main, test, wait_for

TOP = os.path.realpath(os.path.dirname(os.path.abspath(__file__)) + "/../..")
ENDED = {"memctl run -g /strict": 137, "memctl doctor /sbin/ldconfig": 4}  # what does not end with 0


def examples():
    """(command, the lines it prints) of each "    $ command"."""
    with open(TOP + "/README.md") as f:
        blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", f.read(), re.M)
    for block in blocks:
        for part in re.split(r"^ {4}\$ ", block, flags=re.M)[1:]:
            lines = [line[4:] if line.startswith("    ") else line for line in part.rstrip("\n").split("\n")]
            command = lines.pop(0)
            while command.count("'") % 2:  # it goes on
                command += "\n" + lines.pop(0)
            yield command, [line for line in lines if line.strip()]


def shape(text):
    """Without what is another each time: numbers, sizes, times of day; and how wide columns are."""
    text = re.sub(r"\d[\d.:-]*( ?[KMG]i?B?\b)?", "#", text)
    text = re.sub(r"#( #)*", "#", text)
    return " ".join(text.split()).replace("charges", "charge")


def end_of(command):
    return next((status for begin, status in ENDED.items() if command.startswith(begin)), 0)


@test("every example of README.md succeeds")
def _(g):
    g.said, g.running = {}, []
    os.symlink(TOP + "/doc", g.work + "/doc")
    all_examples = list(examples())
    assert len(all_examples) > 12, all_examples
    for command, _ in all_examples:
        if command.endswith("&"):
            g.running.append(g.start(["bash", "-c", "exec " + command[:-1]]))
            continue
        if "plot /web" in command:  # "the daemon has written it down": it needs a moment for that
            wait_for("something is recorded", lambda: g.spawn([g.memctl, "plot", "/web"]).status == 0)
        if "events /strict" in command:
            wait_for("the kill is recorded", lambda: "oom_kill" in g.do("events", "/strict"))
        ran = g.spawn(["bash", "-c", command], {"LC_ALL": "C.UTF-8"})
        assert ran.status == end_of(command), ran
        g.said[command] = ran.out + ran.err
    assert len(g.running) == 3 and all(p.poll() is None for p in g.running)


@test("and says what README.md shows")
def _(g):
    looked = 0
    for command, lines in examples():
        if not lines or "plot" in command:
            continue
        said = [shape(line) for line in g.said[command].split("\n")]
        for line in lines:
            if "profile" in command and line.startswith("        "):
                continue  # frames: another Python has others
            if "refused after" in line or "one sample every" in line or "more stacks" in line:
                continue  # how many and how often is a matter of the machine
            assert shape(line) in said, "%s: not said: %r, but\n%s" % (command, line, g.said[command])
            looked += 1
    assert looked > 12, looked


@test("the plot has what README.md's has: title, limits, classes, times")
def _(g):
    command = next(c for c, _ in examples() if "plot /web" in c)
    said = g.said[command]
    for words in ("/web", "now ", "memory.max 96M", "memory.high 80M", "heap", "\u2514"):
        assert words in said, (words, said)
    g.do("kill", "/")
    for p in g.running:
        p.communicate(timeout=DEADLINE)


sys.exit(main(Ground))
