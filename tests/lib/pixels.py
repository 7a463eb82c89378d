# SPDX-License-Identifier: MIT
"""Pictures as pixels: PNG read without a library, SVG drawn by librsvg, for tests that look at them."""
import struct
import subprocess
import zlib

from real_programs import need


def unfilter(kind, line, last, step):
    """One row of a PNG, in place (PNG specification, 9.2)."""
    if kind == 2:
        return bytearray((a + b) & 255 for a, b in zip(line, last))
    for i in range(len(line) if kind else 0):
        a, b, c = line[i - step] if i >= step else 0, last[i], last[i - step] if i >= step else 0
        p = a + b - c
        nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        line[i] = (line[i] + (0, a, b, (a + b) // 2, nearest)[kind]) & 255
    return line


def read_png(png):
    """Rows of (red, green, blue)."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", png[at + 8:at + 18])
            assert depth == 8 and colour in (2, 6)
            step = 3 if colour == 2 else 4
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + size]
        at += size + 12
    raw, stride, rows = zlib.decompress(data), step * width, []
    last = bytearray(stride)
    for y in range(height):
        begin = y * (stride + 1)
        last = unfilter(raw[begin], bytearray(raw[begin + 1:begin + 1 + stride]), last, step)
        rows.append([tuple(last[i:i + 3]) for i in range(0, stride, step)])
    return rows


def draw_svg(svg, keep=None):
    """Its pixels, on white; kept as a PNG where `keep` says."""
    program, = need("rsvg-convert")
    ran = subprocess.run([program, "--background-color=white"], input=svg.encode(), capture_output=True, check=True)
    if keep:
        with open(keep, "wb") as f:
            f.write(ran.stdout)
    return read_png(ran.stdout)


def grey(pixel):
    """As a printer without colours has it, 0 to 1."""
    return (0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]) / 255


def crop(rows, left, top, right, bottom):
    return [row[round(left):round(right)] for row in rows[round(top):round(bottom)]]


def is_blank(rows):
    return all(p == (255, 255, 255) for row in rows for p in row)
