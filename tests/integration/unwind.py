#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs that were refused a large block say so, clean up and go on: the last room is for small requests. Prints
TAP."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from real_programs import compile_c, main, need, test  # noqa: E402

PYTHON = "/usr/bin/python3"

# Malloc's blocks alone are to meet the limit: pymalloc's arenas are mappings, which get no such room.
GOES_ON = """
import sys, traceback
kept = []
for round in range(3):
    try:
        while True:
            kept.append(bytearray(100 << 10))
    except MemoryError:
        traceback.print_exc(limit=1, file=sys.stdout)
        print("small work", sum(len(str(i) * 10) for i in range(1000)))
    del kept[len(kept) // 2:]
print("went on")
"""

CATCHES = r"""
#include <iostream>
#include <new>
#include <sstream>
#include <vector>

int main()
{
	std::vector<char *> kept;

	kept.reserve(10000);
	try {
		for (;;) {
			kept.push_back(new char[100 << 10]);
			for (int i = 0; i < 100 << 10; i += 4096)
				kept.back()[i] = 1;
		}
	} catch (const std::bad_alloc &error) {
		std::ostringstream text;
		for (int i = 0; i < 100; i++)
			text << "block " << i << " of " << kept.size() << "; ";
		std::cout << error.what() << " " << (text.str().size() > 1000) << std::endl;
	}
	return 5;
}
"""


@test("python: MemoryError, a traceback, and on")
def _(g):
    need(PYTHON)
    g.refused("64M", [PYTHON, "-c", GOES_ON], r"(?s)(MemoryError\nsmall work 28900\n.*){3}went on", "python3",
              status=[0], env={"PYTHONMALLOC": "malloc"})


@test("C++: bad_alloc is caught, and there is room to say so")
def _(g):
    need("g++")
    program = compile_c(g, "catches", CATCHES, compiler="g++")
    g.refused("64M", [program], "std::bad_alloc 1", "catches", status=[5])


@test("a shell says what it was refused")
def _(g):
    need("bash")
    g.refused("64M", ["bash", "-c", 'x=$(head -c 100000000 /dev/zero | tr "\\0" a); echo ${#x}'],
              "cannot allocate", "bash")


if __name__ == "__main__":
    sys.exit(main())
