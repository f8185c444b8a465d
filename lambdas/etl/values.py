"""Amounts and timestamps: every form the requirements accept, in; one canonical form, out (E4a, table in values.csv).

``amount`` and ``timestamp`` take and return bytes. That keeps two traps shut by construction: white space and digits of bytes
are ASCII only (``str.strip`` and ``\\d`` also take U+00A0 and ``１２``), and nothing is ever a float. ``None`` means *cannot be
converted*. Every pattern is linear in the length of its input; whatever is cached is bounded in number and length.

``amounts`` and ``timestamps`` do the same for columns, at a third of the cost. A pattern has cut the fields into parts, so that
a part of a common form is looked up or stays as it is, a whole column in one call; the other values are converted one by one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import compress, count, product, repeat
from operator import is_
from typing import Any

_CACHED_VALUES = 16_384
_CACHED_LENGTH = 64  # bytes; longer values are converted each time, so that hostile ones cannot fill the memory
_MAX_WHOLE_DIGITS = 18  # amounts stay below 10**18
_MAX_EXPONENT = 30

# --- columns ---------------------------------------------------------------------------------------------------------

Columns = Sequence[Sequence[bytes]]
MutableColumns = list[list[Any]]


def _gaps(column: Iterable[object]) -> Iterator[int]:
    """The rows that have None."""
    return compress(count(), map(is_, column, repeat(None)))


def _convert_others(
    convert: Callable[[bytes], bytes | None], parts: Columns, converted: MutableColumns, rows: Iterable[int]
) -> list[int]:
    """Convert the values in these rows one by one, into the first column. Returns the rows where that fails."""
    rows = [*rows]
    others = map(b"".join, zip(*[[part[row] for row in rows] for part in parts], strict=True))
    for column in converted[1:]:
        for row in rows:
            column[row] = b""
    failed = []
    for row, value in zip(rows, others, strict=True):
        converted[0][row] = answer = convert(value.strip(b'"'))
        if answer is None:
            failed.append(row)
    return failed


# --- amounts ---------------------------------------------------------------------------------------------------------

CANONICAL_AMOUNT = rb"(?:0|-?[1-9][0-9]{0,17}+)\.[0-9]{2,}+"
"""A pattern of what ``amount`` answers unchanged; nearly all of it."""

AMOUNT_PARTS = (
    rb'((?:(?P<amount_quote>")|(?!"))[ ($+-]*+)(?=[0-9.])'
    rb"((?>"
    rb"0(?<![(-]0)(?<![(-].0)(?![0-9])|"  # not after a sign: there is no negative zero
    rb"[1-9](?:(?(amount_quote)[0-9]{0,2}+(?:,[0-9]{3}){1,5}|(?!))|[0-9]{0,17}+)(?![0-9])|))"
    rb"((?<=[0-9])\.[0-9]*+|)"
    rb'((?(amount_quote)[^"\r\n\0]*+"|[^",\r\n\0]*+))'
)
"""A pattern of a field that may be an amount, with its quotes. Groups: what is before the number, (the opening quote again,)
the digits before the point, the point and the digits behind it, the rest. Where the number is not of a common form, the rest
begins with it."""

_AMOUNT = re.compile(
    rb"([+-]?\$?|\$[+-])"
    # A leading zero before commas is refused: "0,123" is more likely a decimal comma than 123.
    rb"([1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]*)"
    rb"(?:\.([0-9]*))?"
    rb"(?:[eE]([+-]?[0-9]{1,3}))?"
).fullmatch


def amount(value: bytes) -> bytes | None:
    """``b" ($1,234.5) "`` → ``b"-1234.50"``: plain notation, at least two decimals, never rounded."""
    return _cached_amount(value) if len(value) <= _CACHED_LENGTH else _read_amount(value)


def _read_amount(value: bytes) -> bytes | None:
    value = value.strip()
    in_parentheses = value[:1] == b"(" and value[-1:] == b")"
    match = _AMOUNT(value[1:-1].strip() if in_parentheses else value)
    if not match:
        return None
    sign, whole, fraction, exponent = match.groups(default=b"")
    if in_parentheses and sign not in (b"", b"$"):
        return None
    if not whole and not fraction:
        return None
    whole = whole.replace(b",", b"")
    if exponent:
        if abs(int(exponent)) > _MAX_EXPONENT:
            return None
        whole, fraction = _shift_point(whole, fraction, int(exponent))
    whole = whole.lstrip(b"0") or b"0"
    if len(whole) > _MAX_WHOLE_DIGITS:
        return None
    converted = whole + b"." + fraction.ljust(2, b"0")
    if (in_parentheses or b"-" in sign) and converted.strip(b"0."):  # there is no negative zero
        return b"-" + converted
    return converted


def _shift_point(whole: bytes, fraction: bytes, places: int) -> tuple[bytes, bytes]:
    """Move the decimal point, in the text itself: exact by construction."""
    if places < 0:
        padded = whole.rjust(-places, b"0")
        return padded[:places], padded[places:] + fraction
    padded = fraction.ljust(places, b"0")
    return whole + padded[:places], padded[places:]


_cached_amount = lru_cache(_CACHED_VALUES)(_read_amount)

# The sign by what is before and behind a number.
_SIGNS = {
    (quote + left + before, behind + right + quote): b"-" if before.strip(b"$+") else b""
    for quote, left, right in product((b"", b'"'), (b"", b" "), (b"", b" "))
    for before, behind in [(b"(", b")"), (b"($", b")"), *((sign, b"") for sign in b" + - $ +$ -$ $+ $-".split(b" "))]
}
_FRACTIONS = {b"": b".00", b".": b".00"} | {b".%d" % digit: b".%d0" % digit for digit in range(10)}


def amounts(parts: Columns) -> tuple[MutableColumns, list[int]]:
    """What ``amount`` answers for each row of these groups of ``AMOUNT_PARTS`` (without the second): columns that make up the
    amounts side by side, and the rows that cannot be converted."""
    before, whole, fraction, rest = parts
    signs = [*map(_SIGNS.get, zip(before, rest, strict=True))]
    converted = [signs, b"\n".join(whole).replace(b",", b"").split(b"\n"), [*map(_FRACTIONS.get, fraction, fraction)]]
    return converted, _convert_others(amount, parts, converted, _gaps(signs))

# --- timestamps ------------------------------------------------------------------------------------------------------

CANONICAL_TIMESTAMP = (
    rb"[1-9][0-9]{3}-(?:"
    rb"(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|"
    rb"(?:0[13-9]|1[0-2])-(?:29|30)|"
    rb"(?:0[13578]|1[02])-31|"
    rb"(?<=0[48]-|[2468][048]-|[13579][26]-)02-29)"  # leap years but for centuries
    rb"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9}+)?Z"
)
"""Likewise for ``timestamp``: all but the years before 1000, and the 29th of February of 2000 and the like."""

TIMESTAMP_PARTS = (
    rb'((?:(?P<timestamp_quote>")|(?!")) *+(?>'
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ](?=[0-9])|%(end)b)|"
    rb"[0-9]{2}/[0-9]{2}/[0-9]{4}(?: (?=[0-9:]{5,8}%(end)b)|%(end)b)|"
    rb"[0-9]{2}-[A-Za-z]{3}-[0-9]{4} (?=[0-9:]{8}%(end)b)|))"
    rb"((?>(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9}+|)|)|(?<![T ])[0-9]{9,13}+%(end)b|))"
    rb'((?(timestamp_quote)[^"\r\n\0]*+"|[^",\r\n\0]*+))'
) % {b"end": rb'(?![^",\r\n])'}
"""Likewise of a timestamp. Groups: the day and what parts it from the time, (the opening quote again,) the time (or, without a
day, the seconds since 1970), the rest. A day that may not go on as it does, or that is of no known form, is left to the rest."""

# A timestamp is a day, a minute of it, and the rest. Whole timestamps hardly repeat, but there are only 1,440 minutes, and the
# same few thousand days come again and again: each part is looked up.
_DAY = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]?|"
    rb"[0-9]{2}/[0-9]{2}/[0-9]{4} ?|"
    rb"[0-9]{2}-[A-Za-z]{3}-[0-9]{4} "  # needs a time
).fullmatch
_MONTHS = {
    name: b"%02d" % number
    for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)
}
_MINUTES = [b"%02d:%02d" % divmod(number, 60) for number in range(24 * 60)]
_MINUTE_NUMBERS = {minute: number for number, minute in enumerate(_MINUTES)}
_SECONDS = [b":%02d" % number for number in range(60)]
_RESTS = {b"": b":00Z"} | {second: second + b"Z" for second in _SECONDS}
# Groups: seconds, offset.
_ISO_REST = re.compile(rb"(:[0-5][0-9](?:\.[0-9]{1,9})?)?(?:Z|([+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))?").fullmatch


def timestamp(value: bytes) -> bytes | None:
    """``b"03/05/2024 10:11"`` → ``b"2024-03-05T10:11:00Z"``; no offset means UTC; a fraction is kept as written."""
    value = value.strip()
    if value.isdigit():
        epoch = _read_epoch(value)
        return epoch and b"%bT%bZ" % epoch
    named_month = value[2:3] == b"-"
    start = 12 if named_month else 11  # of the time of day
    day, minute, rest = _day(value[:start]), value[start : start + 5], value[start + 5 :]
    if not day:
        return None
    if len(value) == 10:
        return day + b"T00:00:00Z"
    if minute not in _MINUTE_NUMBERS or (named_month and not rest):  # which has seconds always
        return None
    if rest in _RESTS:
        return day + b"T" + minute + _RESTS[rest]
    match = _ISO_REST(rest) if value[4:5] == b"-" else None
    if not match:
        return None
    seconds, offset = match.groups()
    if offset:
        days, minute = _in_utc(minute, _offset(offset))
        day = _shifted(day, days)
    return day and b"%bT%b%bZ" % (day, minute, seconds or b":00")


_TIMES = {minute: minute + b":00" for minute in _MINUTES} | {b"": b"00:00:00"}


def timestamps(parts: Columns) -> tuple[MutableColumns, list[int]]:
    """Likewise for ``timestamp`` and ``TIMESTAMP_PARTS``."""
    day, time, rest = parts
    days, times = [*map(_DAYS.__getitem__, day)], [*map(_TIMES.get, time, time)]
    offsets = [*map(_OFFSETS.__getitem__, rest)]
    for row, offset in compress(enumerate(offsets), offsets):
        if days[row]:
            moved, minute = _in_utc(time[row][:5], offset)
            times[row] = minute + times[row][5:]
            if moved:
                day_then = _shifted(days[row][:-1], moved)
                days[row] = day_then and day_then + b"T"
    without_day = [*_gaps(days)] if None in days else []
    for row in without_day:
        if time[row].isdigit() and (epoch := _read_epoch(time[row])):
            days[row], times[row] = epoch[0] + b"T", epoch[1]
    others = {*_gaps(offsets), *(row for row in without_day if not days[row])}
    converted = [days, times, [b"Z"] * len(day)]
    return converted, _convert_others(timestamp, parts, converted, others)


def _in_utc(minute: bytes, offset: int) -> tuple[int, bytes]:
    """The minute without its offset, and how many days later that is."""
    days, number = divmod(_MINUTE_NUMBERS[minute] - offset, len(_MINUTES))
    return days, _MINUTES[number]


@lru_cache(_CACHED_VALUES)
def _day(text: bytes) -> bytes | None:
    """A day in one of the three forms, with what parts it from a time → ``YYYY-MM-DD``, or None if it does not stand in the
    calendar."""
    if not _DAY(text):
        return None
    if text[2:3] == b"/":
        month, day, year = text.split(b"/")
    elif text[2:3] == b"-":
        day, name, year = text.split(b"-")
        month = _MONTHS.get(name.lower(), b"00")
    else:
        year, month, day = text[:10].split(b"-")
    try:
        return date(int(year), int(month), int(day)).isoformat().encode()
    except ValueError:
        return None


@lru_cache(_CACHED_VALUES)
def _shifted(day: bytes, days: int) -> bytes | None:
    """``day``, so many days later; None outside the years 1 to 9999."""
    try:
        return (date.fromisoformat(day.decode()) + timedelta(days)).isoformat().encode()
    except OverflowError:
        return None


@lru_cache(_CACHED_VALUES)
def _offset(text: bytes) -> int:
    """``b"-0530"``, with or without colon and minutes, in minutes."""
    return int(text[:3]) * 60 + int(text[:1] + (text[3:].lstrip(b":") or b"0"))


@lru_cache(_CACHED_VALUES)
def _epoch_day(number: int) -> bytes:
    return (date(1970, 1, 1) + timedelta(number)).isoformat().encode()


def _read_epoch(value: bytes) -> tuple[bytes, bytes] | None:
    """Seconds since 1970, 9 or 10 digits; or milliseconds, three digits more → the day and the time."""
    if len(value) not in (9, 10, 12, 13):
        return None
    seconds, milliseconds = (value[:-3], b"." + value[-3:]) if len(value) > 10 else (value, b"")
    minutes, second = divmod(int(seconds), 60)
    days, minute = divmod(minutes, len(_MINUTES))
    return _epoch_day(days), _MINUTES[minute] + _SECONDS[second] + milliseconds


class _Lookup(dict[bytes, Any]):
    """The answers of a function. A hit costs less than with ``lru_cache``."""

    def __init__(self, function: Callable[[bytes], Any]):
        super().__init__()
        self._function = function

    def __missing__(self, text: bytes) -> Any:
        answer = self._function(text)
        if len(text) <= _CACHED_LENGTH:
            if len(self) >= _CACHED_VALUES:
                self.clear()
            self[text] = answer
        return answer


def _read_zone(text: bytes) -> int | None:
    """The minutes of ``b"Z"``, ``b""`` or an offset; or None."""
    match = _ISO_REST(text)
    if not match or match[1]:
        return None
    return _offset(match[2]) if match[2] else 0


# A part has the field's white space and its quote, on its outer side.
_DAYS = _Lookup(lambda text: (day := _day(text.lstrip(b'" '))) and day + b"T")
_OFFSETS = _Lookup(lambda text: _read_zone(text.rstrip(b'" ')))
