"""Files of records, in blocks of bytes → their records one by one, each with the place where the next one starts. Pure.

Memory holds a block and a record, however large the file. Reading can start at the end of any record that was read before.
What cannot be read as a record is one too, with its fault, and reading goes on: after it in JSON Lines, CSV and, as long as its
brackets and quotes pair, in an array. Where an array's brackets do not, all the rest of the file is one such record.
"""

import codecs
import csv
import functools
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .json_text import Malformed, kind, parse, twice

MAX_RECORD_BYTES = 1 << 20
KEPT_BYTES = 16 << 10
"""Of a record that is larger."""
_MAX_SKIPPED_BYTES = 16 << 20  # of an array's element; one that goes on is rather a quote that does not close
_HEAD_BYTES = 1 << 20  # how much of a file is looked at to tell what it is

_FORMATS = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "gzip; upload it uncompressed",
    b"\x28\xb5\x2f\xfd": "Zstandard; upload it uncompressed",
    b"PAR1": "Parquet",
}
_WHITE = b" \t\r\n"
_TOO_LONG = f"it is larger than {MAX_RECORD_BYTES:,} bytes; only its beginning is kept"

csv.field_size_limit(MAX_RECORD_BYTES)

Blocks = Callable[[int], Iterator[bytes]]


class Unreadable(Exception):
    """The file as a whole is none that holds records; the message is the reason, for the person who sent it."""


class Place(NamedTuple):
    """Between two records of a file."""

    offset: int = 0  # bytes before it
    lines: int = 0  # line feeds before it


class Raw(NamedTuple):
    """A record as it stands in the file."""

    start: Place
    end: Place  # where reading may start again; always beyond the start
    text: bytes  # as it was written; of one that is larger than MAX_RECORD_BYTES, the beginning
    length: int  # bytes that it has in the file
    value: dict[str, Any] | None  # what ``json_text.parse`` gave, or the row's texts by column; None if there is a fault
    fault: str | None


def records(blocks: Blocks, size: int, suffix: str, start: Place = Place()) -> Iterator[Raw]:  # noqa: B008  immutable
    """The records of a file from a place on, which is its beginning or some record's end.

    ``blocks`` gives the bytes from an offset on, ``size`` is how many the whole file has, ``suffix`` one of the contract's.
    Raises Unreadable, before the first record. An empty file has no records.
    """
    if start.offset >= size:
        return
    window = _Window(blocks(0), Place())
    head = window.load(_HEAD_BYTES)
    _refuse_other_formats(head)
    if head.startswith(codecs.BOM_UTF8):
        window.advance(len(codecs.BOM_UTF8))
        head = head.removeprefix(codecs.BOM_UTF8)
    if suffix == ".csv":
        columns = _columns(window)
        read: _Shape = functools.partial(_rows, columns=columns)
    else:
        read = _shape(head, complete=size <= _HEAD_BYTES)
    del head
    if start.offset:
        window = _Window(blocks(start.offset), start)
    yield from read(window, size)


def _refuse_other_formats(head: bytes) -> None:
    for magic, description in _FORMATS.items():
        if head.startswith(magic):
            raise Unreadable(f"the file is neither JSON nor CSV: it looks like {description}")


class _Window:
    """The bytes from a place of the file on, as many as have been looked at."""

    def __init__(self, blocks: Iterator[bytes], place: Place):
        self.data = b""
        self.begin = 0  # of what is still wanted
        self.place = place
        self._blocks = blocks

    @property
    def size(self) -> int:
        """Bytes in hand."""
        return len(self.data) - self.begin

    def more(self) -> bool:
        """Take one block more in hand; False at the end of the file."""
        for block in self._blocks:
            if block:
                self.data = self.data[self.begin :] + block
                self.begin = 0
                return True
        return False

    def load(self, count: int) -> bytes:
        """The next so many bytes, or what there is."""
        while self.size < count and self.more():
            pass
        return self.data[self.begin : self.begin + count]

    def advance(self, count: int) -> None:
        """Go on by so many of the bytes in hand, or to their end."""
        end = min(self.begin + count, len(self.data))
        lines = self.place.lines + self.data.count(b"\n", self.begin, end)
        self.place = Place(self.place.offset + end - self.begin, lines)
        self.begin = end

    def skip_white(self, until: re.Pattern[bytes] = re.compile(rb"[^ \t\r\n]")) -> bool:
        """Go on to what is not white; False if there is nothing more."""
        while self.size or self.more():
            found = until.search(self.data, self.begin)
            self.advance((found.start() if found else len(self.data)) - self.begin)
            if found:
                return True
        return False

    def line_end(self, start: int) -> int | None:
        """Bytes to the end of the line (its line feed, or the end of the file) that goes on at ``start``; None if they are more
        than a record may have."""
        while True:
            found = self.data.find(b"\n", self.begin + start, self.begin + MAX_RECORD_BYTES + 1)
            if found >= 0:
                return found - self.begin
            if self.size > MAX_RECORD_BYTES:
                return None
            start = max(start, self.size)
            if not self.more():
                return self.size

    def skip_line(self) -> int:
        """Go on to the end of the line without keeping it; returns its bytes."""
        count = 0
        while self.size or self.more():
            found = self.data.find(b"\n", self.begin)
            step = found - self.begin if found >= 0 else self.size
            self.advance(step)
            count += step
            if found >= 0:
                self.advance(1)
                break
        return count



