"""From a fetched ``metadata.json`` to the text of its document (M3b). Rules only, no I/O.

Numbers are never converted: what stands in the file stands in the document, digit by digit.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

MAX_DEPTH = 100
"""Levels of objects and arrays. More are nobody's metadata, and would exhaust the stack of some parser on the way."""

MAX_FIELDS = 1_000
"""Distinct fields of one document. The index takes 10,000 in all: one odd file must not use them up (M5b)."""

_TIMESTAMP, _INGEST = "@timestamp", "ingest"
_BOM = "\ufeff"
_REPLACEMENT = "\ufffd"
_UPLOAD_AGAIN = "correct the file and upload it again"


class InvalidMetadata(Exception):
    """The file is not what it should be; the message tells a person what is wrong, where, and what to do."""


class Number(str):
    """A JSON number, as written."""

    __slots__ = ()


# --- the file --------------------------------------------------------------------------------------------------------


def check_bytes(body: str, content_length: int, etag: str) -> None:
    """Refuse a text that is not, byte for byte, the object it was made from. Raises InvalidMetadata.

    Step Functions hands an object over as text, with U+FFFD where bytes are not UTF-8, and perhaps without a byte-order
    mark, which is not documented; that one shows in the length. A mark that is still there is refused by ``parse``.
    """
    encoded = body.encode("utf-8", errors="surrogatepass")  # lone surrogates are refused by parse, which says where they are
    if _REPLACEMENT in body and not _is_md5(etag, encoded):
        raise InvalidMetadata(
            "the file holds bytes that are not UTF-8, or the character U+FFFD, which cannot be told from them here;"
            f" the first one is at {_place(body, body.index(_REPLACEMENT))}; save it as UTF-8 and upload it again"
        )
    if len(encoded) != content_length:
        raise InvalidMetadata(
            f"the file has {content_length} bytes in S3 but its text has {len(encoded)}: it is not plain UTF-8, or begins with"
            " a byte-order mark (3 bytes); save it as UTF-8 without one and upload it again"
        )


def _is_md5(etag: str, data: bytes) -> bool:
    """Whether the ETag proves that the object holds these bytes. It is no MD5 after an upload in parts or with KMS."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == etag.strip('"')


def parse(body: str) -> dict[str, Any]:
    """The object that the text holds, its numbers as Number. Raises InvalidMetadata.

    As strict as RFC 8259 lets a parser be: besides what Python's parser refuses, NaN and Infinity, keys that stand twice in
    an object, text that Unicode cannot carry, and deep nesting.
    """
    if not body.strip():
        raise InvalidMetadata(f"the file is empty; it must hold one JSON object: {_UPLOAD_AGAIN}")
    if body.startswith(_BOM):
        raise InvalidMetadata("the file begins with a byte-order mark; save it as UTF-8 without one and upload it again")
    if "\0" in body:
        raise _fault(body, body.index("\0"), "a NUL character: is it UTF-16, or no text at all?")
    _check_before_parsing(body)
    try:
        content = json.loads(body, parse_int=Number, parse_float=Number)
    except json.JSONDecodeError as error:
        raise _not_json(body, error) from None
    _check_strings(body)
    if not isinstance(content, dict):
        raise InvalidMetadata(f"the file holds {_kind(content)}; it must hold one JSON object, {{…}}: {_UPLOAD_AGAIN}")
    return content


# Strings whole, so that nothing inside them counts. Possessive, hence linear even if one never ends.
_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.)*+"?)(?P<key>[ \t\r\n]*+:)?|(?P<open>[\[{])|(?P<close>[\]}])|(?P<constant>NaN|-?Infinity)',
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def _tokens(body: str) -> Iterator[tuple[str | None, re.Match[str]]]:
    """What the checks below look at, and the kind of each: string, key, open, close, constant."""
    return ((match.lastgroup, match) for match in _TOKEN.finditer(body))


def _check_before_parsing(body: str) -> None:
    """What Python's parser fails on (it recurses) or takes though it is no JSON. The text may be anything."""
    depth = 0
    for kind, token in _tokens(body):
        if kind == "constant":
            raise _fault(body, token.start(), f"{token[0]} is no JSON number")
        depth += (kind == "open") - (kind == "close")
        if depth > MAX_DEPTH:
            raise _fault(body, token.start(), f"nested deeper than {MAX_DEPTH} levels")


def _check_strings(body: str) -> None:
    """Keys that stand twice, of which Python's parser takes the last, and lone surrogates. The text is JSON."""
    keys: list[set[str]] = []  # of every object (or, in vain, array) around
    for kind, token in _tokens(body):
        if kind == "open":
            keys.append(set())
        elif kind == "close":
            keys.pop()
        else:
            text = json.loads(token["string"])
            if _SURROGATE.search(text):
                raise _fault(body, token.start(), "half a surrogate pair, which is no character")
            if kind == "key":
                if text in keys[-1]:
                    raise _fault(body, token.start(), f"the key {_shown(text)} stands twice in one object")
                keys[-1].add(text)


