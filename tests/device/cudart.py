#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The real CUDA runtime in front of the driver without a device, for how it finds the driver's functions: it asks what
it asks without us, is answered the same, and keeps the same functions but for those that we stand in for. No device is
needed, but a runtime: of the machine's, of Python's packages, or $MEMCTL_TEST_CUDART (more than one between colons)."""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import DeviceGround  # noqa: E402
from real_programs import Skip, comment, main, test  # noqa: E402

PLACES = ("/usr/lib/*/libcudart.so.*", "/usr/local/cuda*/lib64/libcudart.so.*",
          *(path + "/nvidia/*/lib/libcudart.so.*" for path in sys.path))
# Asks for the number of devices. When the runtime has found its functions, its own data is looked through for them.
PROBE = r"""
import array, ctypes, os, subprocess, sys
driver, runtime = ctypes.CDLL("libcuda.so.1"), ctypes.CDLL(sys.argv[1])
libraries = ("libcuda.so", "libmemctl-device")

def functions(path, base, whose):
    for line in subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True).stdout.splitlines():
        at, kind, name = line.split()
        if kind in "TW" and name.startswith("cu"):
            yield base + int(at, 16), (name, whose)

def look():
    known, places, last, bases = {}, [], 0, set()
    for line in open("/proc/self/maps").read().splitlines():
        start, end = (int(x, 16) for x in line.split()[0].split("-"))
        mode, inode, path = line.split()[1], line.split()[4], line.split()[-1]
        if any(os.path.basename(path).startswith(name) for name in libraries) and path not in bases:
            bases.add(path)
            known.update(functions(path, start, "ours" if "libmemctl" in path else "driver"))
        is_own = "libcudart" in path or (start == last and inode == "0")
        if is_own and mode.startswith("rw"):
            places.append((start, end))
        last = end if is_own else 0
    for start, end in places:
        found.update(known[word] for word in set(array.array("Q", ctypes.string_at(start, end - start))) & known.keys())

found, n = set(), ctypes.c_int(-1)
called = ctypes.CFUNCTYPE(None)(lambda: found or look())
ctypes.c_void_p.in_dll(driver, "fake_cuda_before_tables").value = ctypes.cast(called, ctypes.c_void_p).value
print("result", runtime.cudaGetDeviceCount(ctypes.byref(n)), n.value)
for name, whose in sorted(found):
    print(name, whose)
sys.stdout.flush()
os._exit(0)
"""


def runtimes():
    named = os.environ.get("MEMCTL_TEST_CUDART")
    found = named.split(":") if named else sorted({os.path.realpath(p) for place in PLACES for p in glob.glob(place)})
    if not found:
        raise Skip("no CUDA runtime on this machine")
    return found


def run(g, group, runtime, name):
    g.env["FAKE_CUDA_LOOKUPS"] = g.path("lookups-" + name)
    ran = g.spawn([*([g.memctl, "run", "-g", group, "--"] if group else []), "python3", g.write("probe.py", PROBE), runtime],
                  g.device_env, space=None)
    assert ran.status == 0, ran
    with open(g.env.pop("FAKE_CUDA_LOOKUPS")) as file:
        return ran.out.splitlines(), file.read().splitlines()


@test("the real runtime asks for the same, is answered the same, and has the same functions")
def _(g):
    for i, runtime in enumerate(runtimes()):
        group = g.group("1G")
        plain, asked = run(g, None, runtime, "plain-%d" % i)
        member, asked_by_member = run(g, group, runtime, "member-%d" % i)
        assert len(asked) > 100, (runtime, asked)
        # the driver is asked by us, too, when it is met, for the names that we stand in for
        assert is_within(asked, asked_by_member), (runtime, len(asked), len(asked_by_member))
        assert member[0] == plain[0], (member[0], plain[0])
        kept = {line.split(" ")[0] for line in plain[1:]}
        ours = {line.split(" ")[0] for line in member[1:] if line.endswith(" ours")}
        theirs = {line.split(" ")[0] for line in member[1:] if line.endswith(" driver")}
        assert len(kept) > 50, kept
        assert ours | theirs == kept, (ours | theirs) ^ kept
        assert ours == kept & g.calls and not theirs & g.calls, (ours ^ (kept & g.calls), theirs & g.calls)
        comment("%s: %d lookups, %d functions kept, %d of them ours" % (runtime, len(asked), len(kept), len(ours)))
        g.empty(group)


def is_within(lines, others):
    """All of them, in their order."""
    rest = iter(others)
    return all(line in rest for line in lines)


class RuntimeGround(DeviceGround):
    def __init__(self):
        super().__init__()
        self.calls = set()
        with open(os.path.dirname(os.path.abspath(__file__)) + "/../../device/calls.def") as file:
            for line in file:
                if line.startswith(("CALL(CUDA, ", "CALL0(CUDA, ", "PASS(CUDA, ")):
                    self.calls.add(line.split(", ")[1])


if __name__ == "__main__":
    sys.exit(main(RuntimeGround))
