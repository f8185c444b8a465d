"""Draws the pictures of samples/pets/, and those that tests need: simple cats, dogs and landscapes, as JPEG or PNG.

    python -m local.pictures                    draws samples/pets/ again, the same bytes each time

    png(cat(), sees={"labels": {"Cat": 97.4}})  a file in whose text stands what the stand-in for Rekognition sees in it

All that is painted or written is rounded to whole numbers, so that every machine draws the same. Only how well zlib packs a PNG
may differ.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local.emulator import ROOT
from local.rekognition import KEYWORD

FOLDER = ROOT / "samples" / "pets"
WIDTH, HEIGHT = 320, 240
_FINE = 2  # drawn this much larger, then averaged: soft edges

Colour = tuple[int, ...]
Pixels = Sequence[Sequence[Colour]]
"""Rows of red, green, blue."""
Point = tuple[float, float]

WHITE, BLACK, PINK = (250, 248, 244), (32, 30, 34), (236, 150, 150)


class Canvas:
    """What shapes are painted on, one over the other. Coordinates are pixels, from the top left corner."""

    def __init__(self, background: Colour, width: int = WIDTH, height: int = HEIGHT):
        self.width, self.height = width, height
        self._rows = [[background] * (width * _FINE) for _ in range(height * _FINE)]

    def _paint(self, row: int, left: float, right: float, colour: Colour) -> None:
        start, end = max(round(left), 0), min(round(right), self.width * _FINE)
        if 0 <= row < len(self._rows) and start < end:
            self._rows[row][start:end] = [colour] * (end - start)

    def ellipse(self, x: float, y: float, across: float, down: float, colour: Colour) -> None:
        """An ellipse around a point; `across` and `down` are its half axes."""
        x, y, across, down = (value * _FINE for value in (x, y, across, down))
        for row in range(math.floor(y - down), math.ceil(y + down)):
            rest = 1 - ((row + 0.5 - y) / down) ** 2
            if rest > 0:
                half = across * math.sqrt(rest)
                self._paint(row, x - half, x + half, colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A polygon; where it is not convex, even-odd."""
        fine = [(x * _FINE, y * _FINE) for x, y in points]
        edges = list(zip(fine, (*fine[1:], fine[0]), strict=True))
        for row in range(math.floor(min(y for _, y in fine)), math.ceil(max(y for _, y in fine))):
            middle = row + 0.5
            cuts = sorted(
                x0 + (middle - y0) * (x1 - x0) / (y1 - y0) for (x0, y0), (x1, y1) in edges if (y0 <= middle) != (y1 <= middle))
            for left, right in zip(cuts[::2], cuts[1::2], strict=True):
                self._paint(row, left, right, colour)

    def line(self, start: Point, end: Point, colour: Colour, thick: float = 2) -> None:
        """A straight line."""
        (x0, y0), (x1, y1) = start, end
        length = math.hypot(x1 - x0, y1 - y0)
        across, down = (y1 - y0) / length * thick / 2, (x0 - x1) / length * thick / 2
        self.polygon([(x0 + across, y0 + down), (x1 + across, y1 + down), (x1 - across, y1 - down), (x0 - across, y0 - down)],
                     colour)

    def pixels(self) -> Pixels:
        """The picture."""
        return averaged(self._rows, _FINE)


