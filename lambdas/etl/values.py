"""Amounts and timestamps: every form the requirements accept, in; one canonical form, out (E4a, table in values.csv).

Both functions take and return bytes. That keeps two traps shut by construction: white space and digits of bytes are ASCII
only (``str.strip`` and ``\\d`` also take U+00A0 and ``１２``), and nothing is ever a float. ``None`` means *cannot be
converted*. Every pattern is linear in the length of its input; whatever is cached is bounded in number and length.
"""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache

_CACHED_VALUES = 16_384
_CACHED_LENGTH = 64  # bytes; longer values are converted each time, so that hostile ones cannot fill the memory
_MAX_WHOLE_DIGITS = 18  # amounts stay below 10**18
_MAX_EXPONENT = 30

# --- amounts ---------------------------------------------------------------------------------------------------------

CANONICAL_AMOUNT = rb"(?:0|-?[1-9][0-9]{0,17}+)\.[0-9]{2,}+"
"""A pattern of what ``amount`` answers unchanged; nearly all of it."""

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
    rb"(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"
    rb"(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|"
    rb"02-(?:0[1-9]|1[0-9]|2[0-8]))"
    rb"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9}+)?Z"
)
"""Likewise for ``timestamp``: all but the 29th of February and the years before 1000."""

_HOUR_MINUTE = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
# Groups of each form: day, time of day, offset.
_ISO = re.compile(
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    rb"(?:[T ](" + _HOUR_MINUTE + rb"(?::[0-5][0-9](?:\.[0-9]{1,9})?)?)"
    rb"(?:Z|([+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))?)?"  # an offset needs a time
).fullmatch
_AMERICAN = re.compile(rb"([0-9]{2}/[0-9]{2}/[0-9]{4})(?: (" + _HOUR_MINUTE + rb"(?::[0-5][0-9])?))?()").fullmatch
_NAMED_MONTH = re.compile(rb"([0-9]{2}-[A-Za-z]{3}-[0-9]{4}) (" + _HOUR_MINUTE + rb":[0-5][0-9])()").fullmatch
_EPOCH = re.compile(rb"([0-9]{9,10})([0-9]{3})?").fullmatch  # seconds (9 or 10 digits), then perhaps milliseconds
_MONTHS = {
    name: b"%02d" % number
    for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)
}
_EPOCH_START = datetime(1970, 1, 1)


def timestamp(value: bytes) -> bytes | None:
    """``b"03/05/2024 10:11"`` → ``b"2024-03-05T10:11:00Z"``; no offset means UTC; a fraction is kept as written."""
    value = value.strip()
    if value.isdigit():
        return _read_epoch(value)
    match = (_AMERICAN if value[2:3] == b"/" else _NAMED_MONTH if value[2:3] == b"-" else _ISO)(value)
    if not match:
        return None
    day, clock, offset = match.groups()
    day = _day(day)  # the same few thousand again and again, whereas whole timestamps hardly repeat
    if not day:
        return None
    if not clock:
        return day + b"T00:00:00Z"
    if len(clock) == 5:
        clock += b":00"
    if not offset:
        return b"%bT%bZ" % (day, clock)
    try:
        moment = datetime.fromisoformat(f"{day.decode()}T{clock[:8].decode()}") - _offset(offset)
    except OverflowError:  # outside the years 1 to 9999
        return None
    return b"%b%bZ" % (moment.isoformat().encode(), clock[8:])


@lru_cache(_CACHED_VALUES)
def _day(text: bytes) -> bytes | None:
    """A day in one of the three forms → ``YYYY-MM-DD``, or None if it does not stand in the calendar."""
    if text[2:3] == b"/":
        month, day, year = text.split(b"/")
    elif text[2:3] == b"-":
        day, name, year = text.split(b"-")
        month = _MONTHS.get(name.lower(), b"00")
    else:
        year, month, day = text.split(b"-")
    try:
        return date(int(year), int(month), int(day)).isoformat().encode()
    except ValueError:
        return None


@lru_cache(_CACHED_VALUES)
def _offset(text: bytes) -> timedelta:
    """``b"-0530"``, with or without colon and minutes."""
    return timedelta(hours=int(text[:3]), minutes=int(text[:1] + (text[3:].lstrip(b":") or b"0")))


def _read_epoch(value: bytes) -> bytes | None:
    match = _EPOCH(value)
    if not match:
        return None
    seconds, milliseconds = match.groups()
    moment = (_EPOCH_START + timedelta(seconds=int(seconds))).isoformat().encode()
    return moment + (b".%bZ" % milliseconds if milliseconds else b"Z")
