#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""memctl doctor: programs of every kind, and what it says of them. Prints TAP."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from real_programs import Ground, Skip, compile_c, main, need, test

PROGRAM = "#include <stdlib.h>\nint main(void) { return !malloc(1); }\n"
SLEEPER = "#include <stdio.h>\nint main(void) { puts(\"up\"); fflush(stdout); getchar(); return 0; }\n"


def ask(g, *words, env=None):
    ran = g.spawn([g.memctl, "doctor", "--json", *words], env)
    assert ran.status in (0, 4), ran
    told = json.loads(ran.out)
    told["status"] = ran.status
    told["names"] = {f["name"]: f for f in told["findings"]}
    return told


def expect(told, accounted, *names):
    assert told["accounted"] == accounted and set(names) <= set(told["names"]), told
    assert told["status"] == (0 if accounted == "full" else 4), told
    for name in names:
        assert told["names"][name]["found"].startswith("it "), told


@test("an ordinary program: in full")
def _(g):
    told = ask(g, compile_c(g, "plain", PROGRAM))
    expect(told, "full")
    assert not told["findings"], told
    ran = g.spawn([g.memctl, "doctor", g.path("plain")])
    assert ran.status == 0 and "accounted in full" in ran.out, ran


@test("static, musl, 32 bits, setuid, sanitized: observed, each with what to do")
def _(g):
    expect(ask(g, compile_c(g, "static", PROGRAM, "-static")), "observed", "static")
    if os.path.exists("/usr/bin/musl-gcc"):
        expect(ask(g, compile_c(g, "musl", PROGRAM, compiler="musl-gcc")), "observed", "musl")
    expect(ask(g, compile_c(g, "small", PROGRAM, "-m32")), "observed", "other-machine")
    expect(ask(g, compile_c(g, "asan", PROGRAM, "-fsanitize=address")), "observed", "sanitizer")
    path = compile_c(g, "secure", PROGRAM)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)  # to be root's own would change nothing for root
    os.chmod(path, 0o4755)
    told = ask(g, path)
    expect(told, "observed", "setuid")
    assert told["names"]["setuid"]["advice"]


@test("Go: by its build id, static or not")
def _(g):
    need("objcopy")
    g.write("id", "go")
    for name, options, accounted in (("go", ["-static"], "observed"), ("cgo", [], "partly")):
        path = compile_c(g, name, PROGRAM, *options)
        ran = g.spawn(["objcopy", "--add-section", ".note.go.buildid=" + g.path("id"), path])
        assert ran.status == 0, ran
        told = ask(g, path)
        expect(told, accounted, "go")
        assert "GOMEMLIMIT" in told["names"]["go"]["advice"], told


@test("a malloc of its own, one under another name, dlmopen")
def _(g):
    own = PROGRAM.replace("int main", "static char room[64];\nvoid *malloc(size_t n) { return n < 64 ? room : 0; }\nint main")
    expect(ask(g, compile_c(g, "own", own, "-rdynamic", "-fno-builtin")), "partly", "own-malloc")
    hidden = PROGRAM.replace("int main", "void *_rjem_malloc(size_t n) { return 0 * n + (char *)0; }\nint main")
    expect(ask(g, compile_c(g, "hidden", hidden)), "full", "linked-allocator")
    spaces = "#define _GNU_SOURCE\n#include <dlfcn.h>\nint main(void) { return !dlmopen(LM_ID_NEWLM, \"x\", RTLD_NOW); }\n"
    expect(ask(g, compile_c(g, "spaces", spaces)), "partly", "dlmopen")


