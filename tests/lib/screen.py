# SPDX-License-Identifier: MIT
"""A terminal of a given size with a program in it, by tmux: what it shows, and keys for it."""
import subprocess

from real_programs import need, wait_for


class Screen:
    """Runs argv in a terminal of its own, under the ground's environment."""

    def __init__(self, ground, argv, width=80, height=24, env=None):
        self.ground = ground
        self.tmux, = need("tmux")
        ground.screens = getattr(ground, "screens", 0) + 1
        self.socket = "%s/tmux%d" % (ground.top, ground.screens)
        whole = {**ground.env, "LC_ALL": "C.UTF-8", **(env or {})}
        whole.pop("TMUX", None)
        term = whole.pop("TERM", "xterm-256color")
        # TERM is tmux's own while it starts, and then the program's.
        words = ["env", "TERM=" + term, *argv]
        subprocess.run([self.tmux, "-S", self.socket, "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y",
                        str(height), *words, ";", "set", "-g", "remain-on-exit", "on"], check=True,
                       env={**whole, "TERM": "xterm"})

    def do(self, *words):
        ran = subprocess.run([self.tmux, "-S", self.socket, *words], capture_output=True, text=True, check=True)
        return ran.stdout

    def text(self):
        return self.do("capture-pane", "-p")

    def past(self):
        """With what has scrolled away."""
        return self.do("capture-pane", "-p", "-S", "-100")

    def raw(self):
        """With its colours."""
        return self.do("capture-pane", "-p", "-e")

    def keys(self, *keys):
        for key in keys:
            self.do("send-keys", key)

    def type(self, text):
        self.do("send-keys", "-l", text)

    def resize(self, width, height):
        self.do("resize-window", "-x", str(width), "-y", str(height))

    def until(self, what, condition):
        """The screen, once it satisfies the condition."""
        last = []

        def look():
            last[:] = [self.text()]
            return condition(last[0])
        try:
            wait_for(what, look)
        except AssertionError as e:
            raise AssertionError("%s; the screen:\n%s" % (e, last[0])) from None
        return last[0]

    def shows(self, *words):
        return self.until("it shows " + ", ".join(words), lambda text: all(w in text for w in words))

    def is_over(self):
        return self.do("display", "-p", "#{pane_dead}").strip() == "1"

    def close(self):
        subprocess.run([self.tmux, "-S", self.socket, "kill-server"], capture_output=True, check=False)
