"""Amounts and timestamps: every form the requirements accept, in; one canonical form, out (E4a, table in values.csv).

Both functions take and return bytes. That keeps two traps shut by construction: white space and digits of bytes are ASCII
only (``str.strip`` and ``\\d`` also take U+00A0 and ``１２``), and nothing is ever a float. ``None`` means *cannot be
converted*. Every pattern is linear in the length of its input; whatever is cached is bounded in number and length.
"""

import re
from datetime import date, timedelta
from functools import lru_cache

_CACHED_VALUES = 16_384
_CACHED_LENGTH = 64  # bytes; longer values are converted each time, so that hostile ones cannot fill the memory
_MAX_WHOLE_DIGITS = 18  # amounts stay below 10**18
_MAX_EXPONENT = 30

# --- amounts ---------------------------------------------------------------------------------------------------------

CANONICAL_AMOUNT = rb"(?:0|-?[1-9][0-9]{0,17}+)\.[0-9]{2,}+"
"""A pattern of what ``amount`` answers unchanged; nearly all of it."""

WRAPPED_AMOUNT = rb" *+(?:\+?\$?(?=[0-9]))?+(%b) *+" % CANONICAL_AMOUNT
"""A pattern of amounts that are canonical but for what is around them; its group is what ``amount`` answers."""

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

# --- timestamps ------------------------------------------------------------------------------------------------------

CANONICAL_TIMESTAMP = (
    rb"[1-9][0-9]{3}-(?:"
    rb"(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|"
    rb"(?:0[13-9]|1[0-2])-(?:29|30)|"
    rb"(?:0[13578]|1[02])-31)"
    rb"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9}+)?Z"
)
"""Likewise for ``timestamp``: all but the 29th of February and the years before 1000."""

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
        return _read_epoch(value)
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
        days, number = divmod(_MINUTE_NUMBERS[minute] - _offset(offset), len(_MINUTES))
        day, minute = _shifted(day, days), _MINUTES[number]
    return day and b"%bT%b%bZ" % (day, minute, seconds or b":00")


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


def _read_epoch(value: bytes) -> bytes | None:
    """Seconds since 1970, 9 or 10 digits; or milliseconds, three digits more."""
    if len(value) not in (9, 10, 12, 13):
        return None
    seconds, milliseconds = (value[:-3], value[-3:]) if len(value) > 10 else (value, b"")
    number, second = divmod(int(seconds), 60)
    days, number = divmod(number, len(_MINUTES))
    moment = b"%bT%b%b" % (_shifted(b"1970-01-01", days), _MINUTES[number], _SECONDS[second])
    return moment + (b".%bZ" % milliseconds if milliseconds else b"Z")
