# SPDX-License-Identifier: MIT
"""The machine's mode of transparent huge pages: set for a while, and put back."""
import fcntl
import re

ENABLED = "/sys/kernel/mm/transparent_hugepage/enabled"


class Mode:
    """Holds a lock on the file as long as it lives: one who sets it at a time."""

    def __init__(self):
        self.file = self.before = None
        try:
            self.file = open(ENABLED, "r+")
            self.before = self.now()
        except OSError:
            pass

    def now(self):
        try:
            with open(ENABLED) as f:
                return re.search(r"\[(\w+)\]", f.read())[1]
        except OSError:
            return "none"

    def lock(self):
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("# waiting for another who sets the mode of huge pages", flush=True)
            fcntl.flock(self.file, fcntl.LOCK_EX)
        self.before = self.now()

    @property
    def may_set(self):
        return self.file is not None

    def set(self, mode):
        with open(ENABLED, "w") as f:
            f.write(mode)

    def restore(self):
        if self.before and self.may_set and self.now() != self.before:
            self.set(self.before)
