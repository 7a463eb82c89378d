# SPDX-License-Identifier: MIT
"""A member that takes as much as it is told to: what limits, policies and kept room are tried on."""
from real_programs import compile_c

MIB = 1 << 20

# For each number of MiB in its input: allocates and touches them, and says "ok", or "no" when it was refused. With an
# argument it does not end for SIGTERM.
GROW = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
	static char line[64];
	(void)argv;
	if (argc > 1)
		signal(SIGTERM, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		int n = atoi(line) * 16, good = 1;
		for (int i = 0; i < n && good; i++) {
			char *p = malloc(65536 - 64);
			good = p != NULL;
			if (good)
				memset(p, 1, 65536 - 64);
		}
		puts(good ? "ok" : "no");
	}
	return 0;
}
"""


def program(g):
    """Its path."""
    return compile_c(g, "growing", GROW)


class Grower:
    """It runs with these options of memctl run; `words` are the program's own."""

    def __init__(self, g, group, *options, words=(), env=None):
        self.process = g.start([g.memctl, "run", *(["-g", group] if group else []), *options, "--", program(g), *words],
                               env)

    def ask(self, mib):
        self.process.stdin.write("%d\n" % mib)
        self.process.stdin.flush()

    def answer(self):
        return self.process.stdout.readline().strip()

    def grow(self, mib):
        self.ask(mib)
        return self.answer()

    def runs(self):
        """It has started: its program answers."""
        assert self.grow(0) == "ok"
        return self

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(60)
        self.errors = self.process.stderr.read()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
        return status
