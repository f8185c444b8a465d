"""One CSV record: split into fields, join again, and find its end when a quote stays open at the end of a line (E5b).

The dialect is that of Python's ``csv`` with ``strict=True``: comma, ``"`` doubled inside quotes; a quote counts only as the
first character of a field, elsewhere in an unquoted field it is data; nothing may follow a closing quote but a comma or
the line end. A carriage return is data unless a line feed follows it. Everything is bytes: in UTF-8 none of these characters
is ever part of another one.
"""

import re
from array import array
from bisect import bisect_left
from typing import NamedTuple

MAX_RECORD_BYTES = 1 << 20  # without its line end (E5b)

_FIELDS = re.compile(rb'"([^"]*+(?:""[^"]*+)*+)",|((?!")[^,]*+),|(.+)', re.DOTALL).findall
_NEEDS_QUOTES_ITSELF = re.compile(rb'["\r\n]').search
_NEEDS_QUOTES = re.compile(rb'[",\r\n]').search
_QUOTED_TEXT = re.compile(rb'[^"]*+(?:""[^"]*+)*+')  # up to the closing quote
_PLAIN_TEXT = re.compile(rb"[^,\n]*+")

_QUOTE, _COMMA, _LINE_FEED = b'",\n'


def split(record: bytes) -> tuple[list[bytes], int]:
    """The fields of a record (given without its line end) before the first quote that does not close properly, and the
    position of that quote; or all fields, and -1."""
    found = _FIELDS(record + b",")
    fault = found[-1][2]
    if fault:
        found.pop()
    fields = [quoted.replace(b'""', b'"') if quoted else plain for quoted, plain, _ in found]
    return fields, len(record) + 1 - len(fault) if fault else -1


def join(fields: list[bytes]) -> bytes:
    """A record without line end; only fields that need quotes get them."""
    record = b",".join(fields)
    if record.count(b",") == len(fields) - 1 and not _NEEDS_QUOTES_ITSELF(record):
        return record
    return b",".join([b'"%b"' % field.replace(b'"', b'""') if _NEEDS_QUOTES(field) else field for field in fields])


def closes(record: bytes, quote: int) -> bool:
    """Whether the quote that opens at this position finds its partner within the record."""
    return _end_of(_QUOTED_TEXT, record, quote + 1, len(record)) < len(record)


def _end_of(text: re.Pattern[bytes], data: bytes, start: int, stop: int) -> int:
    match = text.match(data, start, stop)
    return match.end() if match else start


class Span(NamedTuple):
    """A record over several lines: where its content ends, where the next line starts (positions in the data), its fields."""

    end: int
    following: int
    fields: int


MALFORMED, TOO_LONG, UNFINISHED = "malformed", "too long", "unfinished"


class OpenQuotes:
    """Follows a quote that is open at the end of its line to the end of the record, in linear time overall.

    When such a record turns out to be none, only its first line is rejected and reading restarts on the next line, which may
    have an open quote as well. Reading ahead each time would cost (lines × 1 MiB). But what follows an opening quote does
    not depend on where the record began, and a later line whose quote is open at its end, within what was read ahead (where
    a quote is open at *every* line end), can only have been opened by the same quote: two parsers that are both inside
    quotes have seen the same quotes since. So one look-ahead is remembered: the opening quotes on its way, how many fields
    came before each, and where and in which state it stands. A later line joins it, and extends it if its own limit lies
    further. Thus each byte is looked at once per line it starts and once by a look-ahead. ``looked_at`` counts the latter.

    Positions are kept as offsets in the file, since the caller's window moves.
    """

    def __init__(self, limit: int = MAX_RECORD_BYTES):
        self._limit = limit
        self._begin(-1)
        self.looked_at = 0  # bytes

    def _begin(self, quote: int) -> None:
        self._openings = array("q", [quote])
        self._fields_before = array("q", [0])
        self._fields = 0  # closed so far
        self._position = quote + 1
        self._in_quotes = True
        self._outcome: str | tuple[int, int] = UNFINISHED  # or MALFORMED, or (end, following)

    def follow(self, data: bytes, origin: int, start: int, quote: int) -> Span | str:
        """The record that starts at ``start`` and whose ``quote`` is open at its line's end (positions in ``data``).

        ``origin`` is the offset of ``data`` in the file. Returns a Span (its ``fields`` count from ``quote`` on), or
        MALFORMED, TOO_LONG, or UNFINISHED when ``data`` ended before it was decided.
        """
        opening = origin + quote
        index = bisect_left(self._openings, opening)
        if index == len(self._openings) or self._openings[index] != opening:
            self._begin(opening)
            index = 0
        limit = start + self._limit + 2  # a line end has two bytes at most
        if self._outcome == UNFINISHED:
            self._advance(data, origin, min(limit, len(data)))
        if self._outcome == UNFINISHED:
            return TOO_LONG if limit <= len(data) else UNFINISHED
        if isinstance(self._outcome, str):
            return self._outcome
        end, following = (offset - origin for offset in self._outcome)
        if end - start > self._limit:
            return TOO_LONG
        return Span(end, following, self._fields - self._fields_before[index])

    def _advance(self, data: bytes, origin: int, stop: int) -> None:
        """Read on up to ``stop``, or to the end of the record, or to a fault."""
        position = self._position - origin
        while True:
            before = position
            position = _end_of(_QUOTED_TEXT if self._in_quotes else _PLAIN_TEXT, data, position, stop)
            self.looked_at += position - before + 1
            end = position + self._in_quotes  # of the field, after its closing quote
            after = data[end : min(end + 2, stop)]
            if after[:1] == b"\n" or after == b"\r\n":
                self._fields += 1
                following = end + (1 if after[:1] == b"\n" else 2)
                if not self._in_quotes and data[end - 1 : end] == b"\r":
                    end -= 1
                self._outcome = (origin + end, origin + following)
                return
            if len(after) < 2:  # undecided: come back to this place with more data
                self._position = origin + position
                return
            if after[0] != _COMMA:
                self._outcome = MALFORMED
                return
            self._fields += 1
            position = end + 1
            self._in_quotes = data[position] == _QUOTE
            if self._in_quotes:
                self._openings.append(origin + position)
                self._fields_before.append(self._fields)
                position += 1