_Shape = Callable[[_Window, int], Iterator[Raw]]
"""Reads one way of writing records from a window; takes the file's size too."""

# --- JSON ------------------------------------------------------------------------------------------------------------


def _shape(head: bytes, *, complete: bool) -> _Shape:
    """What a JSON file is, from its first non-white byte and what follows. Raises Unreadable.

    An object on a line of its own is one of JSON Lines, even if it is the only one; an object over several lines is a file's
    only one. A file whose beginning is broken is JSON Lines if some line in its head is an object.
    """
    text = head.strip(_WHITE) if complete else head.lstrip(_WHITE)
    if text.startswith(b"["):
        return _elements
    opens = text.startswith(b"{")
    if not text or (opens and not complete and b"\n" not in text):
        return _lines
    if opens and complete and not _is_object(text.partition(b"\n")[0]) and _is_object(text):
        return _whole
    if any(_is_object(line) for line in io.BytesIO(text) if complete or line.endswith(b"\n")):
        return _lines
    if opens:
        return _whole
    raise Unreadable("the file is not JSON: it is no object, no array of objects, and none of its first lines is an object")


def _is_object(text: bytes) -> bool:
    """Whether it has an object's form; what else may be wrong with it is judged later."""
    if not text.lstrip(_WHITE).startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(text.decode(), parse_int=str), dict)
    except (ValueError, RecursionError):
        return False


def _of_json(start: Place, end: Place, text: bytes) -> Raw:
    try:
        value = parse(text)
    except Malformed as malformed:
        return Raw(start, end, text, len(text), None, str(malformed))
    if not isinstance(value, dict):
        return Raw(start, end, text, len(text), None, f"it is {kind(value)}, no object")
    return Raw(start, end, text, len(text), value, None)


def _whole(window: _Window, size: int) -> Iterator[Raw]:
    """The file is one object."""
    window.skip_white()
    start, end = window.place, Place(size, window.place.lines)
    length = size - start.offset
    if length > MAX_RECORD_BYTES:
        yield Raw(start, end, window.load(KEPT_BYTES), length, None, _TOO_LONG)
    else:
        yield _of_json(start, end, window.load(length).rstrip(_WHITE))


def _lines(window: _Window, _: int) -> Iterator[Raw]:
    """JSON Lines. Empty ones are none."""
    while window.skip_white():
        start, end = window.place, window.line_end(0)
        if end is None:
            yield _too_long(window, start)
            continue
        text = window.load(end).rstrip(_WHITE)
        window.advance(end + 1)
        yield _of_json(start, window.place, text)


def _too_long(window: _Window, start: Place) -> Raw:
    text = window.load(KEPT_BYTES)
    length = window.skip_line()
    return Raw(start, window.place, text, length, None, _TOO_LONG)


class _Broken(Exception):
    """An array's syntax breaks. Holds what there is of the element's beginning."""


def _elements(window: _Window, size: int) -> Iterator[Raw]:
    """An array's. A place between two of them is in front of the comma, or of the bracket that closes the array: what stands
    there says what may follow."""
    window.skip_white()
    while window.load(1) != b"]":
        mark, sign = window.place, window.load(1)
        window.advance(1)
        window.skip_white()
        if sign == b"[" and window.load(1) == b"]":
            break
        start = window.place
        try:
            text, length = _element(window)
        except _Broken as broken:
            text = sign + broken.args[0]
            fault = "the array's syntax breaks here: this is all the rest of the file"
            yield Raw(mark, Place(size, mark.lines), text, size - mark.offset, None, fault)
            return
        if length > MAX_RECORD_BYTES:
            yield Raw(start, window.place, text, length, None, _TOO_LONG)
        elif text:
            yield _of_json(start, window.place, text)
        else:
            yield Raw(mark, window.place, b"", 0, None, "nothing stands between two commas of the array")
    window.advance(1)
    if window.skip_white():
        start, text = window.place, window.load(KEPT_BYTES)
        fault = "it follows the end of the array: this is all the rest of the file"
        yield Raw(start, Place(size, start.lines), text, size - start.offset, None, fault)


_SIGN = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)  # up to its quote, or the end of what is in hand


