#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every call by which a program comes to have device memory, one by one: charged while the memory lives, refused where
there is no room for it, and nothing left when it has gone. What no row is about, is named with the reason."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../lib")
from cuda_program import MIB, NO_MEMORY, OK, DeviceGround, Program  # noqa: E402
from real_programs import main, test, tests  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
KIB = 1024

# The call; what is done before; what makes it; bytes; what ends it. What is kept is numbered in this order; 0 is a context.
REFUSED = [
    ("cuMemAlloc", [], "alloc1 4M", 4 * MIB, ["do cuMemFree @1"]),
    ("cuMemAlloc_v2", [], "alloc 4M", 4 * MIB, ["free 1"]),
    ("cuMemAllocPitch", [], "do cuMemAllocPitch = @0 100 8192 4", 4 * MIB, ["do cuMemFree @1"]),
    ("cuMemAllocPitch_v2", [], "pitch 100 8192", 4 * MIB, ["free 1"]),
    ("cuMemAllocManaged", [], "managed 4M", 4 * MIB, ["free 1"]),
    ("cuMemAllocAsync", [], "async 4M", 4 * MIB, ["freeasync 1", "sync"]),
    ("cuMemAllocAsync_ptsz", [], "asyncptsz 4M", 4 * MIB, ["do cuMemFreeAsync_ptsz @1 0", "do cuStreamSynchronize_ptsz 0"]),
    ("cuMemAllocFromPoolAsync", ["pool 0"], "frompool 4M 1", 4 * MIB, ["freeasync 2", "do cuCtxSynchronize"]),
    ("cuMemAllocFromPoolAsync_ptsz", ["pool 0"], "do cuMemAllocFromPoolAsync_ptsz = 4M @1 0", 4 * MIB,
     ["free 2", "do cuEventSynchronize 0"]),
    ("cuMemPoolCreate", ["poolof 1 0 1 1"], "frompool 4M 1", 4 * MIB, ["freeasync 2", "endpool 1"]),
    ("cuMemPoolDestroy", ["poolof 1 0 2"], "frompool 4M 1", 4 * MIB, ["endpool 1", "freeasync 2", "sync"]),
    ("cuMemGetDefaultMemPool", ["standardof 1 0 1"], "frompool 4M 1", 4 * MIB, ["freeasync 2", "trim 1 0"]),
    ("cuMemGetMemPool", ["currentof 1 0 1"], "frompool 4M 1", 4 * MIB, ["freeasync 2", "do cuCtxSynchronize_v2 @0"]),
    ("cuMemCreate", [], "create 4M 0", 4 * MIB, ["drop 1"]),
    ("cuArrayCreate", [], "do cuArrayCreate = flat", 64 * KIB, ["endarray 1"]),
    ("cuArrayCreate_v2", [], "array 64 64", 64 * KIB, ["endarray 1"]),
    ("cuArray3DCreate", [], "do cuArray3DCreate = deep", 64 * KIB, ["endarray 1"]),
    ("cuArray3DCreate_v2", [], "array3 64 64 64", 4 * MIB, ["endarray 1"]),
    ("cuMipmappedArrayCreate", [], "mipmap 512 512 1", 4 * MIB, ["endmipmap 1"]),
]
GRAPH = ["graph", "node 1 4M", "instantiate 1"]
TAKEN = [  # nobody can be asked before, or it was refused when it was made
    ("cuMemMap", ["range 4M", "create 4M 0"], "map 1 0 4M 2", 0, ["drop 2", "unmap 1 0 4M"]),
    ("cuMemRetainAllocationHandle", ["range 4M", "create 4M 0", "map 1 0 4M 2"], "again 1", 0, ["drop 2", "unmap 1 0 4M", "drop 3"]),
    ("cuMemExportToShareableHandle", ["create 4M 0"], "export 1", 0, ["drop 1"]),
    ("cuMemMapArrayAsync", ["create 4M 0", "sparse 512 512"], "tiles 2 1 0 0 512 512", 0, ["drop 1", "endarray 2"]),
    ("cuMemMapArrayAsync_ptsz", ["create 4M 0", "sparse 512 512"], "tilesptsz 2 1 0 0 512 512", 0,
     ["drop 1", "tilesptsz 2 - 0 0 512 512"]),
    ("cuMulticastBindMem", ["create 4M 0", "multicast 4M", "adddevice 2 0"], "bindmem 2 0 1 0 4M", 0, ["drop 1", "drop 2"]),
    ("cuMulticastBindMem_v2", ["create 4M 0", "multicast 4M", "adddevice 2 0"], "bindmem2 2 0 0 1 0 4M", 0,
     ["drop 1", "unbind 2 0 0 4M"]),
    ("cuMulticastBindAddr", ["create 4M 0", "multicast 4M", "adddevice 2 0", "range 4M", "map 3 0 4M 1"],
     "bindaddr 2 0 3 0 4M", 0, ["drop 1", "unmap 3 0 4M", "unbind 2 0 0 4M"]),
    ("cuMulticastBindAddr_v2", ["create 4M 0", "multicast 4M", "adddevice 2 0", "range 4M", "map 3 0 4M 1"],
     "bindaddr2 2 0 0 3 0 4M", 0, ["drop 1", "unmap 3 0 4M", "drop 2"]),
    ("cuGraphAddMemAllocNode", ["graph"], "node 1 4M", 0, []),
    ("cuGraphAddNode", ["graph"], "anynode 1 4M", 0, []),
    ("cuGraphAddNode_v2", ["graph"], "anynode2 1 4M", 0, []),
    ("cuGraphLaunch", GRAPH, "launch 2", 4 * MIB, ["endgraph 2", "trimgraphs 0"]),
    ("cuGraphLaunch_ptsz", GRAPH, "do cuGraphLaunch_ptsz @2 0", 4 * MIB, ["endgraph 2", "trimgraphs 0"]),
    ("cuGraphUpload", GRAPH, "do cuGraphUpload @2 0", 4 * MIB, ["endgraph 2", "trimgraphs 0"]),
    ("cuGraphUpload_ptsz", GRAPH, "do cuGraphUpload_ptsz @2 0", 4 * MIB, ["endgraph 2", "trimgraphs 0"]),
    ("cuGraphInstantiateWithParams", ["graph", "node 1 4M"], "instantiate2 1 2", 4 * MIB, ["endgraph 2", "trimgraphs 0"]),
    ("cuCtxCreate", [], "do cuCtxCreate = 0 0", 300 * MIB, ["do cuCtxDestroy @1"]),
    ("cuCtxCreate_v2", [], "context 0", 300 * MIB, ["destroy 1"]),
    ("cuCtxCreate_v3", [], "do cuCtxCreate_v3 = 0 0 0 0", 300 * MIB, ["destroy 1"]),
    ("cuCtxCreate_v4", [], "do cuCtxCreate_v4 = 0 0 0", 300 * MIB, ["detach 1"]),
    ("cuDevicePrimaryCtxRetain", [], "retain 0", 300 * MIB, ["do cuDevicePrimaryCtxRelease 0"]),
    ("cuDevicePrimaryCtxReset", [], "retain 0", 300 * MIB, ["do cuDevicePrimaryCtxReset 0"]),
    ("cuDevicePrimaryCtxReset_v2", [], "retain 0", 300 * MIB, ["reset 0"]),
    ("cuDevicePrimaryCtxRelease_v2", [], "retain 0", 300 * MIB, ["release 0"]),
    ("cuGreenCtxCreate", [], "green 0", 300 * MIB, ["endgreen 1"]),
    ("cuModuleLoad", [], "do cuModuleLoad = text", 16 * MIB, ["unload 1"]),
    ("cuModuleLoadData", [], "module", 16 * MIB, ["unload 1"]),
    ("cuModuleLoadDataEx", [], "do cuModuleLoadDataEx = text 0 0 0", 16 * MIB, ["unload 1"]),
    ("cuModuleLoadFatBinary", [], "do cuModuleLoadFatBinary = text", 16 * MIB, ["unload 1"]),
    ("cuLibraryLoadData", [], "do cuLibraryLoadData = text", 16 * MIB, ["do cuLibraryUnload @1"]),
    ("cuLibraryLoadFromFile", [], "do cuLibraryLoadFromFile = text", 16 * MIB, ["do cuLibraryUnload @1"]),
]
# Others' memory, and the host's: sharing.py, and cuda.py "pinned host memory", say what becomes of it.
ELSEWHERE = {
    "cuMemImportFromShareableHandle", "cuIpcGetMemHandle", "cuIpcOpenMemHandle", "cuIpcOpenMemHandle_v2",
    "cuIpcCloseMemHandle", "cuImportExternalMemory", "cuExternalMemoryGetMappedBuffer",
    "cuExternalMemoryGetMappedMipmappedArray", "cuDestroyExternalMemory", "cuMemPoolImportFromShareableHandle",
    "cuMemPoolExportPointer", "cuMemPoolImportPointer", "cuMemHostAlloc", "cuMemAllocHost", "cuMemAllocHost_v2",
    "cuMemFreeHost", "cuMemHostRegister", "cuMemHostRegister_v2", "cuMemHostUnregister"}
