"""The samples of the pet detector are what the program draws (L1): the same on every machine, and pictures indeed."""

import io
import struct
import zlib
from itertools import pairwise

import pytest

from local import pictures
from local.pictures import FOLDER, SAMPLES, averaged, coarse, jpeg, png
from local.rekognition import picture_of, seen_in

PICTURES = [name for name in SAMPLES if name not in ("not-an-image.jpg", "truncated.jpg")]


def parts(file: bytes) -> list:
    """What a file holds, a PNG's rows unpacked: zlibs pack differently."""
    if not file.startswith(b"\x89PNG"):
        return [file]
    stream, found = io.BytesIO(file[8:]), []
    while head := stream.read(8):
        length, kind = struct.unpack(">I4s", head)
        data = stream.read(length)
        assert stream.read(4) == struct.pack(">I", zlib.crc32(kind + data))
        found.append((kind, zlib.decompress(data) if kind == b"IDAT" else data))
    return found


def test_there_are_no_other_samples():
    assert {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*")} == {*SAMPLES, "expected.toml"}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_what_the_program_draws(name):
    """L1: to the byte, and small enough for a repository."""
    kept = (FOLDER / name).read_bytes()
    assert parts(kept) == parts(SAMPLES[name]())
    assert len(kept) < 30_000


@pytest.mark.parametrize("name", PICTURES)
def test_they_are_what_their_names_say(name):
    """P9: JPEG or PNG by content, and what is to be seen in them is readable."""
    kept = (FOLDER / name).read_bytes()
    picture = picture_of(kept)
    assert picture and (picture.width, picture.height) == ((64, 48) if name == "tiny.png" else (320, 240))
    assert kept.startswith(b"\xff\xd8" if name.endswith(".jpg") else b"\x89PNG") and seen_in(picture)["labels"]
    assert kept.endswith(b"\xff\xd9" if name.endswith(".jpg") else b"IEND\xaeB`\x82")


def test_a_jpeg_of_one_colour_has_no_frequencies():
    """T.81: each block is its difference from the one before, and the end: 12 bits, six times."""
    assert jpeg([[(128, 128, 128)] * 16] * 8)[-11:] == bytes(9) + b"\xff\xd9"


def test_codes_of_the_jpeg_leave_room():
    """T.81: no code consists of ones alone."""
    assert "1" * 8 not in pictures._AC_CODES.values() and len(set(pictures._AC_CODES.values())) == 162


def test_zigzag_goes_from_neighbour_to_neighbour():
    order = [(at // 8, at % 8) for at in pictures._ZIGZAG]
    assert order[:4] == [(0, 0), (0, 1), (1, 0), (2, 0)] and order[-1] == (7, 7) and len(set(order)) == 64
    assert all(abs(a - c) <= 1 and abs(b - d) <= 1 for (a, b), (c, d) in pairwise(order))


def test_averages():
    chequered = [[(0, 0, 0), (200, 100, 50)], [(200, 100, 50), (0, 0, 0)]]
    assert averaged(chequered, 2) == [[(100, 50, 25)]]
    assert coarse(chequered, 2) == [[(100, 50, 25)] * 2] * 2


def test_a_png_holds_its_pixels():
    [_, (_, text), (_, rows), _] = parts(png([[(1, 2, 3), (4, 5, 6)]], {"labels": {"Cat": 99}}))
    assert rows == bytes((0, 1, 2, 3, 4, 5, 6)) and text == b'sees\0{"labels": {"Cat": 99}}'
