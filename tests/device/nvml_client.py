#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program that asks NVML as it is told, line by line; it answers each with a line of numbers, NVML's result first.

index N, uuid TEXT, address TEXT, part N   the device that the rest is about
memory V                                   free, total, used
list KIND V ROOM                           how many, then of each: pid, used, and what else the version has
null KIND V                                without a place for them, or for their number
pid"""
import ctypes
import os
import sys

NVML = ctypes.CDLL("libnvidia-ml.so.1")
KINDS = {"compute": "Compute", "graphics": "Graphics", "mps": "MPSCompute"}


class Process1(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong)]


class Process2(ctypes.Structure):
    _fields_ = [*Process1._fields_, ("instance", ctypes.c_uint), ("compute", ctypes.c_uint)]


class Process3(ctypes.Structure):
    _fields_ = [*Process2._fields_, ("protected", ctypes.c_ulonglong)]


class Details(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint), ("mode", ctypes.c_uint), ("n", ctypes.c_uint), ("all", ctypes.c_void_p)]


class Memory1(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class Memory2(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint), *((n, ctypes.c_ulonglong) for n in ("total", "reserved", "free", "used"))]


def whole(index=0):
    device = ctypes.c_void_p()
    return NVML.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)), device


def memory(device, version):
    m = Memory2(version=ctypes.sizeof(Memory2) | 2 << 24) if version == "2" else Memory1()
    function = NVML.nvmlDeviceGetMemoryInfo_v2 if version == "2" else NVML.nvmlDeviceGetMemoryInfo
    return [function(device, ctypes.byref(m)), m.free, m.total, m.used]


def function_of(kind, version):
    return getattr(NVML, "nvmlDeviceGet%sRunningProcesses%s" % (KINDS[kind], "" if version == "1" else "_v" + version))


def processes(device, kind, version, room):
    """`version` 3-32: the third one, in a driver whose entries are longer; detail: all kinds by one function."""
    row = {"1": Process1, "2": Process2, "3": Process2}.get(version, Process3)
    all_of_them = (row * (room + 1))()
    ctypes.memset(all_of_them, 0x5a, ctypes.sizeof(all_of_them))
    if version == "detail":
        d = Details(version=ctypes.sizeof(Details) | 1 << 24, mode=list(KINDS).index(kind), n=room,
                    all=ctypes.addressof(all_of_them) if room else None)
        result, n = NVML.nvmlDeviceGetRunningProcessDetailList(device, ctypes.byref(d)), d.n
    else:
        number = ctypes.c_uint(room)
        result = function_of(kind, version[0])(device, ctypes.byref(number), all_of_them if room else None)
        n = number.value
    said = [result, n]
    for i in range(n if result == 0 else 0):
        said += [getattr(all_of_them[i], name) for name, _ in row._fields_]
    end = ctypes.addressof(all_of_them) + (n if result == 0 else 0) * ctypes.sizeof(row)
    rest = ctypes.string_at(end, ctypes.addressof(all_of_them) + ctypes.sizeof(all_of_them) - end)
    return said if rest.strip(b"\x5a") == b"" else [-1]  # what was there is there


def obey(device, words):
    what, words = words[0], words[1:]
    if what == "index":
        result, found = whole(int(words[0]))
    elif what == "uuid":
        found = ctypes.c_void_p()
        result = NVML.nvmlDeviceGetHandleByUUID(words[0].encode(), ctypes.byref(found))
    elif what == "address":
        found = ctypes.c_void_p()
        result = NVML.nvmlDeviceGetHandleByPciBusId_v2(words[0].encode(), ctypes.byref(found))
    elif what == "part":
        found = ctypes.c_void_p()
        result = NVML.nvmlDeviceGetMigDeviceHandleByIndex(whole()[1], ctypes.c_uint(int(words[0])), ctypes.byref(found))
    elif what == "memory":
        return device, memory(device, words[0])
    elif what == "list":
        return device, processes(device, words[0], words[1], int(words[2]))
    elif what == "null":
        function, room = function_of(*words), ctypes.c_uint(4)
        return device, [function(device, ctypes.byref(room), None), function(device, None, None), room.value]
    else:
        return device, [0, os.getpid()]
    return (device if result else found), [result]


def main():
    NVML.nvmlInit_v2()
    device = whole()[1]
    for line in sys.stdin:
        device, said = obey(device, line.split())
        print(*said, flush=True)


main()
