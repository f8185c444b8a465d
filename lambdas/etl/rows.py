"""Rows of a CSV file, converted as a stream of byte blocks (E4a, E5a, E5b).

The unit of work is a range of bytes that starts on a record, after the header; it becomes one part of the output. Whether
the next range starts on a record too is for this one to tell, by where it ends (E12). Three lanes:

- The canonical lane takes lines that are the output as they stand: one match of a regular expression, however many they are.
- The column lane takes the records from there on whose structure is sound: another regular expression cuts each into the same
  parts, amounts and timestamps are converted a column at a time (``values``), and the parts are joined again.
- The careful lane takes one record: where the others match nothing, and where a value cannot be converted. It alone judges: it
  knows all the ways a row can be wrong, and says which.

Line ends: LF or CRLF, mixed as they come; a CR at the very end of the file counts as half of one. Any other CR is data
(the output quotes it). Empty lines are skipped and not counted.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

from . import records, values
from .header import REQUIRED_COLUMNS, Header, is_header
from .records import MAX_RECORD_BYTES, OpenQuotes, Span

LOOK_AHEAD_BYTES = MAX_RECORD_BYTES + 2  # a line end has two bytes at most
"""How far beyond its end a range has to see, to decide about its last record as if there were no end."""

_PIECE_BYTES = 64 << 10  # what the fast lanes see at once
_LEAST_COLUMN_BYTES = 8 << 10  # what the column lane sees at once, at least: each time, it costs as much as some ten rows
_FEW_COLUMNS = 32  # are matched faster one by one than counted
_SHOWN_CHARACTERS = 40  # of a value, in a reason

# Fields as the fast lanes take them: nothing in them that is for the careful lane. Possessive (``*+``), so that a
# line that does not match costs no more than one that does.
_PLAIN = rb'[^",\r\n\0]*+'
_ID = rb' *+[^\s",\0][^",\r\n\0]*+'  # not blank
_DULY_QUOTED = rb'"[^",\r\n\0]*+(?:[,\r\n]|"")[^"\0]*+(?:""[^"\0]*+)*+"'  # needs its quotes

_OVERLONG_FAULT = "the row is longer than 1 MiB; only its beginning is kept here, the whole is in the uploaded file"
_QUOTE_FAULT = "a quote does not close properly"
_OPEN_QUOTE_FAULTS = {
    records.MALFORMED: _QUOTE_FAULT,
    records.TOO_LONG: "a quote does not close within 1 MiB",
    records.UNFINISHED: "a quote does not close before the end of the file",
}


class Conversion:
    """Converts one range of a file; see ``convert``. Its counts and ``offset`` are final when that is exhausted."""

    def __init__(
        self,
        header: Header,
        reject: Callable[[bytes], object],
        *,
        offset: int,
        end: int | None = None,
        limit: int = MAX_RECORD_BYTES,
    ):
        """``reject`` gets each rejected row as one line of JSON. The range goes from ``offset`` to ``end`` in the file, just
        after a line feed; None is the end of the file."""
        self.rows_written = 0
        self.rows_rejected = 0
        self.offset = offset
        """Where reading stands, in the file. If at last it is not ``end``, a record goes on beyond it: the cut was wrong."""
        self.other_header: int | None = None
        """Where the first row stands, in the file, that names the required columns, but is not this header once more: the rows
        behind it are another table's, whose columns may mean something else."""
        self._end = end
        self._columns = [name.encode() for name in header.columns]
        self._width = len(header.columns)
        self._line_end = header.line_end
        self._lanes = _FastLanes(header, quoted=False), _FastLanes(header, quoted=True)
        self._column_bytes = _LEAST_COLUMN_BYTES  # what the column lane sees the next time
        self._convert_fields = _converter(header)
        self._emit_reject = reject
        self._limit = limit
        self._left = 0  # bytes at the end of the last window that wait for more
        self._open_quotes = OpenQuotes(limit)
        self._overlong: _OverlongLine | None = None

    @property
    def rows_read(self) -> int:
        return self.rows_written + self.rows_rejected

    @property
    def bytes_looked_ahead(self) -> int:
        """How much was read again because of open quotes; never more than the range itself (E5b, linear work)."""
        return self._open_quotes.looked_at

    def convert(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The output for the range's bytes, bit by bit; memory is a block, and a few times the limit of a record.

        ``blocks`` go on beyond ``end``, if the file does, for ``LOOK_AHEAD_BYTES``.
        """
        rest, pending, size, last_byte, end_of_data = b"", [], 0, b"\n", self.offset
        least = 2 * self._limit + 1  # of a window, so that each gets on: what waits for more is half of it at most
        for part in _parts(blocks, least):
            pending.append(part)
            size += len(part)
            end_of_data += len(part)
            last_byte = part[-1:]
            if size >= least:
                window = b"".join((rest, *pending))
                pending, size = [], 0
                del part
                yield from self._convert_window(window, last=False)
                rest = window[len(window) - self._left :]
                del window
        if self._end == end_of_data:  # the file's end too
            self._end = None
        # A line feed after the last line, if it has none, spares every place below the question.
        added = b"\n" if last_byte != b"\n" else b""
        yield from self._convert_window(b"".join((rest, *pending, added)), last=True)
        self.offset = min(self.offset, end_of_data)

    def _convert_window(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        """Convert the lines of ``data``, which starts at ``offset``; advance ``offset`` by what is done: all, if ``last``."""
        origin, position, reach = self.offset, 0, self._limit + 2  # a line end has two bytes at most
        stop = len(data) if self._end is None else min(len(data), self._end - origin)
        while position < stop:
            if self._overlong:
                position = self._skip_overlong_line(self._overlong, data, position)
            elif cut := _end_of_lines(data, position, stop, min(_PIECE_BYTES, self._limit), reach):
                start, output = position, []
                position = self._convert_piece(data, origin, start, cut, output, last=last)
                if output:
                    yield b"".join(output)
                if position == start:
                    break
            elif len(data) - position >= reach:
                self._overlong = _OverlongLine(origin + position, data[position : position + self._limit])
            else:
                break
        self.offset = origin + position
        self._left = len(data) - position

    def _convert_piece(self, data: bytes, origin: int, start: int, cut: int, output: list[bytes], *, last: bool) -> int:
        """Convert lines of ``data[start:cut]``. Returns where to go on: at ``cut``, or behind it if the last record goes on
        there; behind the first line that is not UTF-8; or, for want of more data, at a record that is not complete. ``origin``
        is the offset of ``data`` in the file."""
        text_end = start if cut - start > self._limit else _end_of_text(data, start, cut)
        before = position = start
        while position < text_end:
            for lanes in self._lanes:
                before = position
                position = self._convert_fast(lanes, data, origin, position, text_end, output)
            if before == position < text_end:  # no lane goes on from here
                position = self._convert_carefully(data, origin, position, output, last=last)
                if position == before:
                    return position
        if position < cut:
            position = self._convert_carefully(data, origin, position, output, last=last)
        return position

    def _convert_fast(self, lanes: "_FastLanes", data: bytes, origin: int, start: int, stop: int, output: list[bytes]) -> int:
        """Convert what the fast lanes match from ``start`` on. Returns where the first record starts that they do not, or
        ``stop``."""
        position = start
        while True:
            canonical = lanes.canonical(data, position, stop)
            if lines := canonical[1]:
                output.append(lines.replace(b'"', b"") if lanes.quoted else lines)
                self.rows_written += lines.count(b"\n")
            before, position = position, canonical.end()
            if position == stop:
                return stop
            # Canonical lines are cheaper without columns: where there are many, and where much is unsound, columns are short.
            if position - before > self._column_bytes:
                self._column_bytes = _LEAST_COLUMN_BYTES
            end = _end_of_lines(data, position, stop, self._column_bytes, stop - position)
            reached = self._convert_columns(lanes, data, origin, position, end, output)
            if reached < end:
                if reached > position:
                    self._column_bytes = max(self._column_bytes // 2, _LEAST_COLUMN_BYTES)
                return reached
            self._column_bytes = min(2 * self._column_bytes, _PIECE_BYTES)
            position = reached

    def _convert_columns(self, lanes: "_FastLanes", data: bytes, origin: int, start: int, stop: int, output: list[bytes]) -> int:
        """Convert the records from ``start`` on that are sound. Returns where the first one starts that is not, or ``stop``."""
        columns, odd_ends, rest = lanes.columns(data[start:stop])
        if not columns[0]:
            return start
        before, between, after = columns[0], columns[lanes.between], columns[-1]
        if any(odd_ends):
            after = [text.rstrip(b"\r\n") + self._line_end if odd else text for text, odd in zip(after, odd_ends, strict=True)]
        first, failed_first = lanes.convert_first(columns[1 : lanes.between])
        second, failed_second = lanes.convert_second(columns[lanes.between + 1 : -1])
        converted = [before, *first, between, *second, after]
        failed, position, done = sorted({*failed_first, *failed_second}), start, 0
        for row in failed:
            position, done = position + sum(len(b"".join(column[done:row])) for column in columns), row
            self._convert_carefully(data, origin, position, output, last=True)
        for row, column in product(failed, converted):
            column[row] = b""
        parts = [b""] * (len(converted) * len(before))
        for index, column in enumerate(converted):
            parts[index :: len(converted)] = column
        lines = b"".join(parts)
        output.append(lines.replace(b'"', b"") if lanes.quoted else lines)
        self.rows_written += len(before) - len(failed)
        return stop - rest

    def _convert_carefully(self, data: bytes, origin: int, start: int, output: list[bytes], *, last: bool) -> int:
        """Convert or reject the record that starts here. Returns where the next one starts, or ``start`` if ``data`` ends before
        that can be told and there is more to come."""
        following = data.index(b"\n", start) + 1
        record = data[start : following - 1].removesuffix(b"\r")
        if not record:
            return following
        if len(record) > self._limit:
            self._reject(origin + start, record[: self._limit], _OVERLONG_FAULT, whole_length=len(record))
            return following
        fields, quote = records.split(record)
        fault = _QUOTE_FAULT if quote >= 0 else None
        if fault and not records.closes(record, quote):
            span = self._open_quotes.follow(data, origin, start, start + quote)
            if isinstance(span, Span):
                width = len(fields) + span.fields
                if width == self._width:
                    record, following, fault = data[start : span.end], span.following, None
                    fields, _ = records.split(record)
                else:
                    fault = f"a quote does not close on its line, and read over several lines {self._wrong_width(width)}"
            elif span == records.UNFINISHED and not last:
                return start
            else:
                fault = _OPEN_QUOTE_FAULTS[span]
        fault = fault or _unclean(record)
        if not fault and len(fields) != self._width:
            fault = self._wrong_width(len(fields))
        fault = fault or self._convert_fields(fields)
        if fault:
            if self.other_header is None and len(fields) == self._width and is_header(fields):
                self.other_header = None if self._columns == [field.strip() for field in fields] else origin + start
            self._reject(origin + start, record, fault)
        else:
            output += records.join(fields), self._line_end
            self.rows_written += 1
        return following

    def _skip_overlong_line(self, line: "_OverlongLine", data: bytes, position: int) -> int:
        """Pass over an overlong line, which may go on for gigabytes, and reject it at its end."""
        line_feed = data.find(b"\n", position)
        if line_feed < 0:
            line.length += len(data) - position
            line.last_byte = data[-1:]
            return len(data)
        line.length += line_feed - position
        if line_feed > position:
            line.last_byte = data[line_feed - 1 : line_feed]
        self._reject(line.offset, line.beginning, _OVERLONG_FAULT, whole_length=line.length - (line.last_byte == b"\r"))
        self._overlong = None
        return line_feed + 1

    def _reject(self, offset: int, row: bytes, reason: str, *, whole_length: int = 0) -> None:
        self.rows_rejected += 1
        self._emit_reject(_reject_line(offset, row, reason, whole_length))

    def _wrong_width(self, width: int) -> str:
        return f"the row has {width} column{'s' if width > 1 else ''}, the header has {self._width}"


@dataclass
class _OverlongLine:
    offset: int
    beginning: bytes
    length: int = 0
    last_byte: bytes = b""


class _FastLanes:
    """What matches sound records. Each quote in them is needed, save around amounts and timestamps; or none is (``quoted``, for
    exports that quote everything)."""

    def __init__(self, header: Header, *, quoted: bool):
        self.quoted = quoted
        columns = header.columns
        first, second = sorted(columns.index(name) for name in ("amount", "timestamp"))
        self.convert_first, self.convert_second = values.amounts, values.timestamps
        if columns[first] == "timestamp":
            self.convert_first, self.convert_second = values.timestamps, values.amounts

        def field(text: bytes) -> bytes:
            return b'(?:"%b"|%b)' % (text, text) if quoted else text

        def fields(names: tuple[str, ...], other: bytes, form: bytes) -> bytes:
            """Fields with their commas. Those that are alike are counted if they are many: there may be 100,000."""
            kinds = [form % (field(_ID) if name in ("transaction_id", "customer_id") else other) for name in names]
            if len(kinds) <= _FEW_COLUMNS:
                return b"".join(kinds)
            return b"".join(b"(?:%b){%d}+" % (kind, len([*alike])) for kind, alike in groupby(kinds))

        def line(text: bytes, value: dict[str, bytes], other: bytes, last: bytes) -> bytes:
            """``text`` groups what it holds, and ``last`` what is after the second value; ``value`` is an amount or a timestamp,
            ``other`` a field that nothing is required of."""
            return b"".join((
                text % fields(columns[:first], other, b"%b,"),
                value[columns[first]],
                text % (fields(columns[first + 1 : second], other, b",%b") + b","),
                value[columns[second]],
                last % fields(columns[second + 1 :], other, b",%b"),
            ))

        canonical = {"amount": field(values.CANONICAL_AMOUNT), "timestamp": field(values.CANONICAL_TIMESTAMP)}
        canonical_line = line(b"%b", canonical, field(_PLAIN), b"%b" + header.line_end)
        # Not `(?:…)*+`: before 3.11.5, Python took a part of the line that ends such a repetition for a line (gh-106052).
        self.canonical: Callable[[bytes, int, int], Any] = re.compile(rb"(?:\r?\n)*((?:%b)*)" % canonical_line).match
        """Empty lines, and canonical ones, which it groups."""
        parts = {"amount": values.AMOUNT_PARTS, "timestamp": values.TIMESTAMP_PARTS}
        any_field = field(_PLAIN) if quoted else rb'(?:%b(?!")|%b)' % (_PLAIN, _DULY_QUOTED)
        end = rb"(?:%b(?![\r\n])|((?:\r?\n)++))" % header.line_end
        record = line(b"(%b)", parts, any_field, b"(%b" + end + b")")
        pattern = re.compile(rb"%b|((?s:.+))" % record)
        self._split, self._groups = pattern.split, pattern.groups + 1  # of a record, with what is between matches: nothing
        self._columns = sorted({*range(1, pattern.groups - 1)} - {*pattern.groupindex.values()})  # all but the opening quotes
        self.between = 1 + (4 if columns[first] == "amount" else 3)

    def columns(self, data: bytes) -> tuple[list[list[bytes]], list[bytes | None], int]:
        """The sound records that ``data`` begins with, in columns: what is before the first value, its parts; from ``between``
        on, what is between the values, the second's parts; and what is after, to the end of the line. A column of line ends that
        are not the header's or have empty lines behind them. And how many bytes are left."""
        parts = self._split(data)  # all groups of all records, flat
        rest = parts[-2]
        if rest is not None:
            del parts[-self._groups :]
        odd_ends = parts[self._groups - 2 :: self._groups]
        return [parts[group :: self._groups] for group in self._columns], odd_ends, len(rest or b"")


def several_tables(other_header: int) -> str:
    """Why a file with another header among its rows is invalid as a whole."""
    return f"a second header, with other columns, is at byte {other_header}: split the file into one for each table"


def _converter(header: Header) -> Callable[[list[bytes]], str | None]:
    """A function that converts a row's fields in place, or says why it cannot."""
    transaction, customer, amount, timestamp = (header.columns.index(name) for name in REQUIRED_COLUMNS)
    convert_amount, convert_timestamp = values.amount, values.timestamp

    def convert(fields: list[bytes]) -> str | None:
        if not fields[transaction].strip():
            return "transaction_id is blank"
        if not fields[customer].strip():
            return "customer_id is blank"
        converted = convert_amount(fields[amount])
        if converted is None:
            return f"amount {_shown(fields[amount])} is not an amount"
        fields[amount] = converted
        converted = convert_timestamp(fields[timestamp])
        if converted is None:
            return f"timestamp {_shown(fields[timestamp])} is not a timestamp"
        fields[timestamp] = converted
        return None

    return convert


def _parts(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The blocks in parts of at most ``size`` bytes: copies, as no block is kept while the next is fetched; each is megabytes."""
    for block in blocks:
        for start in range(0, len(block), size):
            yield block[start : start + size]
        del block


def _end_of_lines(data: bytes, start: int, stop: int, wanted: int, most: int) -> int:
    """Where the lines of the next ``wanted`` bytes end; or one line, if that is longer; or 0, if it is longer than ``most``."""
    end = data.rfind(b"\n", start, min(start + wanted, stop)) + 1
    return end or data.find(b"\n", start, min(start + most, stop)) + 1


def _end_of_text(data: bytes, start: int, stop: int) -> int:
    """``stop``, if the lines before it are UTF-8; else where the first line that is not starts."""
    piece = data[start:stop]
    if not piece.isascii():
        try:
            piece.decode()
        except UnicodeDecodeError as error:
            return start + piece.rfind(b"\n", 0, error.start) + 1
    return stop


def _unclean(data: bytes) -> str | None:
    if b"\0" in data:
        return f"a NUL byte at position {data.index(0)} of the row"
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            return f"not UTF-8: byte 0x{data[error.start]:02X} at position {error.start} of the row"
    return None


def _shown(value: bytes) -> str:
    text = value[: 4 * _SHOWN_CHARACTERS].decode(errors="replace")
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")


def _reject_line(offset: int, row: bytes, reason: str, whole_length: int) -> bytes:
    """One line of a rejects file (E5a), ASCII, with its line end:

    ``byte_offset`` of the row in the uploaded file; ``reason``; ``row``, verbatim without its final line end, or
    ``row_base64`` if that is not UTF-8. Only for a line too long to be kept: ``row`` is its beginning, ``row_bytes`` the
    length of the whole in bytes.
    """
    reject: dict[str, int | str] = {"byte_offset": offset, "reason": reason}
    if whole_length:
        reject["row_bytes"] = whole_length
    try:
        reject["row"] = row.decode()
    except UnicodeDecodeError as error:
        if whole_length and error.reason == "unexpected end of data":  # a character cut in two
            reject["row"] = row[: error.start].decode()
        else:
            reject["row_base64"] = b64encode(row).decode()
    return json.dumps(reject).encode() + b"\n"
