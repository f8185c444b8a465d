"""Byte ranges: how a large file is cut so that many functions convert it at once, and what proves the cuts right (E12).

A cut is a guess: whether a line feed ends a record or stands inside a quoted field can only be told by reading from the start.
So the cuts are chosen where they are very probably right, and proved afterwards: the first range starts on a record, and each
range that ends exactly where it should proves that the next one does. Pure, save for the reader it is given.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

from .header import Header
from .rows import Conversion

MIN_RANGE_BYTES = 64 << 20
MAX_RANGES = 400
"""The map's results, some 300 bytes a range, go through one state's payload of 256 KiB."""
MIN_PART_BYTES = 5 << 20  # of a multipart upload, save for its last part (S3 user guide, "Multipart upload limits")

_SAMPLE_BYTES = 64 << 10
_READERS = 10  # as many as boto3's client keeps connections
_ROWS_BEHIND_A_CUT = 3


@dataclass(frozen=True)
class Range:
    """Bytes ``start`` to ``end`` (exclusive) of a file. The first one starts after the header, and writes it."""

    index: int
    start: int
    end: int


def plan(size: int, header: Header, read: Callable[[int, int], bytes]) -> list[Range]:
    """The ranges of a file of this size, which ``read`` reads; one range if it is too small to be cut, or cannot be."""
    count = min(MAX_RANGES, size // MIN_RANGE_BYTES)
    wanted = [size * number // count for number in range(1, count)]  # equal shares: none takes much longer than the others

    def cut(position: int) -> int | None:
        found = find_cut(read(position, position + _SAMPLE_BYTES), header)
        return None if found is None else position + found

    with ThreadPoolExecutor(_READERS) as readers:
        cuts = [found for found in readers.map(cut, wanted) if found is not None]
    return [Range(index, start, end) for index, (start, end) in enumerate(pairwise([header.length, *cuts, size]))]


def find_cut(sample: bytes, header: Header) -> int | None:
    """The first position in the sample that follows a line feed and has three good rows behind it, if there is one."""
    line_feed = sample.find(b"\n")
    while line_feed >= 0:
        start = end = line_feed + 1
        for _ in range(_ROWS_BEHIND_A_CUT):
            end = sample.find(b"\n", end) + 1
            if not end:
                return None
        conversion = Conversion(header, lambda _: None, offset=0)
        for _ in conversion.convert([sample[start:end]]):
            pass
        if conversion.rows_written == _ROWS_BEHIND_A_CUT:
            return start
        line_feed = sample.find(b"\n", start)
    return None


def fault(size: int, header_length: int, done: Iterable[Mapping[str, int]]) -> str | None:
    """Why these results of ranges (``contract``'s *part*) do not make up the file, or None if they do: the proof."""
    expected = header_length
    parts = sorted(done, key=lambda each: each["index"])
    for number, part in enumerate(parts):
        if part["start"] != expected:
            return f"range {number} starts at byte {part['start']} instead of {expected}"
        if part["index"] != number:
            return f"range {number} is missing"
        if part["reached"] != part["end"]:
            return f"range {number} ends at byte {part['end']}, but its last record at byte {part['reached']}"
        if part["bytes"] < MIN_PART_BYTES and number < len(parts) - 1:
            return f"range {number} leaves {part['bytes']} bytes, fewer than S3 takes for a part"
        expected = part["end"]
    return None if expected == size else f"the ranges end at byte {expected}, the file at {size}"