@test("libraries: tcmalloc, a second libc, one that is missing")
def _(g):
    for name in ("libtcmalloc.so.4", "libc.musl-x86_64.so.1", "libgone.so"):
        path = compile_c(g, name, "int f_%d(void) { return 0; }\n" % (len(name)), "-shared", "-fPIC", "-Wl,-soname," + name)
        assert path
    env = {"LD_LIBRARY_PATH": g.work}
    for name, finding, accounted in (("libtcmalloc.so.4", "tcmalloc", "full"),
                                     ("libc.musl-x86_64.so.1", "musl-library", "partly")):
        path = compile_c(g, "with", PROGRAM, "-Wl,--no-as-needed", g.path(name))
        expect(ask(g, path, env=env), accounted, finding)
    path = compile_c(g, "with", PROGRAM, "-Wl,--no-as-needed", g.path("libgone.so"))
    os.unlink(g.path("libgone.so"))
    ran = g.spawn([g.memctl, "doctor", path])
    assert ran.status == 1 and "libgone.so is not found" in ran.err, ran


@test("scripts: their interpreter; nothing, and no program: a sentence")
def _(g):
    script = g.write("script", "#!/usr/bin/env sh\n")
    os.chmod(script, 0o755)
    told = ask(g, script)
    expect(told, "full", "script")
    assert told["path"].endswith("sh"), told
    ran = g.spawn([g.memctl, "doctor", "no-such-program"])
    assert ran.status == 1 and ran.err == "memctl: doctor: there is no such program: no-such-program\n", ran
    text = g.write("text", "hello\n")
    os.chmod(text, 0o755)
    ran = g.spawn([g.memctl, "doctor", text])
    assert ran.status == 1 and "no program in ELF" in ran.err, ran


@test("a running process: with memctl's library in it, and without")
def _(g):
    path = compile_c(g, "sleeper", SLEEPER)
    for argv, name, accounted in (([path], "no-preload", "observed"),
                                  ([g.memctl, "run", "-g", "/d", "--", path], None, "full")):
        p = g.start(argv)
        assert p.stdout.readline() == "up\n"
        pid = p.pid if name else json.loads(g.do("ps", "--json", "/d"))[0]["pid"]
        told = ask(g, str(pid))
        expect(told, accounted, *([name] if name else []))
        p.communicate("\n", timeout=60)
    ran = g.spawn([g.memctl, "doctor", "999999999"])
    assert ran.status == 1 and "no process" in ran.err, ran


SECOND = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	void *second = argc > 2 ? dlopen(argv[1], RTLD_NOW) : dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW);
	puts(second ? "up" : dlerror());
	fflush(stdout);
	getchar();
	return 0;
}
"""


@test("a running process that has loaded a second C library: by dlmopen, and musl's by dlopen")
def _(g):
    path = compile_c(g, "second", SECOND)
    compile_c(g, "libc.musl-x86_64.so.1", "int f_musl(void) { return 0; }\n", "-shared", "-fPIC")
    expect(ask(g, path), "partly", "dlmopen")  # before it runs, it may
    for words, name in ((["libc.so.6"], "second-libc"), ([g.path("libc.musl-x86_64.so.1"), "same"], "musl-library")):
        p = g.start([path, *words])
        assert p.stdout.readline() == "up\n"
        told = ask(g, str(p.pid))
        assert name in told["names"] and told["names"][name]["grade"] == "partly", told
        p.communicate("\n", timeout=60)
    p = g.start([path, g.path("libc.musl-x86_64.so.1"), "same"])
    assert p.stdout.readline() == "up\n"
    assert "second-libc" not in ask(g, str(p.pid))["names"]
    p.communicate("\n", timeout=60)


@test("programs and libraries as Debian has them: static, Go, jemalloc, setuid, tcmalloc")
def _(g):
    prometheus, redis, su = need("prometheus", "redis-server", "su")
    expect(ask(g, "/sbin/ldconfig"), "observed", "static")
    assert "go" in ask(g, prometheus)["names"]
    expect(ask(g, redis), "full", "jemalloc")
    if os.geteuid():  # to be root's own changes nothing for root
        expect(ask(g, su), "observed", "setuid")
    tcmalloc = "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"
    if not os.path.exists(tcmalloc):
        raise Skip("libtcmalloc-minimal4 is missing")
    expect(ask(g, compile_c(g, "tc", PROGRAM, "-Wl,--no-as-needed", tcmalloc)), "full", "tcmalloc")


sys.exit(main(Ground))
