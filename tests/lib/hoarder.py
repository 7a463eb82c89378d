# SPDX-License-Identifier: MIT
"""A member that holds heap and keeps part of it: what reclaim is tried on."""
import json

from real_programs import compile_c, wait_for

MIB = 1 << 20

# Allocates argv[1] MiB in blocks of 256 KiB and frees all but argv[2] MiB of them; then it has that much to give.
# Afterwards it answers each line with "ok" when what it kept is as it was.
HOARD = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define BLOCK (256 << 10)
int main(int argc, char **argv)
{
	int n = atoi(argv[1]) * ((1 << 20) / BLOCK), kept = atoi(argv[2]) * ((1 << 20) / BLOCK);
	char **block = malloc(n * sizeof(*block)), line[16];
	(void)argc;
	for (int i = 0; i < n; i++)
		memset(block[i] = malloc(BLOCK), i, BLOCK);
	for (int i = kept; i < n; i++)
		free(block[i]);
	free(malloc(100));
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		int bad = 0;
		for (int i = 0; i < kept; i++)
			for (int j = 0; j < BLOCK; j++)
				bad += block[i][j] != (char)i;
		puts(bad ? "bad" : "ok");
		fflush(stdout);
	}
	return 0;
}
"""


class Hoarder:
    """A member that holds so much, in MiB, and of it keeps so much when it is asked."""

    def __init__(self, g, group, holds, keeps):
        self.g, self.group = g, group
        # jemalloc's decay would give it back by itself
        self.process = g.start([g.memctl, "run", "-g", group, "--keep", "--", compile_c(g, "hoard", HOARD), str(holds),
                                str(keeps)], {"MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"})
        assert self.process.stdout.readline() == "ready\n"
        wait_for("%s is seen" % group, lambda: self.current() > (holds - 8) * MIB)

    def current(self):
        return int(self.g.get(self.group, "memory.current"))

    def pid(self):
        rows = json.loads(self.g.do("ps", "--json", self.group))
        return (rows["members"] if isinstance(rows, dict) else rows)[0]["pid"]

    def end(self):
        """What it has kept is as it was."""
        self.process.stdin.write("look\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()
        self.process.stderr.close()
