#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of bad input (tests/unit/bad_input.def) is what the kernel answers: its rows of cgroup v1, written to the files
of a memory cgroup."""
import errno
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cgroup

# A later kernel lets nothing be moved any more, and has no counts of swap without swap accounting.
CHANGED = {"memory.move_charge_at_immigrate"}


def rows():
    text = open(HERE + "/../unit/bad_input.def").read()
    for key, value, error in re.findall(r'^INPUT\("([^"]*)", "((?:[^"\\]|\\.)*)", (\w+)\)', text, re.M):
        yield key, value.replace("\\n", "\n"), error


def write(path, text):
    """0 or the name of the error."""
    try:
        fd = os.open(path, os.O_WRONLY)
    except PermissionError:  # a file that is only read; root gets as far as writing
        return "EINVAL"
    try:
        os.write(fd, text.encode())
        return "0"
    except OSError as e:
        return errno.errorcode[e.errno]
    finally:
        os.close(fd)


def compare(group):
    wrong, tried = [], 0
    for key, text, error in rows():
        path = group.path + "/" + key
        if key in CHANGED or not os.path.exists(path):
            continue
        tried += 1
        said = write(path, text)
        if said != error:
            wrong.append("%s %r: the kernel says %s, the table %s" % (key, text, said, error))
    return wrong, tried


def main():
    try:
        version, place = cgroup.find()
    except cgroup.Unavailable as e:
        version, place = None, str(e)
    if version is not cgroup.Version1:
        print("1..1\nok 1 # SKIP no memory cgroup of version 1 may be made here: %s" % place)
        return 0
    group = version(place, "input-%d" % os.getpid())
    try:
        wrong, tried = compare(group)
    finally:
        group.close()
    for line in wrong:
        print("# " + line)
    print("1..1\n%s 1 - the kernel answers %d writes as the table has it" % ("not ok" if wrong or tried < 40 else "ok", tried))
    return bool(wrong)


sys.exit(main())