def _not_json(body: str, error: json.JSONDecodeError) -> InvalidMetadata:
    if error.pos >= len(body.rstrip(" \t\r\n")) or error.msg.startswith("Unterminated"):
        return _fault(body, len(body), "the file ends in the middle: was it cut off?")
    if error.msg == "Extra data":
        return _fault(body, error.pos, "something follows after the end of the JSON value")
    return _fault(body, error.pos, f"not JSON: {error.msg.removesuffix(' at')}")


def _fault(body: str, position: int, what: str) -> InvalidMetadata:
    return InvalidMetadata(f"{what} ({_place(body, position)}); {_UPLOAD_AGAIN}")


def _place(body: str, position: int) -> str:
    return f"line {body.count(chr(10), 0, position) + 1}, column {position - body.rfind(chr(10), 0, position)}"


def _shown(text: str) -> str:
    """For a message: one short line of ASCII, whatever the text holds."""
    return json.dumps(text if len(text) <= 100 else text[:99] + "…")


def _kind(value: Any) -> str:
    match value:
        case Number():
            return "a number"
        case str():
            return "a text"
        case list():
            return "an array"
        case None:
            return "null"
        case _:
            return "true or false"


def write(value: Any) -> str:
    """The JSON text of what ``parse`` gives."""
    match value:
        case Number():
            return str(value)
        case dict():
            return "{" + ",".join(f"{write(key)}:{write(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(write, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


# --- the document ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Document:
    """A file's content and the stamp that goes before it."""

    timestamp: str
    ingest: dict[str, str]
    content: dict[str, Any]

    def searchable(self) -> str:
        """The ordinary document: the content's own fields beside the stamp."""
        return write({_TIMESTAMP: self.timestamp, _INGEST: self.ingest, **_renamed(self.content)})

    def unindexed(self, reason: str) -> str:
        """The document whose content the index keeps without looking at it: for what its mapping cannot take."""
        return write(
            {_TIMESTAMP: self.timestamp, _INGEST: {**self.ingest, "unindexed_reason": reason}, "unindexed": self.content}
        )

    def has_too_many_fields(self) -> bool:
        return _has_more_fields(self.content, MAX_FIELDS)


def from_payload(payload: dict[str, Any]) -> Document:
    """The document of a payload, as ``contract`` describes it. Raises InvalidMetadata."""
    origin = payload["object"]
    check_bytes(payload["body"], payload["content_length"], payload["etag"])
    return Document(
        _checked_timestamp(payload["timestamp"]),
        {
            "id": ingest_id(origin["bucket"], origin["key"], origin["version_id"]),
            "bucket": origin["bucket"],
            "key": origin["key"],
            "version_id": origin["version_id"],
            "execution_id": payload["execution_id"],
        },
        parse(payload["body"]),
    )


def ingest_id(bucket: str, key: str, version_id: str) -> str:
    """The same for every delivery of one upload, and for no other: keys may hold line ends, but neither a bucket's name nor
    a version id does, so the first and the last one part the three."""
    return hashlib.sha256(f"{bucket}\n{key}\n{version_id}".encode()).hexdigest()


_ISO_UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?Z").fullmatch


def _checked_timestamp(text: Any) -> str:
    try:
        if not isinstance(text, str) or not _ISO_UTC(text):
            raise ValueError
        date.fromisoformat(text[:10])
    except ValueError:
        raise InvalidMetadata(
            f"the event's time is {_shown(str(text))}; it must be ISO 8601 in UTC, such as 2026-01-31T23:59:59Z;"
            " the file may be fine: look at the input of the execution"
        ) from None
    return text


def _renamed(content: dict[str, Any]) -> dict[str, Any]:
    """The content without the stamp's names: ``ingest`` becomes ``original_ingest``, with as many prefixes as it takes to
    be free. ``ingest.id`` too, which OpenSearch would read as the field ``id`` of ``ingest``."""
    renamed: dict[str, Any] = {}
    for key, value in content.items():
        name = key
        if key.partition(".")[0] in (_TIMESTAMP, _INGEST):
            name = f"original_{key.removeprefix('@')}"
            while name in content:
                name = f"original_{name}"
        renamed[name] = value
    return renamed


def _has_more_fields(content: dict[str, Any], limit: int) -> bool:
    """Whether the content has more distinct fields, as OpenSearch counts them: objects are fields too, the elements of an
    array share its field, and ``a.b`` is ``b`` in ``a``."""
    known: dict[str, Any] = {}  # name → the same of the fields in it
    count = 0
    waiting: list[tuple[Any, dict[str, Any]]] = [(content, known)]
    while waiting:
        value, parent = waiting.pop()
        if isinstance(value, list):
            waiting += ((item, parent) for item in value)
        elif isinstance(value, dict):
            for key, item in value.items():
                fields = parent
                for name in key.split("."):
                    if name not in fields:
                        fields[name] = {}
                        count += 1
                        if count > limit:
                            return True
                    fields = fields[name]
                waiting.append((item, fields))
    return False
