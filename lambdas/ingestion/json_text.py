"""JSON from anywhere: parsed without ever making a number of its digits, and written in one canonical form. Pure."""

import json
import math
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 100
"""Levels of nesting, well below what the interpreter can take, so that the same text is refused in every place."""
MAX_NUMBER_CHARACTERS = 100


class Malformed(Exception):
    """The text is no JSON that we take; the message is the reason, for the person who sent it."""


class Number(str):
    """A number as it was written."""

    __slots__ = ()


def parse(text: bytes) -> Any:
    """What the text says, its numbers as ``Number``. Raises Malformed: also for keys that come twice, NaN, and deep nesting."""
    try:
        return _DECODER.decode(text.decode())
    except UnicodeDecodeError as error:
        raise Malformed(f"it is not UTF-8: byte 0x{text[error.start]:02X} at its position {error.start}") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"its JSON is malformed at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None


def canonical(value: Any) -> str:
    """What ``parse`` or a CSV file gave, as text: keys sorted, no white space, numbers as they were written.

    Two records have the same text if they say the same in the same digits. Raises Malformed for what has no UTF-8, or is nested
    too deep.
    """
    text = _canonical(value, MAX_DEPTH)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed("a text in it has half of a surrogate pair, which is no character") from None
    return text


def kind(value: Any) -> str:
    """What it is, in JSON's words."""
    return next((name for type_, name in _KINDS.items() if isinstance(value, type_)), "null")


def twice(names: Iterable[str]) -> str | None:
    """The first that has come before, if any; in linear time, since a record may have 100,000 of them."""
    known: set[str] = set()
    for name in names:
        if name in known:
            return name
        known.add(name)
    return None


_KINDS = {Number: "a number", str: "a string", bool: "a boolean", dict: "an object", list: "an array"}
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


def _canonical(value: Any, levels: int) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list):
        return json.dumps(value)  # true, false, null
    if not levels:
        raise Malformed(_TOO_DEEP)
    if isinstance(value, list):
        return f"[{','.join(_canonical(one, levels - 1) for one in value)}]"
    members = (f"{json.dumps(key, ensure_ascii=False)}:{_canonical(value[key], levels - 1)}" for key in sorted(value))
    return f"{{{','.join(members)}}}"


def _number(text: str) -> Number:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise Malformed(f"a number in it has {len(text)} characters; {MAX_NUMBER_CHARACTERS} are allowed")
    if math.isinf(float(text)):
        raise Malformed(f"the number {text} in it is beyond what others can read (about 1.8e308)")
    return Number(text)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs) and (key := twice(key for key, _ in pairs)) is not None:
        raise Malformed(f"its key {key[:60]!a} comes more than once")
    return members


def _constant(text: str) -> None:
    raise Malformed(f"{text} in it is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_float=_number, parse_int=_number, parse_constant=_constant)
