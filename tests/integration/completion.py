#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Completion in bash, zsh and fish: groups, keys and commands as they are now. Prints TAP."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import Ground, main, need, test
from screen import Screen

TOP = os.path.realpath(os.path.dirname(os.path.abspath(__file__)) + "/../..")


def make(g):
    if g.spawn([g.memctl, "get", "/comp-alpha", "memory.max"]).status:
        g.do("create", "-p", "/comp-alpha/inner")


@test("bash")
def _(g):
    make(g)
    need("bash")

    def ask(*words):
        script = ("source %s/memctl/completion.bash; COMP_WORDS=(memctl %s); COMP_CWORD=%d; _memctl; "
                  "printf '%%s\\n' \"${COMPREPLY[@]}\"") % (TOP, " ".join("'%s'" % w for w in words), len(words))
        return g.spawn(["bash", "-c", script]).out.split()
    assert "plot" in ask("pl") and "top" in ask("t")
    assert ask("plot", "/comp-alpha/") == ["/comp-alpha/inner"]
    assert "memory.max=" in ask("set", "/comp-alpha", "memory.ma")
    assert "--since" in ask("plot", "--s")
    assert ask("top", "") == []
    assert ask("watch", "/comp-alpha", "h") == ["history"]


@test("fish")
def _(g):
    make(g)
    need("fish")
    def ask(line):
        ran = g.spawn(["fish", "--no-config", "-c",
                       "source %s/memctl/completion.fish; complete -C '%s'" % (TOP, line)], {"TERM": "xterm"}, space=0)
        return [row.split("\t")[0] for row in ran.out.splitlines()]
    assert "plot" in ask("memctl pl")
    assert ask("memctl plot /comp-alpha/") == ["/comp-alpha/inner"]
    assert "memory.max=" in ask("memctl set /comp-alpha memory.ma")
    assert "--since" in ask("memctl plot --s")
    assert ask("memctl daemon sta") == ["start", "status"]
    assert ask("memctl watch /comp-alpha h") == ["history"]


@test("zsh")
def _(g):
    make(g)
    zsh, = need("zsh")
    rc = g.path("zsh")
    os.makedirs(rc, exist_ok=True)
    os.makedirs(rc + "/functions", exist_ok=True)
    link = rc + "/functions/_memctl"
    if not os.path.lexists(link):
        os.symlink(TOP + "/memctl/completion.zsh", link)
    with open(rc + "/.zshrc", "w") as f:
        f.write("fpath=(%s/functions $fpath)\nautoload -Uz compinit\ncompinit -u -d %s/dump\nPS1='ready> '\n" % (rc, rc))
    s = Screen(g, [zsh, "-i"], width=100, env={"ZDOTDIR": rc})
    try:
        s.shows("ready>")
        for typed, completed in (("memctl plot /comp-alpha/i", "memctl plot /comp-alpha/inner"),
                                 ("memctl set /comp-alpha memory.swappin", "memctl set /comp-alpha memory.swappiness="),
                                 ("memctl watch /comp-alpha hi", "memctl watch /comp-alpha history"),
                                 ("memctl doct", "memctl doctor")):
            s.type(typed)
            s.keys("Tab")
            s.shows(completed)
            s.keys("C-u")
    finally:
        s.close()


sys.exit(main(Ground))
