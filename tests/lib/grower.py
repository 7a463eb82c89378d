# SPDX-License-Identifier: MIT
"""A program that goes to its limit and beyond, and ends well."""

from real_programs import compile_c

# Wants argv[1] MiB, one by one: those above the limit are refused.
GROW = r"""
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
	(void)argc;
	for (int i = atoi(argv[1]); i > 0; i--) {
		char *p = malloc(1 << 20);
		if (p)
			memset(p, 1, 1 << 20);
	}
	return 0;
}
"""


def grower(g):
    """The program's path."""
    return compile_c(g, "grow", GROW)
