"""The one schema (R3a): a raw record → the standard one. Pure; what it gives comes from the record's content alone."""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from . import contract, json_text
from .json_text import Malformed, Number
from .reading import KEPT_BYTES, Raw

MAX_ID_CHARACTERS = 512
"""At most 2,048 bytes, what DynamoDB takes for a partition key."""
MAX_DATA_BYTES = 400_000
"""What an item of DynamoDB, 409,600 bytes with the names of its attributes, leaves for the record."""

_RESERVED = (contract.CHECKPOINT_PREFIX, contract.HEARTBEAT_PREFIX)
_MAX_SHOWN = 60


class Record(NamedTuple):
    """What the table holds of a record, but for where it came from."""

    record_id: str
    timestamp: str
    data: str
    checksum: str
    reason: str | None  # of an invalid one

    @property
    def status(self) -> str:
        return contract.VALID if self.reason is None else contract.INVALID


def standard(raw: Raw) -> Record:
    """The record by the schema, ``INVALID`` with every reason if it breaks it.

    Its id is its own, if that can be used, or else its checksum. Its time is its own, or else the sentinel. Of an invalid one
    that is too large for an item, ``data`` is the beginning, which need not be JSON.
    """
    value, faults = raw.value, [raw.fault] if raw.fault else []
    text = ""
    try:
        text = json_text.canonical(value)
    except Malformed as malformed:
        value, faults = None, [str(malformed)]
    if value is None:
        return Record(*_unread(raw), "; ".join(faults))
    encoded = text.encode()
    checksum = hashlib.sha256(encoded).hexdigest()
    record_id, timestamp = checksum, contract.NO_TIMESTAMP
    try:
        record_id = _record_id(value.get(contract.RECORD_ID)) or checksum
    except ValueError as fault:
        faults.append(str(fault))
    try:
        timestamp = _timestamp(value.get(contract.TIMESTAMP))
    except ValueError as fault:
        faults.append(str(fault))
    if len(encoded) > MAX_DATA_BYTES:
        faults.append(f"it has {len(encoded):,} bytes as JSON; an item holds {MAX_DATA_BYTES:,}; only its beginning is kept")
        text = _beginning(encoded)
    return Record(record_id, timestamp, text, checksum, "; ".join(faults) or None)


def _unread(raw: Raw) -> tuple[str, str, str, str]:
    """Of what could not be read: only the text, as far as it was kept, and the length of the whole."""
    hashed = hashlib.sha256(raw.text)
    if raw.length != len(raw.text):
        hashed.update(b"\n%d" % raw.length)
    whole = raw.length == len(raw.text) <= MAX_DATA_BYTES
    text = raw.text.decode(errors="replace") if whole else _beginning(raw.text)
    if len(text.encode()) > MAX_DATA_BYTES:  # the sign for a byte that is no UTF-8 has three
        text = _beginning(raw.text)
    return hashed.hexdigest(), contract.NO_TIMESTAMP, text, hashed.hexdigest()


def _beginning(encoded: bytes) -> str:
    return encoded[:KEPT_BYTES].decode(errors="replace")


def _shown(value: Any) -> str:
    text = ascii(str(value)) if isinstance(value, str) else json_text.kind(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


# --- the id ----------------------------------------------------------------------------------------------------------


def _record_id(value: Any) -> str | None:
    """The id as text, None if the record has none. Raises ValueError: why it cannot be used."""
    if value is None or value == "":  # CSV has no other way to leave it out
        return None
    if not isinstance(value, str):
        raise ValueError(f"{contract.RECORD_ID} is {json_text.kind(value)}, must be a string or a number")
    if not value.strip():
        raise ValueError(f"{contract.RECORD_ID} is blank")
    if len(value) > MAX_ID_CHARACTERS:
        raise ValueError(f"{contract.RECORD_ID} has {len(value)} characters; {MAX_ID_CHARACTERS} are allowed")
    if value.startswith(_RESERVED):
        raise ValueError(f"{contract.RECORD_ID} is {_shown(value)}: what begins so is the ingestion's own")
    return str(value)


# --- the time --------------------------------------------------------------------------------------------------------

_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]((?:[01][0-9]|2[0-3]):[0-5][0-9])(?:(:[0-5][0-9])(?:[.,]([0-9]{1,9}))?)?"
    r" ?(?:[Zz]|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)?)?"
)
_EPOCH = re.compile(r"([0-9]{9,10})(?:([0-9]{3})|\.([0-9]{1,9}))?")  # seconds, then perhaps milliseconds or a fraction
_EPOCH_START = datetime(1970, 1, 1)


def _timestamp(value: Any) -> str:
    """``2024-03-05 11:11+01:00`` → ``2024-03-05T10:11:00Z``: in UTC, which is also what no offset means. Raises ValueError.

    One moment has one text: a fraction of a second, at most nine digits, loses its last zeros.
    """
    if value is None or value == "":
        raise ValueError(f"{contract.TIMESTAMP} is missing")
    if not isinstance(value, str):
        raise ValueError(f"{contract.TIMESTAMP} is {json_text.kind(value)}, must be a string or a number")
    text = value.strip(" \t\r\n")
    if match := _EPOCH.fullmatch(text):
        seconds, milliseconds, fraction = match.groups(default="")
        return _written(_EPOCH_START + timedelta(seconds=int(seconds)), milliseconds or fraction)
    match = None if isinstance(value, Number) else _ISO.fullmatch(text)
    if not match:
        raise ValueError(f"{contract.TIMESTAMP} {_shown(value)} is neither ISO 8601 nor seconds or milliseconds since 1970")
    day, minute, second, fraction, sign, hours, minutes = match.groups(default="")
    try:
        moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}")
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        return _written(moment + offset if sign == "-" else moment - offset, fraction)
    except (ValueError, OverflowError):  # the calendar and the clock end somewhere
        raise ValueError(f"{contract.TIMESTAMP} {_shown(value)} does not exist") from None


def _written(moment: datetime, fraction: str) -> str:
    fraction = fraction.rstrip("0")
    return f"{moment.isoformat()}{'.' if fraction else ''}{fraction}Z"