def _element(window: _Window) -> tuple[bytes, int]:
    """Go on to the comma or bracket after an array's element; returns its text, or the beginning of one that is too large, and
    its length. Raises _Broken."""
    at = depth = skipped = 0  # ``at`` counts from the window's place, which is ``skipped`` bytes behind the element's start
    in_string, kept = False, b""
    while True:
        found = None
        if in_string and (inside := _IN_STRING.match(window.data, window.begin + at)):
            at = inside.end() - window.begin
            in_string = window.data[inside.end() : inside.end() + 1] != b'"'
            at += not in_string
        if not in_string:
            found = _SIGN.search(window.data, window.begin + at)
            at = found.start() - window.begin if found else window.size
        if skipped + at > _MAX_SKIPPED_BYTES:
            raise _Broken(kept or window.load(KEPT_BYTES))
        if not found:
            if at > MAX_RECORD_BYTES:
                kept = kept or window.load(KEPT_BYTES)
                skipped += at
                window.advance(at)
                at = 0
            if not window.more():
                raise _Broken(kept or window.load(KEPT_BYTES))
            continue
        sign = found[0]
        if not depth and sign in (b",", b"]"):
            break
        if not depth and sign == b"}":
            raise _Broken(kept or window.load(KEPT_BYTES))
        in_string = sign == b'"'
        depth += (sign in b"[{") - (sign in b"]}")
        at += 1
    length = skipped + at
    text = kept or window.load(at if length <= MAX_RECORD_BYTES else KEPT_BYTES)
    window.advance(at)
    if length <= MAX_RECORD_BYTES:
        text = text.rstrip(_WHITE)
        length = len(text)
    return text, length


# --- CSV -------------------------------------------------------------------------------------------------------------


def _columns(window: _Window) -> list[str]:
    """The header's names. Raises Unreadable. An empty file has none."""
    row = next(_fields(window), None)
    if row is None:
        return []
    _, fields, fault = row
    if fault is not None or "\0" in "".join(fields):
        raise Unreadable(f"the file is not CSV: its header cannot be read: {fault or 'it has NUL bytes'}")
    names = [name.strip() for name in fields]
    if not all(names):
        raise Unreadable(f"the header's column {names.index('') + 1} has no name")
    if (name := twice(names)) is not None:
        raise Unreadable(f"the header has the column {name[:60]!a} more than once")
    return names


_NO_LINE_END = re.compile(rb"[^\r\n]")


def _rows(window: _Window, _: int, columns: list[str]) -> Iterator[Raw]:
    """The rows after the header, or from wherever the window starts."""
    for raw, fields, fault in _fields(window, len(columns)):
        if fault is not None:
            yield raw._replace(fault=fault)
        elif len(fields) != len(columns):
            yield raw._replace(fault=f"it has {len(fields)} fields, the header {len(columns)}")
        else:
            yield raw._replace(value=dict(zip(columns, fields, strict=True)))


def _fields(window: _Window, width: int | None = None) -> Iterator[tuple[Raw, list[str], str | None]]:
    """Each row with its fields, or what is wrong with it. Empty lines are none.

    A row ends with its line. If its quotes do not pair there, it goes on to the line where they do, as long as it then is a row,
    of ``width`` fields; otherwise the line alone is at fault. Such a search ends at the next line with an odd number of quotes,
    and no line that it passes starts one of its own, so that no file is looked at more than three times.
    """
    while window.skip_white(_NO_LINE_END):
        start, end = window.place, window.line_end(0)
        if end is None:
            raw = _too_long(window, start)
            yield raw, [], raw.fault
            continue
        text = window.load(end)
        fields, fault = _split(text)
        if fault is not None and text.count(b'"') % 2 and (longer := _pairing_end(window, end)) is not None:
            longer_fields, longer_fault = _split(window.load(longer))
            if longer_fault is None and width in (None, len(longer_fields)):
                fields, fault, end, text = longer_fields, None, longer, window.load(longer)
        window.advance(end + 1)
        if text.strip(_WHITE):
            text = text.removesuffix(b"\r")
            yield Raw(start, window.place, text, len(text), None, None), fields, fault or _encoding_fault(text)


def _pairing_end(window: _Window, end: int) -> int | None:
    """The end of the next line with an odd number of quotes; None if there is none near."""
    while True:
        start = end + 1
        following = window.line_end(start)
        if following is None or following < start:
            return None
        if window.data.count(b'"', window.begin + start, window.begin + following) % 2:
            return following
        end = following


def _split(text: bytes) -> tuple[list[str], str | None]:
    """A row's fields, or what is wrong with their quotes. Bytes that are no UTF-8 are let through."""
    try:
        (fields,) = csv.reader([text.removesuffix(b"\r").decode(errors="surrogateescape")], strict=True)
    except csv.Error as error:
        return [], f"its CSV is malformed: {error}"
    return fields, None


def _encoding_fault(text: bytes) -> str | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8: byte 0x{text[error.start]:02X} at its position {error.start}"
    return None
