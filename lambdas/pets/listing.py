"""Pages of records over several animals, newest first, and the cursor from one page to the next. Rules only, no I/O.

DynamoDB sorts the records of one animal by time. A page merges them, and its cursor says how far each animal has been shown: so
nothing is lost or shown twice when records arrive between two pages. New ones stand before the first page.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from . import contract
from .uploads import is_image_id

MAX_CURSOR_CHARACTERS = 1_000
_BEYOND_ALL_TIMES = "9999-12-31T23:59:59Z"
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class InvalidCursor(Exception):
    """Not a cursor of ours, or not for this query."""


class Position(NamedTuple):
    """Where an animal's records go on: after the record with this time and id; without an id, none has been shown yet, and they
    begin at this time."""

    timestamp: str
    image_id: str | None = None


Cursor = dict[str, Position | None]
"""For each animal that is asked for; None once all have been shown."""

Records = list[dict[str, Any]]


def page(
    animals: Sequence[str], cursor: str | None, limit: int, newest: Callable[[str, Position, int], Records]
) -> tuple[Records, str | None]:
    """The next records and the cursor to go on with, None at the end. ``newest`` gives an animal's records from a position on, at
    most so many. Raises InvalidCursor."""
    start: Cursor = dict.fromkeys(animals, Position(_BEYOND_ALL_TIMES))
    positions = start if cursor is None else read(cursor, animals)
    # One more than a page shows whether there is another page.
    waiting = {animal: newest(animal, position, limit + 1) for animal, position in positions.items() if position}
    shown: Records = []
    while len(shown) < limit and any(waiting.values()):
        animal = max((animal for animal in waiting if waiting[animal]), key=lambda each: waiting[each][0][contract.TIMESTAMP])
        record = waiting[animal].pop(0)
        shown.append(record)
        positions[animal] = Position(record[contract.TIMESTAMP], record[contract.IMAGE_ID])
    if not any(waiting.values()):
        return shown, None
    last = shown[-1][contract.TIMESTAMP]
    for animal in positions:
        position = positions[animal]
        if not waiting.get(animal):
            positions[animal] = None
        elif position and not position.image_id:  # records that are newer than this page belong before it
            positions[animal] = Position(min(last, position.timestamp))
    return shown, write(positions)


def write(cursor: Mapping[str, Position | None]) -> str:
    """In a form that a URL takes as it is."""
    content = {animal: position and [part for part in position if part] for animal, position in cursor.items()}
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")


def read(text: str, animals: Sequence[str]) -> Cursor:
    """Raises InvalidCursor. The text may be anything."""
    if len(text) > MAX_CURSOR_CHARACTERS or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise InvalidCursor("not a cursor of this API")
    try:
        content = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidCursor("not a cursor of this API") from None
    if not isinstance(content, dict) or not all(map(_is_position, content.values())) or not any(content.values()):
        raise InvalidCursor("not a cursor of this API")
    if set(content) != set(animals):
        raise InvalidCursor("this cursor belongs to a query with another value of animal")
    return {animal: Position(*content[animal]) if content[animal] else None for animal in animals}


def _is_position(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, list) or not 1 <= len(value) <= 2 or not all(isinstance(part, str) for part in value):
        return False
    return bool(_TIMESTAMP.fullmatch(value[0])) and all(map(is_image_id, value[1:]))
