#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shells and what they leave behind, other limits and preloads, programs that cannot be preloaded. Prints TAP."""
import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from real_programs import Skip, compile_c, main, need, test, wait_for  # noqa: E402

PYTHON = "/usr/bin/python3"

# ---- shells -------------------------------------------------------------------------------------------------------

PIPELINES = r"""
set -o pipefail
seq 1 60000 | sort -rn | awk '{ s[$1 % 97] += $1 } END { for (i = 0; i < 97; i++) print i, s[i] }' | sort -n | cksum
seq 1 60000 | gzip -c | gzip -dc | tail -n 1
seq 1 40 | xargs -n 3 -P 4 echo | wc -l
printf '%s\n' b a c | sort | tr '\n' ' '; echo
x=$(for i in 1 2 3; do echo "$i" & done | sort | tr -d '\n'; wait); echo "$x"
read -r first < <(seq 7 9); echo "$first"
(exit 7) | cat; echo "status ${PIPESTATUS[*]}"
exit 5
"""


@test("bash pipelines with sort, awk, gzip, xargs")
def _(g):
    need("bash", "awk", "gzip", "xargs")
    g.same(["bash", "-c", PIPELINES], status=5)


@test("bash against a limit: cannot allocate")
def _(g):
    need("bash")
    g.refused("24M", ["bash", "-c", "x=aaaaaaaa; for i in {1..24}; do x=$x$x; done; echo ${#x}"],
              "bash: x(m|re)alloc: cannot allocate", "bash", status=[2])


@test("sort and awk against a limit: the pipeline says who had none left")
def _(g):
    need("awk", "sort")
    g.refused("12M", ["sh", "-c", "seq 1 400000 | awk '{ a[$1] = $0 } END { print length(a) }'"],
              "(out of|exhausted|[Cc]annot allocate).*", None, status=[2])
    g.refused("24M", ["sh", "-c", "yes 0123456789 | tr -d '\\n' | head -c 40000000 | sort | wc -c; exit 4"],
              "sort: memory exhausted", None, status=[4])


@test("children that a shell leaves behind keep the transient group until the last is gone")
def _(g):
    for name in "hold1", "hold2":
        os.mkfifo(g.path(name))
    script = "for i in 1 2; do (read x <hold$i) >/dev/null 2>&1 & done; echo left"
    ran = g.spawn([g.memctl, "run", "--max", "1G", "--", "sh", "-c", script])
    assert (ran.status, ran.out) == (0, "left\n"), ran

    def groups():
        rows = json.loads(g.do("ls", "-R", "--json", "/"))
        return [row["group"] for row in rows if row["group"].startswith("/run-")]
    transient = wait_for("one transient group is left", groups)
    assert len(transient) == 1, transient
    assert g.do("ps", "--no-header", transient[0]).count("\n") == 2
    with open(g.path("hold1"), "w"):
        pass  # its reader meets the end
    wait_for("one is left", lambda: len(members(g, transient[0])) == 1)
    assert groups() == transient
    with open(g.path("hold2"), "w"):
        pass
    wait_for("the group is gone", lambda: groups() == [])
    wait_for("nothing is charged", lambda: g.get("/", "memory.current") == "0")


def members(g, group):
    ran = g.spawn([g.memctl, "ps", "--no-header", group])
    return ran.out.splitlines() if ran.status == 0 else []


# ---- other limits, other preloads ---------------------------------------------------------------------------------

TAKES = """
held = []
try:
    while len(held) < 1500: held.append(bytes(1 << 20))
    print("no limit met")
except MemoryError:
    print("MemoryError")
"""


@test("under ulimit -v the kernel refuses, and memctl has nothing to say")
def _(g):
    need(PYTHON)
    group = g.new_group()
    ran = g.run_in(group, "4G", ["sh", "-c", "ulimit -v 900000; exec %s -c '%s'" % (PYTHON, TAKES)])
    assert (ran.status, ran.out) == (0, "MemoryError\n"), ran
    assert "memctl:" not in ran.err, ran
    g.settled(group)


@test("both limits: the lower one decides")
def _(g):
    need(PYTHON)
    g.refused("64M", ["sh", "-c", "ulimit -v 1500000; exec %s -c '%s'" % (PYTHON, TAKES)], "MemoryError", "python3",
              status=[0])


def find_library(name):
    for directory in "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib":
        if os.path.exists(directory + "/" + name):
            return directory + "/" + name
    raise Skip(name + " is missing")


SUM = "print(sum(len(bytes(i)) for i in range(5000)))"


