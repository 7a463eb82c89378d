#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Soft limits beside the kernel's own: the same groups in a virtual machine with cgroup v1 and little memory, and here as
members below memory.high of `/`. As memory runs short the same groups are to give, in the same order.

Wants qemu-system-x86_64 and a Debian kernel: KERNEL_DEB names its package, else it is fetched by apt-get download."""
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE + "/../lib")
from hoarder import Hoarder, MIB
from real_programs import Skip, comment, main, need, test, wait_for

# name, what is held, memory.soft (MiB): by excess 55, 35, 15, none
LAYOUT = [("near", 65, 50), ("far", 65, 10), ("within", 65, 100), ("middle", 65, 30)]
MODULES = ["mm/zsmalloc.ko", "crypto/lzo-rle.ko", "drivers/block/zram/zram.ko"]
GONE = 5  # MiB: who has given so much is a victim
STOP = 72


def kernel(g):
    """Folder with boot/vmlinuz-* and lib/modules, from the package as it is."""
    folder = g.path("kernel")
    package = os.environ.get("KERNEL_DEB")
    os.makedirs(folder)
    if not package:
        need("apt-get", "apt-cache", "dpkg")
        says = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True).stdout
        name = re.search(r"Depends: (linux-image-\S+)", says)
        if not name or subprocess.run(["apt-get", "-q", "download", name[1]], cwd=folder, capture_output=True).returncode:
            raise Skip("no package linux-image-cloud-amd64 can be had")
        package = glob.glob(folder + "/*.deb")[0]
    subprocess.run(["dpkg", "-x", package, folder], check=True)
    return folder


def entry(name, mode, data=b"", rdev=(0, 0)):
    """One of a cpio archive (newc)."""
    name = name.encode() + b"\0"
    head = [1, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(name), 0]
    out = b"070701" + b"".join(b"%08X" % n for n in head) + name
    out += b"\0" * (-len(out) % 4) + data
    return out + b"\0" * (-len(out) % 4)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def initramfs(g, folder):
    init = g.path("init")
    ran = g.spawn(["gcc", "-O1", "-static", "-o", init, HERE + "/softlimit_guest.c"])
    assert ran.status == 0, ran
    image = entry("dev", 0o40755) + entry("dev/console", 0o20600, rdev=(5, 1)) + entry("init", 0o100755, read(init))
    for module in MODULES:
        found = glob.glob(folder + "/lib/modules/*/kernel/" + module)
        if not found:
            raise Skip("the kernel has no " + module)
        image += entry(os.path.basename(module), 0o100644, read(found[0]))
    path = g.path("initramfs")
    with open(path, "wb") as file:
        file.write(image + entry("TRAILER!!!", 0))
    return path


def in_kernel(g):
    """What each group used, in MiB, look by look."""
    need("qemu-system-x86_64", "gcc")
    folder = kernel(g)
    words = ["qemu-system-x86_64", "-nographic", "-no-reboot", "-m", "448", "-smp", "1", "-net", "none", "-accel", "tcg",
             "-kernel", glob.glob(folder + "/boot/vmlinuz-*")[0], "-initrd", initramfs(g, folder), "-append",
             "console=ttyS0 quiet panic=-1 transparent_hugepage=never -- " + " ".join("%s:%d:%d" % l for l in LAYOUT)]
    try:
        out = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=300).stdout
    finally:
        shutil.rmtree(folder)
    assert re.search(r"^over", out, re.M), "the virtual machine says: " + out[-2000:]
    return [[int(word) / 1024 for word in line.split()] for line in re.findall(r"^usage ([\d ]+)", out, re.M)]


def in_memctl(g):
    members = [Hoarder(g, g.new_group(), held, 0) for _, held, _ in LAYOUT]
    for member, (_, _, soft) in zip(members, LAYOUT):
        g.do("set", member.group, "memory.soft=%dM" % soft)

    def look():
        return [member.current() / MIB for member in members]
    looks = [look()]
    root = int(g.get("/", "memory.current"))
    for less in range(4, STOP + 1, 4):
        budget = root - less * MIB
        g.do("set", "/", "memory.high=%d" % budget)
        wait_for("/ is within %d" % budget, lambda: int(g.get("/", "memory.current")) <= budget)
        looks.append(look())
    g.do("set", "/", "memory.high=max")
    for member in members:
        member.end()
    return looks


def victims(looks):
    """Groups in the order in which they gave."""
    gave = [[looks[0][i] - look[i] for look in looks] for i in range(len(LAYOUT))]
    order = sorted((next(n for n, mib in enumerate(g) if mib >= GONE), -g[-1], i) for i, g in enumerate(gave)
                   if max(g) >= GONE)
    return [LAYOUT[i][0] for _, _, i in order]


def tell(who, looks):
    comment("%s, MiB taken of %s" % (who, ", ".join("%s (%d over)" % (n, max(h - s, 0)) for n, h, s in LAYOUT)))
    for look in looks:
        comment("  " + " ".join("%6.1f" % (first - now) for first, now in zip(looks[0], look)))


@test("the same groups give, in the same order, as under the kernel's soft limits")
def _(g):
    kernels = in_kernel(g)
    ours = in_memctl(g)
    tell("kernel", kernels)
    tell("memctl", ours)
    comment("victims: kernel %s, memctl %s" % (victims(kernels), victims(ours)))
    assert victims(kernels) == victims(ours)


sys.exit(main())