# They give back, show, or are told of what was allocated: rows' ends, and cuda.py.
NOTHING = {
    "cuStreamSynchronize", "cuCtxSynchronize", "cuMemPoolSetAttribute", "cuCtxSetLimit", "cuCtxFromGreenCtx", "cuMulticastCreate", "cuMemGetInfo", "cuMemGetInfo_v2",
    "cuDeviceTotalMem", "cuDeviceTotalMem_v2", "cuGetProcAddress", "cuGetProcAddress_v2", "cuGraphInstantiateWithParams_ptsz"}
# Calls of a driver that sound as though they took memory, and are not looked after: why not.
UNSEEN = [
    (r"cu(Event|Stream|TexObject|SurfObject|TexRef|Link|UserObject|Coredump)\w*", "a handle, a description, a host's buffer"),
    (r"cuGraph(Create|Clone|Instantiate|InstantiateWithFlags|Instantiate_v2|RetainUserObject|ConditionalHandleCreate)",
     "a description; what it allocates, it allocates when it is launched"),
    (r"cuGraphAdd\w+", "a description, but for those that allocate"),
    (r"cuGraphics\w+", "memory of another API, which has made it"),
    (r"cu(ImportExternalSemaphore|TensorMapEncode\w*|TensorMapReplaceAddress)", "no memory"),
    (r"cuMem(AddressReserve|SetMemPool|HostGetDevicePointer\w*|RangeGetAttribute\w*)", "addresses without memory, or a setting"),
    (r"cu(CtxAttach|DeviceRegisterAsyncNotification|DeviceUnregisterAsyncNotification|DevResourceGenerateDesc)", "a count, a setting"),
    (r"cuLaunch\w*|cuFuncLoad|cuModuleGetLoadingMode|cuLibraryGetManaged|cuOccupancy\w*", "found at the next look at a driver's share"),
    (r"cuCtxGetLimit|cuMulticast(AddDevice|GetGranularity)|cuCtxCreate\w*", "no memory of its own"),
    (r"cuGreenCtxStreamCreate|cuIpcOpenEventHandle|cuLogsRegisterCallback", "a handle"),
    (r"cu(?!\w*Mapped)\w*[a-z](Get|Set|Is)[A-Z]\w*|cuMemPoolExportToShareableHandle", "asks, or sets"),
    (r"cuProfiler\w*|cuCheckpoint\w*", "moves what there is"),
]


