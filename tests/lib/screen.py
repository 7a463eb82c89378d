# SPDX-License-Identifier: MIT
"""A terminal of a given size with a program in it, by tmux: what it shows, keys for it, and a picture of it."""
import re
import subprocess
from xml.sax.saxutils import escape

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

    def svg(self):
        """What it shows, as a picture."""
        width, height = (int(n) for n in self.do("display", "-p", "#{pane_width} #{pane_height}").split())
        return picture(self.raw(), width, height)

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


# ---- a picture of a screen: dark words on white, as on paper; each letter has its place whatever the font -------------

CELL, LINE, FONT = 8, 17, 13.29  # DejaVu Sans Mono is 0.602 of its size wide
COLOURS = ("#000000", "#b00000", "#1a6e1a", "#8a6200", "#1f3fa8", "#8b1f8b", "#0d6c7a", "#606060")


def restyle(style, codes):
    for code in codes.split(";"):
        code = int(code or 0)
        if code == 0:
            style.clear()
        elif code in (1, 4, 7):
            style[code] = True
        elif code in (39, 49):
            style.pop("colour" if code == 39 else "paper", None)
        elif 30 <= code <= 37 or 40 <= code <= 47:
            style["colour" if code < 40 else "paper"] = COLOURS[code % 10]


def styled(line, style):
    """(text, style) of each run; `style` goes on to the next line."""
    for i, part in enumerate(re.split(r"\x1b\[([0-9;]*)m", re.sub(r"\x1b\([0B]|[\x0e\x0f]", "", line))):
        if i % 2:
            restyle(style, part)
        elif part:
            yield part, dict(style)


def run_svg(text, style, x, y):
    colour, paper = style.get("colour", "#000000"), style.get("paper", "#ffffff")
    if style.get(7):
        colour, paper = paper, colour if colour != "#000000" else "#404040"
    box = 'x="%d" y="%d" width="%d" height="%d"' % (x, y, CELL * len(text), LINE)
    out = '<rect %s fill="%s"/>\n' % (box, paper) if paper != "#ffffff" else ""
    if text.strip():
        lead = len(text) - len(text.lstrip())
        words = text.strip()
        out += '<text x="%d" y="%d" textLength="%d" lengthAdjust="spacingAndGlyphs" fill="%s"%s%s>%s</text>\n' % (
            x + CELL * lead, y + 13, CELL * len(words), colour, ' font-weight="bold"' if style.get(1) else "",
            ' text-decoration="underline"' if style.get(4) else "", escape(words).replace(" ", "\u00a0"))
    return out


def picture(raw, width, height):
    """SVG of what `tmux capture-pane -e` says."""
    out = ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
           'font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="%.2f">\n'
           '<rect width="100%%" height="100%%" fill="#ffffff"/>\n') % (
               (width * CELL + 16, height * LINE + 16) * 2 + (FONT,))
    style = {}
    for row, line in enumerate(raw.split("\n")[:height]):
        x = 8
        for text, how in styled(line, style):
            out += run_svg(text, how, x, 8 + row * LINE)
            x += CELL * len(text)
    return out + "</svg>\n"
