"""Draws test images: every byte of them is known."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, content=b""):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def ihdr(width, height, depth=8, colour=2, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def rows(width, height, depth=8, colour=2, interlace=0):
    """The bytes to be compressed, drawn pass by pass."""
    data = b""
    for x, y, step_x, step_y in ADAM7 if interlace else ((0, 0, 1, 1),):
        columns, lines = len(range(x, width, step_x)), len(range(y, height, step_y))
        if columns:
            data += (b"\0" + b"\x5a" * -(-columns * depth * CHANNELS[colour] // 8)) * lines
    return data


def png(width=80, height=80, depth=8, colour=2, interlace=0, *, data=None, pieces=1, before=b""):
    compressed = zlib.compress(rows(width, height, depth, colour, interlace)) if data is None else data
    step = max(1, -(-len(compressed) // pieces))
    parts = b"".join(chunk(b"IDAT", compressed[at : at + step]) for at in range(0, len(compressed), step))
    return SIGNATURE + ihdr(width, height, depth, colour, interlace) + before + parts + chunk(b"IEND")


def segment(marker, content=b""):
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def sof(width, height, process=0xC0, sampling=(0x11,)):
    components = b"".join(bytes((number, factors, 0)) for number, factors in enumerate(sampling, start=1))
    return segment(process, struct.pack(">BHHB", 8, height, width, len(sampling)) + components)


def jpeg(width=80, height=80, process=0xC0, sampling=(0x11,), *, scan=None, before=b"", end=b"\xff\xd9"):
    """Grey all over. Both Huffman tables know one symbol of one bit (no difference; end of block): two bits a block."""
    if scan is None:
        scan = bytes(-(-(-(-width // 8) * -(-height // 8) * 2) // 8))
    tables = segment(0xDB, b"\0" + b"\x01" * 64) + b"".join(
        segment(0xC4, bytes((kind, 1)) + bytes(15) + b"\0") for kind in (0x00, 0x10)
    )
    start_of_scan = segment(0xDA, bytes((1, 1, 0, 0, 63, 0)))
    return b"\xff\xd8" + before + tables + sof(width, height, process, sampling) + start_of_scan + scan + end
