"""What an image's bytes say about it (P9): format, width, height, and whether it is whole. Rules only, no I/O.

Nothing is decoded into pixels. A PNG's checksums are verified and its data inflated, in pieces that are thrown away, to see that
they are just what its pixels need. A JPEG's segments are walked up to its end; its compressed data must at least be long enough.
Either takes time in proportion to the bytes (or, at most, 800 MB of inflated ones), and little memory beside them.

What follows the end of an image is ignored, as every decoder does, and may be anything: phones append previews and whole films
to JPEGs, screenshot editors have left old bytes behind PNGs. It is never interpreted here, and downloads are marked as an image
to be saved, so that a browser interprets nothing either.
"""

import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MIN_SIDE, MAX_SIDE = 80, 10_000
"""Pixels. Amazon Rekognition Developer Guide, "Guidelines and quotas": DetectLabels."""

_MAX_PARTS = 100_000  # segments or chunks; pictures have dozens, or thousands of them, and hostile files millions
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
_SAVE_AGAIN = "open it in a picture viewer, save it again as JPEG or PNG, and upload that"

# How others begin, so that the refusal can say what it is: start, or start and something a little further on.
_OTHERS = (
    ("a GIF", re.compile(rb"GIF8[79]a")),
    ("a WebP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("a HEIC or AVIF", re.compile(rb"....ftyp(?:hei|hev|mif|msf|avi)", re.DOTALL)),
    ("a TIFF", re.compile(rb"II\*\0|MM\0\*")),
    ("a BMP", re.compile(rb"BM")),
    ("a PDF", re.compile(rb"%PDF-")),
)


class Refused(Exception):
    """The image is not what it should be, and never will be. ``code`` is one of ``contract.REFUSALS``; the reason tells a person
    what is wrong and what to do."""

    def __init__(self, code: str, reason: str):
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Facts:
    """``format`` is ``jpg`` or ``png``; sides in pixels."""

    format: str
    width: int
    height: int


def check_size(size: int, limit: int) -> None:
    """The first check, before anything is read; both in bytes. Raises Refused."""
    if not size:
        raise Refused("empty", "the file is empty (0 bytes): upload it again")
    if size > limit:
        raise Refused("too_large", f"the file has {size:,} bytes; at most {limit:,} are analysed: make the picture smaller")


def check(data: bytes) -> Facts:
    """Look through a whole image. Raises Refused."""
    if data.startswith(_PNG_SIGNATURE):
        return _check_png(data)
    if data.startswith(_JPEG_START):
        return _check_jpeg(data)
    if len(data) < len(_PNG_SIGNATURE) and (_PNG_SIGNATURE.startswith(data) or _JPEG_START.startswith(data)):
        raise _truncated()
    kind = next((f", but {name}" for name, pattern in _OTHERS if pattern.match(data)), "")
    raise Refused("not_an_image", f"the file is neither JPEG nor PNG{kind}: {_SAVE_AGAIN}")


def _truncated() -> Refused:
    return Refused("truncated", "the file ends in the middle of the picture: was it cut off? Upload it again")


def _damaged(what: str) -> Refused:
    return Refused("not_an_image", f"the file is damaged: {what}; {_SAVE_AGAIN}")


def _check_parts(number: int) -> None:
    if number > _MAX_PARTS:
        raise _damaged(f"it has more than {_MAX_PARTS:,} parts")


def _check_sides(width: int, height: int) -> None:
    measured = f"the picture has {width:,} x {height:,} pixels"
    if min(width, height) < MIN_SIDE:
        raise Refused("too_small", f"{measured}; each side needs at least {MIN_SIDE}: upload a larger one")
    if max(width, height) > MAX_SIDE:
        raise Refused("too_many_pixels", f"{measured}; each side may have at most {MAX_SIDE:,}: make it smaller")


# --- JPEG (ITU-T T.81, annex B) --------------------------------------------------------------------------------------

_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC lie between the start-of-frame markers
_FILL = re.compile(rb"\xff+")
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither a stuffed zero, nor a restart, nor a fill byte

# The shortest code has one bit. A block takes one for its DC and one for its AC coefficients; in a progressive picture, where
# runs of empty AC coefficients are coded together, only the first. Other processes are not bounded.
_BITS_PER_BLOCK = {0xC0: 2, 0xC1: 2, 0xC2: 1}


@dataclass(frozen=True)
class _Frame:
    process: int
    width: int
    height: int
    sampling: tuple[tuple[int, int], ...]  # horizontal and vertical, of each component

    @property
    def least_bytes(self) -> int:
        """Compressed data that such a picture has at the very least."""
        across, down = (max(factors) for factors in zip(*self.sampling, strict=True))
        blocks = sum(
            _ceil(_ceil(self.width * horizontal, across), 8) * _ceil(_ceil(self.height * vertical, down), 8)
            for horizontal, vertical in self.sampling
        )
        return _ceil(blocks * _BITS_PER_BLOCK.get(self.process, 0), 8)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _check_jpeg(data: bytes) -> Facts:
    frame: _Frame | None = None
    compressed = 0
    position = len(_JPEG_START)
    for part in itertools.count():
        _check_parts(part)
        marker, position = _marker(data, position)
        if marker == _EOI:
            break
        if marker == _SOI:
            raise _damaged("a JPEG begins inside of the JPEG")
        if marker == _TEM or marker in _RESTARTS:
            continue
        segment, position = _segment(data, position)
        if marker in _FRAMES:
            if frame:
                raise _damaged("the JPEG says its size twice")
            frame = _frame(marker, segment)
            _check_sides(frame.width, frame.height)
        elif marker == _SOS:
            if not frame:
                raise _damaged("the JPEG's data come before their size")
            found = _NEXT_MARKER.search(data, position)
            if not found:
                raise _truncated()
            compressed += found.start() - position
            position = found.start()
    if not frame or not compressed:
        raise _damaged("the JPEG holds no picture")
    if compressed < frame.least_bytes:
        raise _truncated()
    return Facts("jpg", frame.width, frame.height)


def _marker(data: bytes, position: int) -> tuple[int, int]:
    """The marker here, after any number of fill bytes, and where it ends."""
    if position >= len(data):
        raise _truncated()
    fill = _FILL.match(data, position)
    if not fill:
        raise _damaged("a JPEG's marker is missing")
    end = fill.end()
    if end >= len(data):
        raise _truncated()
    if data[end] == 0:
        raise _damaged("a JPEG's marker is missing")
    return data[end], end + 1


def _segment(data: bytes, position: int) -> tuple[bytes, int]:
    """What stands after a marker, without its length, and where it ends."""
    length = int.from_bytes(data[position : position + 2], "big")
    if position + max(length, 2) > len(data):
        raise _truncated()
    if length < 2:
        raise _damaged("a part of the JPEG is shorter than possible")
    return data[position + 2 : position + length], position + length


def _frame(marker: int, segment: bytes) -> _Frame:
    components = segment[5] if len(segment) > 5 else 0
    if not components or len(segment) != 6 + 3 * components:
        raise _damaged("the JPEG's size is unreadable")
    sampling = tuple((segment[at] >> 4, segment[at] & 15) for at in range(7, len(segment), 3))
    if not all(1 <= factor <= 4 for factors in sampling for factor in factors):
        raise _damaged("the JPEG's colours are unreadable")
    return _Frame(marker, int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[1:3], "big"), sampling)