@test("a user's LD_PRELOAD of an allocator: stderr says whose malloc is used")
def _(g):
    need(PYTHON)
    other = find_library("libjemalloc.so.2")
    group = g.new_group()
    ran = g.run_in(group, "4G", [PYTHON, "-c", SUM + "; import os; print(os.environ['LD_PRELOAD'])"],
                   env={"LD_PRELOAD": other})
    assert ran.status == 0 and ran.out.startswith("12497500\n"), ran
    assert "LD_PRELOAD names the allocator " + other in ran.err, ran
    assert ran.out.splitlines()[1].endswith(":" + other), "the user's is replaced: %s" % ran
    g.settled(group)
    ran = g.refused("64M", [PYTHON, "-c", TAKES], "MemoryError", "python3", status=[0], env={"LD_PRELOAD": other})


COUNTS = r"""
#include <dlfcn.h>
#include <stdio.h>
static int calls;
int puts(const char *s) { calls++; return fprintf(stdout, "%s (call %d)\n", s, calls) < 0; }
"""
PUTS = r"""
#include <stdio.h>
#include <stdlib.h>
int main(void) { void *volatile p = malloc(1000); free(p); puts("hello"); puts("again"); return 0; }
"""


@test("a user's LD_PRELOAD of another kind keeps working")
def _(g):
    library = compile_c(g, "counts", COUNTS, "-shared", "-fPIC")
    program = compile_c(g, "puts", PUTS)
    ran = g.same([program], env={"LD_PRELOAD": library})
    assert ran.out == "hello (call 1)\nagain (call 2)\n", ran


BAD = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) { char *volatile p = malloc(100); memset(p, 1, 100); printf("%d\n", p[99]); free(p); return 3; }
"""


@test("under valgrind: the same status and output")
def _(g):
    need("valgrind")
    program = compile_c(g, "bad", BAD, "-g")
    group = g.new_group()
    ran = g.run_in(group, "4G", ["valgrind", "-q", "--error-exitcode=9", program])
    assert (ran.status, ran.out) == (3, "1\n"), ran
    g.settled(group)


# ---- what cannot be preloaded -------------------------------------------------------------------------------------

HOLDS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
	size_t n = 24 << 20;
	char *p = malloc(n);

	memset(p, 7, n);
	puts("holding");
	fflush(stdout);
	(void)getchar();
	printf("%d\n", p[n / 2]);
	return 6;
}
"""


def observed(g, program, words):
    """What is observed is listed, its memory is counted, and goes with it."""
    group = g.new_group()
    plain = g.spawn([program], stdin="\n")
    assert (plain.status, plain.out) == (6, "holding\n7\n"), plain
    p = g.start([g.memctl, "run", "-g", group, "--keep", "--max", "4G", "--", program])
    try:
        assert p.stdout.readline() == "holding\n"
        wait_for("it is listed", lambda: any("observed" in m for m in members(g, group)))
        wait_for("24 MiB are counted", lambda: int(g.get(group, "memory.current")) >= 24 << 20)
        rows = dict(line.split()[:2] for line in g.get(group, "memory.stat").splitlines())
        assert int(rows["observed"]) >= 24 << 20, rows
    finally:
        out, err = p.communicate("\n", timeout=60)
    assert (p.returncode, out) == (6, "7\n"), (p.returncode, out, err)
    assert words in err and "is observed" in err, err
    g.settled(group)


@test("a static program is observed")
def _(g):
    observed(g, compile_c(g, "holds-static", HOLDS, "-static"), "statically linked")


@test("a program with musl is observed")
def _(g):
    need("musl-gcc")
    observed(g, compile_c(g, "holds-musl", HOLDS, compiler="musl-gcc"), "musl")


@test("a shell starts programs that cannot be preloaded: they run, and are observed")
def _(g):
    programs = [compile_c(g, "holds-static", HOLDS, "-static")]
    try:
        programs.append(compile_c(g, "holds-musl", HOLDS, compiler="musl-gcc"))
    except Skip:
        pass
    for program in programs:
        group = g.new_group()
        p = g.start([g.memctl, "run", "-g", group, "--keep", "--max", "4G", "--", "sh", "-c", program + "; echo $?"])
        try:
            assert p.stdout.readline() == "holding\n"
            wait_for("it is listed", lambda: any("observed" in m for m in members(g, group)))
            wait_for("24 MiB are counted", lambda: int(g.get(group, "memory.current")) >= 24 << 20)
        finally:
            out, err = p.communicate("\n", timeout=60)
        assert (p.returncode, out) == (0, "7\n6\n"), (p.returncode, out, err)
        g.settled(group)


if __name__ == "__main__":
    sys.exit(main())