def charged():
    with open(HERE + "/../../device/calls.def") as file:
        return re.findall(r"^CALL0?\(CUDA, (\w+),", file.read(), re.M)


@test("each call that is looked after has a row, or a reason; and each that sounds as though it should be, too")
def _(g):
    seen = charged()
    ends = " ".join(" ".join(row[4]) + row[2] for row in REFUSED + TAKEN)
    by_line = {"free": "cuMemFree_v2", "freeasync": "cuMemFreeAsync", "sync": "cuStreamSynchronize", "drop": "cuMemRelease",
               "unmap": "cuMemUnmap", "endarray": "cuArrayDestroy", "endmipmap": "cuMipmappedArrayDestroy",
               "trim": "cuMemPoolTrimTo", "endgraph": "cuGraphExecDestroy", "trimgraphs": "cuDeviceGraphMemTrim",
               "destroy": "cuCtxDestroy_v2", "detach": "cuCtxDetach", "unload": "cuModuleUnload", "unbind": "cuMulticastUnbind",
               "endgreen": "cuGreenCtxDestroy"}
    used = {by_line[word] for word in ends.split() if word in by_line} | set(re.findall(r"cu[A-Z]\w+", ends))
    known = {row[0] for row in REFUSED + TAKEN} | used | ELSEWHERE | NOTHING
    assert not set(seen) - known, set(seen) - known
    with open(HERE + "/driver.def") as file:
        names = re.findall(r"^DRIVER\((\w+),", file.read(), re.M)
    assert len(names) > 600 and not {row[0] for row in REFUSED + TAKEN} - set(names)
    sounds = re.compile(r"Alloc|Create|Import|Map|Bind|Open|Load|Retain|Register|Upload|Launch|Attach|Instantiate|AddNode|Reserve|Pool")
    left = [n for n in names if sounds.search(n) and n not in seen and not any(re.fullmatch(r, n) for r, _ in UNSEEN)]
    assert not left, left


def begin(g, row, limit="max"):
    settings = {"context": 300 * MIB, "module": 16 * MIB} if "Ctx" in row[0] or "Load" in row[0] else {}
    group = g.group(limit, **settings)
    p = Program(g, group).begin()
    for line in row[1]:
        assert p.result(line) == OK, line
    return group, p


def go_through(g, group, p, row):
    call, before, line, size, ends = row
    base = g.current(group)
    assert p.result(line) == OK
    assert g.current(group) == base + size, (base, g.current(group))
    for end in ends[:-1]:
        assert p.result(end) == OK, end
        assert size or g.current(group) == base, end  # it is held by something else now
    for end in ends[-1:]:
        assert p.result(end) == OK, end
    gone = base if size else 0
    assert g.current(group) == gone, g.current(group)
    assert p.do("nvml1 0")[3] == gone, p.do("nvml1 0")  # so says the driver itself
    assert "partial" not in g.do("ps", group)


for row in REFUSED + TAKEN:
    @test("%s: charged while it lives" % row[0])
    def _(g, row=row):
        group, p = begin(g, row)
        try:
            go_through(g, group, p, row)
        finally:
            p.end()
        g.empty(group)

for row in REFUSED:
    @test("%s: refused where there is no room" % row[0])
    def _(g, row=row):
        group, p = begin(g, row, row[3] - 4096)
        assert p.result(row[2]) == NO_MEMORY
        assert g.current(group) == 0
        p.end()
        g.empty(group)


if os.environ.get("ONLY"):
    tests[:] = [t for t in tests if os.environ["ONLY"] in t[0]]
sys.exit(main(DeviceGround))