# --- PNG (W3C, Portable Network Graphics) ----------------------------------------------------------------------------

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Where each pass begins (x, y), and its steps."""

_MAX_RATIO = 1_032  # of zlib: "maximum compression factor", zlib's technical details
_INFLATE_IN, _INFLATE_OUT = 16 << 10, 1 << 20  # bytes at a time: the rest of what went in is copied each time


def _check_png(data: bytes) -> Facts:
    chunks = _chunks(data)
    kind, header = next(chunks)
    if kind != b"IHDR" or len(header) != 13:
        raise _damaged("the PNG does not begin with its size")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour, compression, filtering, interlace = header[8:]
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise _damaged("the PNG is of a kind that does not exist")
    _check_sides(width, height)
    needed = _inflated_bytes(width, height, depth * _CHANNELS[colour], _ADAM7 if interlace else _WHOLE)
    if len(data) * _MAX_RATIO < needed:  # however well it is compressed
        raise _truncated()
    _check_inflated((chunk for kind, chunk in chunks if kind == b"IDAT"), needed)
    return Facts("png", width, height)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Type and content of each chunk up to the last one, IEND."""
    view, position, kind = memoryview(data), len(_PNG_SIGNATURE), b""
    for part in itertools.count():
        if kind == b"IEND":
            return
        _check_parts(part)
        if position + 12 > len(data):
            raise _truncated()
        length, kind = int.from_bytes(view[position : position + 4], "big"), bytes(view[position + 4 : position + 8])
        if not (kind.isalpha() and kind.isascii()) or length > 0x7FFFFFFF:
            raise _damaged("a part of the PNG has no name")
        end = position + 12 + length
        if end > len(data):
            raise _truncated()
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise _damaged(f"the checksum of the PNG's part {kind.decode()} is wrong")
        if part and kind == b"IHDR":
            raise _damaged("the PNG says its size twice")
        yield kind, view[position + 8 : end - 4]
        position = end


def _inflated_bytes(width: int, height: int, bits_per_pixel: int, passes: tuple[tuple[int, int, int, int], ...]) -> int:
    """What the pixels take: each row of each pass begins with a byte for its filter. A pass without pixels has no rows."""
    total = 0
    for x, y, step_x, step_y in passes:
        columns, rows = _ceil(width - x, step_x), _ceil(height - y, step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + _ceil(columns * bits_per_pixel, 8))
    return total


def _check_inflated(compressed: Iterable[memoryview], needed: int) -> None:
    """The data must inflate to just the bytes that the pixels need; hardly more than that is ever inflated."""
    stream = zlib.decompressobj()
    inflated = 0
    try:
        for piece in _pieces(compressed):
            rest: bytes | memoryview = piece
            while inflated <= needed and not stream.eof:
                output = len(stream.decompress(rest, _INFLATE_OUT))
                inflated += output
                rest = stream.unconsumed_tail
                if output < _INFLATE_OUT:
                    break
    except zlib.error:
        raise _damaged("the PNG's data cannot be inflated") from None
    if inflated > needed:
        raise _damaged("the PNG holds more data than its pixels need")
    if inflated < needed or not stream.eof:
        raise _truncated()


def _pieces(compressed: Iterable[memoryview]) -> Iterator[memoryview]:
    """All of it, even after the end: the walk through the chunks is a check of its own."""
    for chunk in compressed:
        for position in range(0, len(chunk), _INFLATE_IN):
            yield chunk[position : position + _INFLATE_IN]
