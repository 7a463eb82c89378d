# SPDX-License-Identifier: MIT
"""A client that does what it is told, a line at a time, and answers each with a line of numbers."""
import select

from real_programs import DEADLINE


class ToldProgram:
    """`client` run in `group` (None: without memctl), with `env` above the ground's."""

    def __init__(self, g, group, client, env, options=()):
        run = [g.memctl, "run", "-g", group, *options, "--"] if group else []
        self.process = g.start([*run, *client], env, space=None)

    def read(self, line):
        return [int(word) for word in line.split()]

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        assert ready, "no answer in %d s" % DEADLINE
        line = self.process.stdout.readline()
        assert line, "no answer: " + self.process.stderr.read()
        return self.read(line)

    def do(self, line):
        self.say(line)
        return self.answer()

    def result(self, line):
        return self.do(line)[0]

    def end(self, status=0):
        """What it wrote to stderr."""
        _, err = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == status, (self.process.returncode, err)
        return err