def averaged(pixels: Pixels, size: int) -> list[list[Colour]]:
    """The picture made smaller: one pixel of each square of that size."""
    area = size * size
    smaller = []
    for top in range(0, len(pixels), size):
        rows = pixels[top:top + size]
        line = []
        for left in range(0, len(pixels[0]), size):
            square = [pixel for row in rows for pixel in row[left:left + size]]
            first = square[0]
            flat = all(pixel == first for pixel in square)
            line.append(first if flat else tuple(sum(part) // area for part in zip(*square, strict=True)))
        smaller.append(line)
    return smaller


def coarse(pixels: Pixels, size: int) -> list[list[Colour]]:
    """The picture in squares of that size, in which little can be made out."""
    rows = averaged(pixels, size)
    return [[pixel for pixel in row for _ in range(size)] for row in rows for _ in range(size)]


# --- motifs ----------------------------------------------------------------------------------------------------------------

def room() -> Canvas:
    """A wall and a carpet."""
    canvas = Canvas((226, 216, 198))
    canvas.polygon([(0, 190), (WIDTH, 190), (WIDTH, HEIGHT), (0, HEIGHT)], (176, 138, 104))
    canvas.ellipse(160, 222, 140, 26, (120, 92, 126))
    return canvas


def add_cat(canvas: Canvas, x: float, y: float, size: float, fur: Colour = (217, 142, 66)) -> None:
    """A cat around the point, `size` of 1 being 140 pixels across."""
    dark = tuple(part * 3 // 4 for part in fur)

    def at(dx: float, dy: float) -> Point:
        return x + dx * size, y + dy * size

    def oval(dx: float, dy: float, across: float, down: float, colour: Colour) -> None:
        canvas.ellipse(*at(dx, dy), across * size, down * size, colour)

    oval(0, 98, 56, 60, fur)
    oval(0, 112, 30, 42, WHITE)
    for side in (-1, 1):
        canvas.polygon([at(side * 66, -24), at(side * 60, -92), at(side * 14, -48)], fur)
        canvas.polygon([at(side * 57, -36), at(side * 55, -76), at(side * 27, -50)], PINK)
    oval(0, 0, 72, 58, fur)
    for offset in (-20, 0, 20):
        canvas.polygon([at(offset - 5, -58), at(offset + 5, -58), at(offset * 0.8, -28)], dark)
    for side in (-1, 1):
        oval(side * 29, -8, 16, 13, (176, 208, 92))
        oval(side * 29, -8, 4, 12, BLACK)
        oval(side * 27, -12, 3, 3, WHITE)
        oval(side * 14, 27, 19, 15, WHITE)
    canvas.polygon([at(-9, 13), at(9, 13), at(0, 23)], PINK)
    for side in (-1, 1):
        canvas.line(at(0, 22), at(side * 12, 34), BLACK, 2.2 * size)
        for rise in (-8, 2, 12):
            canvas.line(at(side * 24, 26 + rise / 4), at(side * 92, 20 + rise * 1.6), WHITE if rise else dark, 1.6 * size)


def add_dog(canvas: Canvas, x: float, y: float, size: float, fur: Colour = (168, 116, 72)) -> None:
    """A dog around the point, `size` of 1 being 150 pixels across."""
    dark = tuple(part * 5 // 8 for part in fur)

    def oval(dx: float, dy: float, across: float, down: float, colour: Colour) -> None:
        canvas.ellipse(x + dx * size, y + dy * size, across * size, down * size, colour)

    oval(0, 104, 62, 58, fur)
    oval(0, 110, 34, 44, WHITE)
    oval(0, 0, 62, 62, fur)
    oval(24, -16, 26, 24, WHITE)
    for side in (-1, 1):
        oval(side * 66, 6, 20, 50, dark)
        oval(side * 24, -14, 9, 10, BLACK)
        oval(side * 22, -17, 3, 3, WHITE)
    oval(0, 58, 14, 22, PINK)
    oval(0, 32, 38, 28, (232, 212, 186))
    oval(0, 52, 30, 8, (232, 212, 186))
    oval(0, 18, 15, 11, BLACK)
    oval(-4, 14, 4, 3, (110, 110, 116))
    canvas.line((x, y + 28 * size), (x, y + 44 * size), BLACK, 2.4 * size)
    for side in (-1, 1):
        canvas.line((x, y + 44 * size), (x + side * 20 * size, y + 50 * size), BLACK, 2.4 * size)


def cat(fur: Colour = (217, 142, 66)) -> Pixels:
    """A cat in a room."""
    canvas = room()
    add_cat(canvas, 160, 122, 1, fur)
    return canvas.pixels()


def dog(fur: Colour = (168, 116, 72)) -> Pixels:
    """A dog in a room."""
    canvas = room()
    add_dog(canvas, 160, 114, 1, fur)
    return canvas.pixels()


def cat_and_dog() -> Pixels:
    """Both, side by side."""
    canvas = room()
    add_cat(canvas, 88, 136, 0.8, (120, 122, 130))
    add_dog(canvas, 230, 128, 0.8)
    return canvas.pixels()


def landscape() -> Pixels:
    """Hills, a lake, the sun; no animal."""
    canvas = Canvas((168, 206, 234))
    canvas.ellipse(258, 52, 24, 24, (252, 226, 120))
    canvas.polygon([(-20, 170), (70, 60), (150, 170)], (112, 128, 150))
    canvas.polygon([(90, 180), (190, 84), (300, 180)], (132, 146, 166))
    canvas.ellipse(60, 236, 190, 84, (96, 152, 88))
    canvas.ellipse(270, 246, 160, 76, (116, 170, 96))
    canvas.ellipse(176, 226, 92, 18, (88, 148, 196))
    for x, y in ((44, 150), (70, 142), (286, 170)):
        canvas.polygon([(x - 3, y + 26), (x + 3, y + 26), (x + 3, y), (x - 3, y)], (104, 76, 52))
        canvas.polygon([(x - 16, y + 12), (x + 16, y + 12), (x, y - 34)], (52, 108, 70))
    return canvas.pixels()


# --- files -----------------------------------------------------------------------------------------------------------------

def said(sees: Mapping[str, Any] | None) -> bytes:
    """What is to be seen, as the text of a picture: ASCII."""
    return json.dumps(sees).encode() if sees else b""


def png(pixels: Pixels, sees: Mapping[str, Any] | None = None) -> bytes:
    """A PNG file."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(part for pixel in row for part in pixel) for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 2, 0, 0, 0))
            + (chunk(b"tEXt", KEYWORD.encode() + b"\0" + said(sees)) if sees else b"")
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


# A baseline JPEG (ITU-T T.81) that spends no bits on being small: one table of each kind, all codes of a table equally long.
_ZIGZAG = sorted(range(64), key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8))
_STEPS = [6 + 4 * (at // 8 + at % 8) for at in range(64)]  # quantisation: coarser towards fine detail
_AC_SYMBOLS = (0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 11)))
_AC_CODES = {symbol: format(code, "08b") for code, symbol in enumerate(_AC_SYMBOLS)}
_YCBCR = ((19595, 38470, 7471, -128), (-11059, -21709, 32768, 0), (32768, -27439, -5329, 0))  # JFIF, by 2**16; the shift
_SCALE = 12  # bits after the point
_COSINES = [[round(math.cos((2 * x + 1) * u * math.pi / 16) / (2 if u else math.sqrt(8)) * (1 << _SCALE)) for x in range(8)]
            for u in range(8)]


def jpeg(pixels: Pixels, sees: Mapping[str, Any] | None = None) -> bytes:
    """A JPEG file. Width and height are multiples of 8."""
    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    width, height = len(pixels[0]), len(pixels)
    components = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    dc_lengths, ac_lengths = bytes([0] * 3 + [12] + [0] * 12), bytes([0] * 7 + [len(_AC_SYMBOLS)] + [0] * 8)
    return b"".join((
        b"\xff\xd8", segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
        segment(0xFE, KEYWORD.encode() + b":" + said(sees)) if sees else b"",
        segment(0xDB, b"\0" + bytes(_STEPS[at] for at in _ZIGZAG)),
        segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + components),
        segment(0xC4, b"\x00" + dc_lengths + bytes(range(12))),
        segment(0xC4, b"\x10" + ac_lengths + bytes(_AC_SYMBOLS)),
        segment(0xDA, b"\3" + b"".join(bytes((number, 0)) for number in (1, 2, 3)) + b"\0\x3f\0"),
        _scan(pixels), b"\xff\xd9"))


def _scan(pixels: Pixels) -> bytes:
    planes = [_plane(pixels, *weights) for weights in _YCBCR]
    bits, last = [], [0, 0, 0]
    for top in range(0, len(pixels), 8):
        for left in range(0, len(pixels[0]), 8):
            for number, plane in enumerate(planes):
                block = _quantised([row[left:left + 8] for row in plane[top:top + 8]])
                bits += _coded(block, block[0] - last[number])
                last[number] = block[0]
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8).replace(b"\xff", b"\xff\0")


def _plane(pixels: Pixels, red: int, green: int, blue: int, shift: int) -> list[list[int]]:
    return [[(red * r + green * g + blue * b + 32768 >> 16) + shift for r, g, b in row] for row in pixels]


def _quantised(block: list[list[int]]) -> list[int]:
    """The block's frequencies in zigzag order, in steps."""
    first = block[0][0]
    if all(value == first for row in block for value in row):
        return [_rounded(8 * first, _STEPS[0]), *[0] * 63]
    across = [[sum(map(int.__mul__, cosines, row)) for cosines in _COSINES] for row in block]  # [y][u]
    down = list(zip(*across, strict=True))  # [u][y]
    return [_rounded(sum(map(int.__mul__, _COSINES[at // 8], down[at % 8])), _STEPS[at] << 2 * _SCALE) for at in _ZIGZAG]


def _rounded(value: int, step: int) -> int:
    return (value + step // 2) // step if value >= 0 else -((-value + step // 2) // step)


def _coded(block: list[int], difference: int) -> list[str]:
    size, amplitude = _amplitude(difference)
    bits, run = [format(size, "04b"), amplitude], 0
    for value in block[1:max((at for at in range(64) if block[at]), default=0) + 1]:
        if not value:
            run += 1
            continue
        bits += [_AC_CODES[0xF0]] * (run // 16)
        size, amplitude = _amplitude(value)
        bits += [_AC_CODES[run % 16 << 4 | size], amplitude]
        run = 0
    return bits if block[63] else [*bits, _AC_CODES[0x00]]


def _amplitude(value: int) -> tuple[int, str]:
    """Size and bits of a number: those below zero count from below."""
    size = abs(value).bit_length()
    return size, format(value if value > 0 else value + (1 << size) - 1, f"0{size}b") if size else ""


# --- the samples -----------------------------------------------------------------------------------------------------------

def _seeing(**labels: float) -> dict[str, Any]:
    return {"labels": labels}


SAMPLES: dict[str, Callable[[], bytes]] = {
    "cat.jpg": lambda: jpeg(cat(), _seeing(Cat=97.4)),
    "dog.png": lambda: png(dog(), _seeing(Dog=98.1)),
    "dog.jpg": lambda: jpeg(dog((92, 78, 70)), _seeing(Puppy=93.2, Dog=96.6)),
    "landscape.png": lambda: png(landscape(), _seeing(Landscape=97.9, Scenery=91.3)),
    "cat-and-dog.jpg": lambda: jpeg(cat_and_dog(), _seeing(Cat=95.8, Dog=92.5)),
    "blurry.jpg": lambda: jpeg(coarse(cat(), 20), _seeing(Cat=61.7)),
    "not-an-image.jpg": lambda: b"A text that was named like a picture: cats, dogs and others.\n",
    "truncated.jpg": lambda: (whole := jpeg(cat((150, 146, 150)), _seeing(Cat=97.0)))[:len(whole) * 2 // 3],
    "tiny.png": lambda: png(averaged(dog(), 5), _seeing(Dog=97.5)),
    "Kätzchen im März.jpg": lambda: jpeg(cat((70, 66, 74)), _seeing(Kitten=88.4, Cat=94.3)),
    "throttled.png": lambda: png(cat((238, 226, 206)), {
        **_seeing(Cat=96.2), "errors": ["ThrottlingException", "ProvisionedThroughputExceededException"]}),
    "dropped/rex.jpg": lambda: jpeg(dog((200, 170, 120)), _seeing(Dog=99.0)),
}
"""File name below samples/pets/ -> what it holds."""


def main() -> None:
    """Draw all samples."""
    for name, draw in SAMPLES.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw())
        print(f"{path.stat().st_size:6} {name}")


if __name__ == "__main__":
    main()
