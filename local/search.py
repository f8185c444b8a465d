"""A small search engine that speaks OpenSearch's REST API: the data plane of the embedded AWS's collections.

    engine = Engine()                                     # one per collection
    engine.handle("POST", "/logs/_doc", "", b'{"a": 1}')  # (201, headers, body)

It knows what this project and its dashboards need: creating and mapping indexes, dynamic mapping with its limits and refusals,
indexing one by one and in bulk, searching, counting, sorting, three aggregations. Whatever it doesn't know it refuses, and says
so; the variable OPENSEARCH_URL puts a real OpenSearch in its place (docs/local.md).

Other than there: documents are visible at once (OpenSearch Serverless refreshes about every 10 seconds), a score is the number
of clauses that matched, and everything is in memory.

Answers hold a document's `_source` character for character as it was stored: numbers are never read as floats, but kept as the
text that they are (`Exact`), both on their way in and out.
"""

from __future__ import annotations

import calendar
import fnmatch
import itertools
import json
import re
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote

UNKNOWN = "the search engine of the local run does not know it; OPENSEARCH_URL may name a real OpenSearch"
NUMBER_CHARACTERS = 1000  # longest number that Jackson, OpenSearch's JSON parser, reads
MAX_NESTING = 1000  # levels that it reads
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)  # strings whole, so that nothing in them counts
TERM_BYTES = 32766  # longest keyword that Lucene indexes
RESULT_WINDOW = 10_000
BUCKETS = 65_535
METADATA_FIELDS = ("_id", "_index", "_source", "_type", "_routing", "_field_names", "_ignored", "_seq_no", "_version",
                   "_primary_term", "_nested_path")


class Refused(Exception):
    """A request, or one document of a bulk request, that OpenSearch would refuse."""

    def __init__(self, kind: str, reason: str, status: int = 400, *, cause: tuple[str, str] | None = None,
                 more: dict[str, Any] | None = None):
        super().__init__(reason)
        self.status = status
        self.error: dict = {"type": kind, "reason": reason, **(more or {})}
        if cause:
            self.error["caused_by"] = {"type": cause[0], "reason": cause[1]}

    def answer(self) -> dict:
        """OpenSearch's body of an error."""
        root = {key: value for key, value in self.error.items() if key != "caused_by"}
        return {"error": {"root_cause": [root], **self.error}, "status": self.status}


def illegal(reason: str) -> Refused:
    """What OpenSearch says of most requests that cannot be met."""
    return Refused("illegal_argument_exception", reason)


# --- JSON, numbers untouched -----------------------------------------------------------------------------------------------

class Exact(str):
    """JSON that is written as it was read: the literal of a number, or a whole document."""


def read_json(text: str | bytes):
    """Strict JSON (no duplicate names, no NaN, nothing behind it), numbers as Exact. ValueError says what is wrong with it."""
    def number(literal: str) -> Exact:
        if len(literal) > NUMBER_CHARACTERS:
            raise ValueError(f"Number value length ({len(literal)}) exceeds the maximum allowed ({NUMBER_CHARACTERS})")
        return Exact(literal)

    def no_number(word: str):
        raise ValueError(f"Non-standard token '{word}'")

    def each_once(pairs: list[tuple[str, Any]]) -> dict:
        members: dict = {}
        for name, value in pairs:
            if name in members:
                raise ValueError(f"Duplicate field '{name}'")
            members[name] = value
        return members

    if isinstance(text, bytes):
        text = text.decode()
    depth = 0
    for bracket in BRACKETS.findall(text):
        depth += bracket in ("[", "{")
        depth -= bracket in ("]", "}")
        if depth > MAX_NESTING:
            raise ValueError("Document nesting depth exceeds the maximum allowed")
    try:
        return json.loads(text, parse_int=number, parse_float=number, parse_constant=no_number, object_pairs_hook=each_once)
    except RecursionError:
        raise ValueError("Document nesting depth exceeds the maximum allowed") from None


def write_json(value) -> str:
    """The value as JSON, with Exact parts as they are."""
    if isinstance(value, Exact):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{write_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(write_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def body_of(body: bytes) -> dict:
    """The JSON object that a request carries; an empty one if it carries nothing."""
    try:
        given = read_json(body) if body.strip() else {}
    except ValueError as error:
        raise Refused("parse_exception", f"Failed to parse content to map: {error}") from None
    if not isinstance(given, dict):
        raise Refused("parse_exception", "request body must be a JSON object")
    return given


def flag(value) -> bool:
    """A boolean of a request, which may be a text."""
    if value not in (True, False, "true", "false", ""):
        raise illegal(f"Failed to parse value [{value}] as only [true] or [false] are allowed.")
    return value in (True, "true", "")


def whole(value, name: str) -> int:
    """A natural number of a request."""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value)):
        raise illegal(f"Failed to parse value [{value}] for [{name}]: a whole number of 0 or more is expected")
    return int(value)


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]


# --- values of fields ------------------------------------------------------------------------------------------------------

INTEGERS = {"long": 63, "integer": 31, "short": 15, "byte": 7}
FLOATS = {"double": "d", "float": "f", "half_float": "e"}
_EVERYWHERE = {"type", "index", "doc_values", "store", "meta", "boost", "fields"}
_OF_NUMBERS = _EVERYWHERE | {"ignore_malformed", "coerce"}
PARAMETERS = {  # what a definition of each type may say
    "keyword": _EVERYWHERE | {"ignore_above", "norms"},
    "text": (_EVERYWHERE - {"doc_values"}) | {"norms", "analyzer"},
    "boolean": _EVERYWHERE,
    "date": _EVERYWHERE | {"format", "ignore_malformed"},
    **dict.fromkeys((*INTEGERS, *FLOATS), _OF_NUMBERS),
    "object": {"type", "properties", "dynamic", "enabled"},
}
OBJECT = {"type": "object"}
KEYWORD = {"type": "keyword"}
DEFAULT_TYPES = {"object": "object", "string": "text", "long": "long", "double": "float", "boolean": "boolean", "date": "date"}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_FORMAT = "strict_date_optional_time||epoch_millis"
SLASH_FORMAT = "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis"
_TIME = r"T(?:(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?)?(Z|[+-]\d\d(?::?\d\d)?)?"
_ISO = re.compile(rf"(\d{{4}})(?:-(\d\d)(?:-(\d\d)(?:{_TIME})?)?)?", re.ASCII)
_SLASHES = re.compile(r"(\d{4})/(\d\d)/(\d\d)(?: (\d\d):(\d\d):(\d\d))?()()", re.ASCII)
DATE_FORMATS = {"strict_date_optional_time": _ISO, "date_optional_time": _ISO, "strict_date_optional_time_nanos": _ISO,
                "yyyy/MM/dd HH:mm:ss": _SLASHES, "yyyy/MM/dd": _SLASHES}
EPOCH_FORMATS = {"epoch_millis": 1, "epoch_second": 1000}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class Malformed(ValueError):
    """A value that is none of its field's type; `ignore_malformed` helps unless it is an object."""

    def __init__(self, reason: str, kind: str = "illegal_argument_exception", *, ignorable: bool = True):
        super().__init__(reason)
        self.kind, self.ignorable = kind, ignorable


def typed(definition: dict, value) -> Any:
    """The value as a field of this definition indexes it; None if there is nothing to index."""
    kind = definition["type"]
    if isinstance(value, dict):
        raise Malformed("Can't get text on a START_OBJECT", "illegal_state_exception", ignorable=False)
    text = plain(value)
    if kind in ("keyword", "text"):
        return text
    if kind == "boolean":
        if isinstance(value, Exact) or text not in ("true", "false", ""):
            raise Malformed(f"Failed to parse value [{text}] as only [true] or [false] are allowed.", ignorable=False)
        return text == "true"
    if kind == "date":
        return milliseconds(text, definition.get("format", DEFAULT_FORMAT))
    if isinstance(value, bool):
        raise Malformed(f"Current token (VALUE_{text.upper()}) not numeric, can not use numeric value accessors",
                        "input_coercion_exception")
    if not text:
        return None
    return number(kind, text)


def plain(value) -> str:
    """A scalar as the text that it stands for."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(kind: str, text: str) -> int | float:
    """The text as a number of the type, cut or rounded to what it holds."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise Malformed(f'For input string: "{text}"', "number_format_exception")
    if kind in FLOATS:
        try:
            [rounded] = struct.unpack(FLOATS[kind], struct.pack(FLOATS[kind], float(text)))
        except OverflowError:
            rounded = float("inf")
        if abs(rounded) == float("inf"):
            raise Malformed(f"[{kind}] supports only finite values, but got [{text}]")
        return rounded
    bits = INTEGERS[kind]
    exact = decimal(text)
    if exact is None or not -(2**bits) <= int(exact) < 2**bits:
        raise Malformed(f"Value [{text}] is out of range for a {kind}")
    return int(exact)


def decimal(text: str) -> Decimal | None:
    """The number exactly, None if it is too large for any integer type; what is next to nothing is nothing."""
    try:
        exact = Decimal(text)
    except ArithmeticError:  # an exponent beyond all bounds
        return Decimal(0) if "e-" in text.lower() else None
    if exact and exact.adjusted() > 30:
        return None
    return exact if exact.adjusted() > -30 else Decimal(0)


def milliseconds(text: str, formats: str = DEFAULT_FORMAT, *, round_up: bool = False) -> int:
    """The date since 1970. `round_up` fills what is left out with its last value, as ranges want it."""
    for name in formats.split("||"):
        if name in EPOCH_FORMATS:
            if re.fullmatch(r"-?\d{1,18}(?:\.\d{1,9})?", text, re.ASCII):
                return int(Decimal(text) * EPOCH_FORMATS[name] // 1)
        elif found := DATE_FORMATS[name].fullmatch(text):
            try:
                return _since_1970(*found.groups(), round_up=round_up)
            except (ValueError, OverflowError):  # a thirteenth month
                continue
    raise Malformed(f"failed to parse date field [{text}] with format [{formats}]")


def _since_1970(year, month, day, hour, minute, second, fraction, offset, *, round_up: bool) -> int:
    def part(given, first: int, last: int) -> int:
        return int(given) if given else last if round_up else first

    year, month = int(year), part(month, 1, 12)
    thousandths = int(fraction.ljust(3, "0")[:3]) if fraction else part(None, 0, 999)
    moment = datetime(year, month, part(day, 1, calendar.monthrange(year, month)[1]), part(hour, 0, 23), part(minute, 0, 59),
                      part(second, 0, 59), thousandths * 1000, UTC)
    if offset and offset != "Z":
        digits = offset[1:].replace(":", "").ljust(4, "0")
        away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        moment -= away if offset[0] == "+" else -away
    return (moment - EPOCH) // timedelta(milliseconds=1)


def iso(moment: int) -> str:
    """Milliseconds since 1970 as OpenSearch writes a date."""
    try:
        return (EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return str(moment)


# --- mappings --------------------------------------------------------------------------------------------------------------

ROOT_PARAMETERS = {"dynamic", "date_detection", "numeric_detection", "dynamic_templates", "_meta"}
SETTINGS = {  # and what they are if nobody says
    "index.mapping.total_fields.limit": 1000,
    "index.mapping.depth.limit": 20,
    "index.mapping.ignore_malformed": False,
    "index.number_of_shards": None,
    "index.number_of_replicas": None,
    "index.refresh_interval": None,
}


def unmapped(reason: str, cause: tuple[str, str] | None = None) -> Refused:
    """What OpenSearch says of a document or a mapping that contradicts the mapping."""
    return Refused("mapper_parsing_exception", reason, cause=cause)


def unparsable(reason: str, kind: str = "json_parse_exception") -> Refused:
    """What OpenSearch says of a document that it cannot read."""
    return unmapped("failed to parse", cause=(kind, reason))


def split_path(name: str) -> list[str]:
    """The names that a dotted field name stands for."""
    if not name:
        raise unparsable("field name cannot be an empty string", "illegal_argument_exception")
    parts = name.split(".")
    if not all(part.strip() for part in parts):
        reason = ("field name cannot contain only dots" if not name.strip(".") else
                  f"object field starting or ending with a [.] makes object resolution ambiguous: [{name}]" if not all(parts) else
                  f"object field cannot contain only whitespace: ['{name}']")
        raise unparsable(reason, "illegal_argument_exception")
    return parts


def definitions(properties: dict, prefix: str = "") -> dict[str, dict]:
    """Every object and field of `properties`, by its full path."""
    found: dict[str, dict] = {}
    for name, given in properties.items():
        *outer, last = split_path(name)
        for count in range(len(outer)):
            found.setdefault(prefix + ".".join(outer[:count + 1]), OBJECT)
        path = prefix + ".".join([*outer, last])
        if not isinstance(given, dict):
            raise unmapped(f"Expected map for property [fields] on field [{path}] but got {write_json(given)}")
        kind = given.get("type")
        if kind is None and not ("properties" in given or (given and set(given) <= {"enabled", "dynamic"})):
            raise unmapped(f"No type specified for field [{path}]")
        found[path] = {"type": "object", **given}
        check_definition(path, found[path])
        if "properties" in given:
            del found[path]["properties"]
            found |= definitions(given["properties"], f"{path}.")
    return found


def check_definition(path: str, definition: dict) -> None:
    """Refuse what OpenSearch refuses in the definition of a field, and what this engine doesn't know."""
    kind = definition["type"]
    if kind not in PARAMETERS:
        raise unmapped(f"No handler for type [{kind}] declared on field [{path}]: {UNKNOWN}")
    if foreign := sorted(set(definition) - PARAMETERS[kind]):
        raise unmapped(f"unknown parameter [{foreign[0]}] on mapper [{path}] of type [{kind}]")
    if definition.get("analyzer", "standard") != "standard":
        raise unmapped(f"analyzer [{definition['analyzer']}] on field [{path}]: {UNKNOWN}")
    for name in definition.get("format", DEFAULT_FORMAT).split("||"):
        if name not in DATE_FORMATS and name not in EPOCH_FORMATS:
            raise unmapped(f"Invalid format: [{name}] on field [{path}]: {UNKNOWN}")
    for name, further in definition.get("fields", {}).items():
        if further.get("type") == "object":
            raise unmapped(f"Type [object] cannot be used in multi field [{path}.{name}]")
        check_definition(f"{path}.{name}", further)


@dataclass
class Document:
    """A stored document: its text, and what is indexed of it by path."""

    id: str
    source: str
    values: dict[str, list]
    ignored: list[str]


class Index:
    """An index: its settings, its mapping as paths with their definitions, its documents in the order they came."""

    def __init__(self, name: str, settings: dict, mappings: dict):
        self.name = name
        self.settings = flattened(settings)
        self.root: dict = {}
        self.fields: dict[str, dict] = {}
        self.documents: list[Document] = []
        self.put_mapping(mappings)

    def setting(self, name: str):
        value = self.settings.get(name, SETTINGS[name])
        return flag(value) if isinstance(SETTINGS[name], bool) else whole(value, name)

    def put_mapping(self, mappings: dict) -> None:
        """Add to the mapping, all or nothing."""
        root = {key: value for key, value in mappings.items() if key != "properties"}
        if foreign := sorted(set(root) - ROOT_PARAMETERS):
            raise unmapped(f"Root mapping definition has unsupported parameters:  [{foreign[0]} : "
                           f"{write_json(root[foreign[0]])}] ({UNKNOWN})")
        for template in root.get("dynamic_templates", []):
            if not (isinstance(template, dict) and len(template) == 1 and "mapping" in next(iter(template.values()))):
                raise unmapped("A dynamic template must be defined with a name and have a [mapping]")
        self.add(definitions(mappings.get("properties", {})))
        self.root |= root

    def add(self, new: dict[str, dict]) -> None:
        """Add objects and fields; nothing of them if one contradicts what is there, or they are too many or too deep."""
        fields = dict(self.fields)
        for path, definition in new.items():
            fields[path] = merged(path, fields.get(path), definition)
        limit = self.setting("index.mapping.total_fields.limit")
        if len(fields) + sum(len(each.get("fields", ())) for each in fields.values()) > limit:
            raise illegal(f"Limit of total fields [{limit}] has been exceeded")
        depth = self.setting("index.mapping.depth.limit")
        for path in new:
            if fields[path]["type"] == "object" and path.count(".") + 2 > depth:
                raise illegal(f"Limit of mapping depth [{depth}] has been exceeded due to object field [{path}]")
        self.fields = fields

    def mapping(self) -> dict:
        """The mapping as a request would give it."""
        tree: dict = dict(self.root)
        nodes = {"": tree}
        for path in sorted(self.fields, key=lambda path: path.split(".")):
            parent, _, name = path.rpartition(".")
            nodes[path] = dict(self.fields[path])
            if nodes[parent].get("type") == "object":
                del nodes[parent]["type"]  # as OpenSearch writes an object that has fields
            nodes[parent].setdefault("properties", {})[name] = nodes[path]
        return tree

    def field(self, path: str) -> dict | None:
        """The definition of a field that can be searched, a further field of a field too."""
        if path in ("_id", "_index"):
            return KEYWORD
        if (found := self.fields.get(path)) is not None:
            return None if found["type"] == "object" else found
        parent, _, name = path.rpartition(".")
        return self.fields.get(parent, {}).get("fields", {}).get(name)

    def column(self, path: str) -> dict | None:
        """The definition of a field that can be sorted and aggregated by."""
        definition = self.field(path)
        if definition and definition["type"] == "text":
            raise illegal(
                "Text fields are not optimised for operations that require per-document field data like aggregations and "
                f"sorting, so these operations are disabled by default. Please use a keyword field instead of [{path}]")
        if definition and not flag(definition.get("doc_values", True)):
            raise illegal(f"Can't load fielddata on [{path}] because fielddata is unsupported on fields of type "
                          f"[{definition['type']}]. Use doc values instead.")
        return definition

    def store(self, identity: str, source: str) -> None:
        """Index a document, or refuse it and change nothing."""
        try:
            given = read_json(source)
        except ValueError as error:
            raise unparsable(str(error)) from None
        if not isinstance(given, dict):
            raise unparsable("Malformed content, must start with an object", "illegal_argument_exception")
        parsing = Parsing(self, identity)
        try:
            parsing.object("", given)
        except RecursionError:
            raise unparsable("Document nesting depth exceeds the maximum allowed") from None
        if parsing.new:
            self.add(parsing.new)
        values = {**parsing.values, "_id": [identity], "_index": [self.name]}
        self.documents.append(Document(identity, source, values, sorted(parsing.ignored)))


def merged(path: str, old: dict | None, new: dict) -> dict:
    """A definition after a further one came; the type stays."""
    if old and old["type"] != new["type"]:
        if "object" in (old["type"], new["type"]):
            raise illegal(f"can't merge a non object mapping [{path}] with an object mapping")
        raise illegal(f"mapper [{path}] cannot be changed from type [{old['type']}] to [{new['type']}]")
    fields = {**(old or {}).get("fields", {}), **new.get("fields", {})}
    return {**(old or {}), **new, **({"fields": fields} if fields else {})}


def flattened(settings: dict, prefix: str = "") -> dict:
    """Settings with their full names; they may be given nested and without `index.`"""
    flat: dict = {}
    for name, value in settings.items():
        full = prefix + name
        if isinstance(value, dict):
            flat |= flattened(value, f"{full}.")
        else:
            flat[full if full.startswith("index.") else f"index.{full}"] = value
    if not prefix and (foreign := sorted(set(flat) - set(SETTINGS))):
        raise illegal(f"unknown setting [{foreign[0]}] ({UNKNOWN})")
    return flat


class Parsing:
    """One document against an index's mapping: what it would add to the mapping, and its values."""

    def __init__(self, index: Index, identity: str):
        self.index, self.identity = index, identity
        self.new: dict[str, dict] = {}
        self.values: dict[str, list] = {}
        self.ignored: set[str] = set()

    def object(self, path: str, members: dict) -> None:
        """All members of the object at the path."""
        for name, value in members.items():
            names = split_path(name)
            if not path and name in METADATA_FIELDS:
                raise unmapped(f"Field [{name}] is a metadata field and cannot be added inside a document. "
                               "Use the index API request parameters.")
            for item in elements(value):
                self._member(path, names, item, name if item is value else None)

    def _member(self, path: str, names: list[str], value, told_name: str | None) -> None:
        """One value that is no array and not null. `told_name` is how OpenSearch's message calls it."""
        *outer, last = names
        for name in outer:
            path = self._join(path, name)
            known = self.index.fields.get(path)
            if known is None:
                if not self._may_add(path):
                    return
                self._extend(path, "object")
                known = self.new[path]
            if known["type"] != "object":
                raise unmapped(f"Could not dynamically add mapping for field [{'.'.join(names)}]. Existing mapping for [{path}] "
                               f"must be of type object but found [{known['type']}].")
            if not flag(known.get("enabled", True)):
                return
        path = self._join(path, last)
        known = self.index.fields.get(path)
        if known is None:
            if not self._may_add(path):
                return
            self._extend(path, self._kind(value), value)
            known = self.new[path]
        if known["type"] != "object":
            self._field(path, known, value)
        elif not flag(known.get("enabled", True)):
            return
        elif isinstance(value, dict):
            self.object(path, value)
        else:
            raise unmapped(f"object mapping for [{path}] tried to parse field [{told_name or 'null'}] as object, but found a "
                           "concrete value")

    @staticmethod
    def _join(path: str, name: str) -> str:
        return f"{path}.{name}" if path else name

    def _may_add(self, path: str) -> bool:
        """Whether the nearest object around it lets the field be added."""
        dynamic = self.index.root.get("dynamic", True)
        parent = path.rpartition(".")[0]
        for around in itertools.accumulate(parent.split("."), "{}.{}".format) if parent else ():
            dynamic = (self.index.fields.get(around) or self.new.get(around, {})).get("dynamic", dynamic)
        if dynamic == "strict":
            name = path.rpartition(".")[2]
            raise Refused("strict_dynamic_mapping_exception", f"mapping set to strict, dynamic introduction of [{name}] within "
                                                              f"[{parent or '_doc'}] is not allowed")
        return flag(dynamic)

    def _kind(self, value) -> str:
        """What `match_mapping_type` calls the value."""
        if isinstance(value, (dict, bool)):
            return "object" if isinstance(value, dict) else "boolean"
        if isinstance(value, Exact):
            return "double" if re.search("[.eE]", value) else "long"
        if _NUMBER.fullmatch(value):  # a pure number is never taken for a date
            if flag(self.index.root.get("numeric_detection", False)):
                return "long" if re.fullmatch(r"[+-]?\d+", value, re.ASCII) else "double"
        elif flag(self.index.root.get("date_detection", True)) and date_format(value):
            return "date"
        return "string"

    def _extend(self, path: str, kind: str, value: Any = None) -> None:
        """Add what a value of this kind makes of a new field: by the first template that fits, else by OpenSearch's defaults."""
        prefix, dot, name = path.rpartition(".")
        definition: dict = {"type": DEFAULT_TYPES[kind]}
        if kind == "string":
            definition["fields"] = {"keyword": {"type": "keyword", "ignore_above": 256}}
        elif kind == "date" and (formats := date_format(value)) != DEFAULT_FORMAT:
            definition["format"] = formats
        for template in self.index.root.get("dynamic_templates", []):
            [rule] = template.values()
            if template_fits(rule, kind, name, path):
                text = write_json(rule["mapping"]).replace("{name}", json.dumps(name)[1:-1])
                definition = {"type": DEFAULT_TYPES[kind], **json.loads(text.replace("{dynamic_type}", DEFAULT_TYPES[kind]))}
                break
        found: dict[str, dict] = {}
        for each, its in definitions({name: definition}).items():
            found[prefix + dot + each] = its
        for each, its in found.items():
            self.new[each] = merged(each, self.new.get(each), its)

    def _field(self, path: str, definition: dict, value) -> None:
        """Index a value in a field and in the field's further fields."""
        kind = definition["type"]
        item: Any
        try:
            item = typed(definition, value)
        except Malformed as malformed:
            ignore = definition.get("ignore_malformed", self.index.setting("index.mapping.ignore_malformed"))
            if not (malformed.ignorable and flag(ignore)):
                raise unmapped(
                    f"failed to parse field [{path}] of type [{kind}] in document with id '{self.identity}'. "
                    f"Preview of field's value: '{preview(value)}'", cause=(malformed.kind, str(malformed))) from None
            self.ignored.add(path)
            item = None
        if item is not None and kind == "keyword":
            if len(item) > int(definition.get("ignore_above", 2**31 - 1)):
                item = None
            elif len(item.encode(errors="replace")) > TERM_BYTES:
                raise illegal(f'Document contains at least one immense term in field="{path}" (whose UTF8 encoding is longer '
                              f"than the max length {TERM_BYTES}), all of which were skipped.")
        if item is not None:
            self.values.setdefault(path, []).extend(re.findall(r"\w+", item.lower()) if kind == "text" else [item])
        for name, further in definition.get("fields", {}).items():
            self._field(f"{path}.{name}", further, value)


def elements(value) -> Iterator:
    """The values that a member stands for: arrays are transparent, null is nothing."""
    if isinstance(value, list):
        for item in value:
            yield from elements(item)
    elif value is not None:
        yield value


def preview(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={preview(item)}" for name, item in value.items()) + "}"
    return write_json(value) if isinstance(value, list) else plain(value)


def date_format(text: str) -> str | None:
    """The format under which date detection takes the text for a date."""
    for formats in (DEFAULT_FORMAT, SLASH_FORMAT):
        try:
            milliseconds(text, formats)
            return formats
        except Malformed:
            continue
    return None


def template_fits(rule: dict, kind: str, name: str, path: str) -> bool:
    """Whether a dynamic template applies to a new field."""
    def like(pattern: str, text: str) -> bool:
        if rule.get("match_pattern") == "regex":
            return re.fullmatch(pattern, text) is not None
        return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None

    return (rule.get("match_mapping_type", "*") in ("*", kind)
            and all(like(rule[key], text) for key, text in (("match", name), ("path_match", path)) if key in rule)
            and not any(like(rule[key], text) for key, text in (("unmatch", name), ("path_unmatch", path)) if key in rule))


# --- queries ---------------------------------------------------------------------------------------------------------------

Matcher = Callable[[Document], float | None]  # a score, or None for a document that doesn't match


def matcher(query, index: Index) -> Matcher:
    """What a query of the query language does with each document of an index."""
    if not (isinstance(query, dict) and len(query) == 1):
        raise Refused("parsing_exception", "[query] malformed query, expected one query name with an object")
    [(name, given)] = query.items()
    if name not in QUERIES:
        raise Refused("parsing_exception", f"unknown query [{name}]: {UNKNOWN}")
    if not isinstance(given, dict):
        raise Refused("parsing_exception", f"[{name}] query malformed, no start_object after query name")
    return QUERIES[name](given, index)


def one_field(name: str, given: dict) -> tuple[str, Any]:
    """The field and what is said about it."""
    further = {key: value for key, value in given.items() if key != "boost"}
    if len(further) != 1:
        raise Refused("parsing_exception", f"[{name}] query expects exactly one field, but found {sorted(further)}")
    return next(iter(further.items()))


def known_only(name: str, given: dict, known: Iterable[str]) -> None:
    if foreign := sorted(set(given) - set(known)):
        raise Refused("parsing_exception", f"[{name}] does not support [{foreign[0]}]: {UNKNOWN}")


def searched(index: Index, path: str) -> dict | None:
    definition = index.field(path)
    if definition and not flag(definition.get("index", True)):
        raise Refused("query_shard_exception", f"failed to create query: Cannot search on field [{path}] as it is not indexed.")
    return definition


def as_term(definition: dict, path: str, value):
    """A value of a query as the field indexes it; a number that no integer equals is None."""
    try:
        if definition["type"] == "text":
            return plain(value)
        if definition["type"] in INTEGERS:
            number("double", plain(value))
            return decimal(plain(value))
        return typed(definition, value)
    except Malformed as malformed:
        raise Refused("query_shard_exception", f"failed to create query: {malformed}",
                      cause=(malformed.kind, str(malformed))) from None


def match_all(given: dict, index: Index) -> Matcher:
    known_only("match_all", given, ("boost",))
    return lambda document: 1.0


def match_terms(path: str, values: list, index: Index) -> Matcher:
    definition = searched(index, path)
    if definition is None:
        return lambda document: None
    terms = [as_term(definition, path, value) for value in values]
    return lambda document: 1.0 if any(value in terms for value in document.values.get(path, ())) else None


def match_term(given: dict, index: Index) -> Matcher:
    path, value = one_field("term", given)
    if isinstance(value, dict):
        known_only("term", value, ("value", "boost"))
        value = value.get("value")
    if value is None or isinstance(value, list):
        raise illegal(f"[term] query needs one value for [{path}]")
    return match_terms(path, [value], index)


def match_any_term(given: dict, index: Index) -> Matcher:
    path, values = one_field("terms", given)
    if not isinstance(values, list):
        raise Refused("parsing_exception", f"[terms] query needs an array of values for [{path}]")
    return match_terms(path, values, index)


def match_range(given: dict, index: Index) -> Matcher:
    path, bounds = one_field("range", given)
    if not isinstance(bounds, dict):
        raise Refused("parsing_exception", f"[range] query malformed, no start_object after [{path}]")
    known_only("range", bounds, ("gt", "gte", "lt", "lte", "format", "boost"))
    definition = searched(index, path)
    if definition is None:
        return lambda document: None
    compare = {"gt": lambda a, b: a > b, "gte": lambda a, b: a >= b, "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b}
    tests = [(compare[name], range_bound(definition, path, name, bounds)) for name in compare if bounds.get(name) is not None]
    return lambda document: 1.0 if any(
        all(test(value, bound) for test, bound in tests) for value in document.values.get(path, ())) else None


def range_bound(definition: dict, path: str, name: str, bounds: dict):
    """A bound as the field's values are; `now` may have days, hours, minutes or seconds added or taken off."""
    value = bounds[name]
    if definition["type"] != "date":
        bound = as_term(definition, path, value)
        return bound if bound is not None else Decimal("-Infinity" if str(value).startswith("-") else "Infinity")
    text = plain(value)
    if found := re.fullmatch(r"now(?:([+-]\d{1,6})([wdhms]))?", text):
        unit = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}.get(found[2], "days")
        return (datetime.now(UTC) + timedelta(**{unit: int(found[1] or 0)}) - EPOCH) // timedelta(milliseconds=1)
    formats = bounds.get("format", definition.get("format", DEFAULT_FORMAT))
    check_definition(path, {"type": "date", "format": formats})
    try:
        return milliseconds(text, formats, round_up=name in ("gt", "lte"))
    except Malformed as malformed:
        raise Refused("parse_exception", str(malformed)) from None


def match_exists(given: dict, index: Index) -> Matcher:
    known_only("exists", given, ("field", "boost"))
    path = given.get("field")
    if not isinstance(path, str):
        raise illegal("[exists] must be provided with a [field]")
    return lambda document: 1.0 if any(each == path or each.startswith(f"{path}.") for each in document.values) else None


def match_bool(given: dict, index: Index) -> Matcher:
    known_only("bool", given, ("must", "filter", "should", "must_not", "minimum_should_match", "boost"))
    must, filters, should, must_not = (
        [matcher(query, index) for query in as_list(given.get(name, []))] for name in ("must", "filter", "should", "must_not"))
    least = whole(given["minimum_should_match"], "minimum_should_match") if "minimum_should_match" in given else int(
        bool(should) and not must and not filters)

    def match(document: Document) -> float | None:
        scores = [score for query in must if (score := query(document)) is not None]
        if len(scores) < len(must) or any(query(document) is None for query in filters):
            return None
        optional = [score for query in should if (score := query(document)) is not None]
        if len(optional) < least or any(query(document) is not None for query in must_not):
            return None
        return sum([*scores, *optional], 0.0) if must or should or filters else 1.0

    return match


QUERIES: dict[str, Callable[[dict, Index], Matcher]] = {
    "match_all": match_all, "term": match_term, "terms": match_any_term, "range": match_range, "exists": match_exists,
    "bool": match_bool,
}


# --- aggregations ----------------------------------------------------------------------------------------------------------

Row = tuple[Index, Document]
DAY = 86_400_000
FIXED = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY}
CALENDAR = {"1m": "minute", "1h": "hour", "1d": "day", "1w": "week", "1M": "month"}


def aggregate(aggregations: dict, rows: list[Row], indexes: list[Index]) -> dict:
    """The answers of named aggregations over these documents."""
    answers = {}
    for name, given in aggregations.items():
        kinds = [key for key in given if key not in ("aggs", "aggregations", "meta")]
        if len(kinds) != 1 or kinds[0] not in AGGREGATIONS:
            raise Refused("parsing_exception", f"Unknown aggregation type [{', '.join(kinds)}] in [{name}]: {UNKNOWN}")
        [kind] = kinds
        definition = None
        for index in indexes:
            definition = index.column(str(given[kind].get("field"))) or definition
        further = given.get("aggs", given.get("aggregations", {}))
        answers[name] = AGGREGATIONS[kind](
            given[kind], definition, rows, lambda part, more=further: aggregate(more, part, indexes))
        if further and not rows:  # whatever is wrong with them is wrong without documents too
            aggregate(further, [], indexes)
    return answers


def distinct(row: Row, path: str) -> list:
    """The values of the field in one document, each once."""
    return list(dict.fromkeys(row[1].values.get(path, ())))


def groups(path: str, rows: list[Row], key: Callable = lambda value: value) -> dict[Any, list[Row]]:
    """The documents by what they have in the field."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        for value in dict.fromkeys(map(key, distinct(row, path))):
            found.setdefault(value, []).append(row)
    return found


def cardinality(given: dict, definition: dict | None, rows: list[Row], further: Callable) -> dict:
    known_only("cardinality", given, ("field", "precision_threshold"))
    return {"value": len(groups(given["field"], rows))}


def terms(given: dict, definition: dict | None, rows: list[Row], further: Callable) -> dict:
    known_only("terms", given, ("field", "size", "order", "min_doc_count", "missing"))
    found = groups(given["field"], rows)
    if "missing" in given:
        absent = [row for row in rows if not row[1].values.get(given["field"])]
        for row in absent:
            found.setdefault(typed(definition or KEYWORD, given["missing"]), []).append(row)
    least = whole(given.get("min_doc_count", 1), "min_doc_count")
    buckets = [{**bucket_key(definition, value), "doc_count": len(part), **further(part)}
               for value, part in found.items() if len(part) >= least]
    buckets.sort(key=lambda bucket: comparable(bucket["key"]))
    for order in reversed(as_list(given.get("order", {"_count": "desc"}))):
        [(by, direction)] = order.items()
        if buckets and by not in ("_count", "_key") and "value" not in buckets[0].get(by, {}):
            raise Refused("aggregation_execution_exception", f"Invalid aggregation order path [{by}]")
        buckets.sort(key=lambda bucket, by=by: bucket["doc_count"] if by == "_count" else
                     comparable(bucket["key"]) if by == "_key" else bucket[by]["value"], reverse=direction == "desc")
    size = whole(given.get("size", 10), "size")
    return {"doc_count_error_upper_bound": 0, "sum_other_doc_count": sum(each["doc_count"] for each in buckets[size:]),
            "buckets": buckets[:size]}


def comparable(value) -> tuple:
    """A key to sort by where indexes give a field different types."""
    return isinstance(value, str), value


def bucket_key(definition: dict | None, value) -> dict:
    if isinstance(value, bool):
        return {"key": int(value), "key_as_string": plain(value)}
    if definition and definition["type"] == "date":
        return {"key": value, "key_as_string": iso(value)}
    return {"key": value}


def date_histogram(given: dict, definition: dict | None, rows: list[Row], further: Callable) -> dict:
    known_only("date_histogram", given, ("field", "fixed_interval", "calendar_interval", "min_doc_count", "time_zone", "order"))
    if given.get("time_zone", "UTC") not in ("UTC", "Z", "+00:00"):
        raise illegal(f"time_zone [{given['time_zone']}]: {UNKNOWN}")
    if given.get("order", {"_key": "asc"}) != {"_key": "asc"}:
        raise illegal(f"order {write_json(given['order'])}: {UNKNOWN}")
    if definition and definition["type"] != "date":
        raise illegal(f"Field [{given['field']}] of type [{definition['type']}] is not supported for aggregation "
                      "[date_histogram]")
    start, following = interval(given)
    found = groups(given["field"], rows, start)
    least = whole(given.get("min_doc_count", 0), "min_doc_count")
    keys = sorted(found)
    if not least and found:
        keys, last = keys[:1], keys[-1]
        while keys[-1] < last:
            keys.append(following(keys[-1]))
            if len(keys) > BUCKETS:
                raise Refused("too_many_buckets_exception", f"Trying to create too many buckets. Must be less than or equal to: "
                                                            f"[{BUCKETS}] but was [{len(keys)}].", more={"max_buckets": BUCKETS})
    parts = ((key, found.get(key, [])) for key in keys)
    return {"buckets": [{"key_as_string": iso(key), "key": key, "doc_count": len(part), **further(part)}
                        for key, part in parts if len(part) >= least]}


def interval(given: dict) -> tuple[Callable[[int], int], Callable[[int], int]]:
    """Where the interval around a moment begins, and where the one after that."""
    if ("fixed_interval" in given) == ("calendar_interval" in given):
        raise illegal("Invalid interval specified, must be non-null: either fixed_interval or calendar_interval")
    if "fixed_interval" in given:
        found = re.fullmatch(r"(\d{1,9})(ms|s|m|h|d)", str(given["fixed_interval"]))
        if not found or int(found[1]) == 0:
            raise illegal(f"failed to parse setting [date_histogram.fixedInterval] with value [{given['fixed_interval']}]")
        width, shift = int(found[1]) * FIXED[found[2]], 0
    else:
        unit = CALENDAR.get(given["calendar_interval"], given["calendar_interval"])
        if unit == "month":
            return month, lambda moment: month(moment + 31 * DAY)
        widths = {"minute": 60_000, "hour": 3_600_000, "day": DAY, "week": 7 * DAY}
        if unit not in widths:
            raise illegal(f"The supplied interval [{given['calendar_interval']}] could not be parsed as a calendar interval: "
                          f"{UNKNOWN}")
        width, shift = widths[unit], 3 * DAY if unit == "week" else 0  # weeks begin on Monday, and 1970 on a Thursday
    return lambda moment: (moment + shift) // width * width - shift, lambda moment: moment + width


def month(moment: int) -> int:
    """The first moment of the month."""
    try:
        first = (EPOCH + timedelta(milliseconds=moment)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    except OverflowError:
        raise illegal(f"the date [{moment}] is too far away for a calendar: {UNKNOWN}") from None
    return (first - EPOCH) // timedelta(milliseconds=1)


AGGREGATIONS = {"date_histogram": date_histogram, "terms": terms, "cardinality": cardinality}


# --- what a search gives back ----------------------------------------------------------------------------------------------

Hit = tuple[Index, Document, float]


def sorted_hits(hits: list[Hit], given, indexes: list[Index]) -> tuple[list[Hit], Callable[[Hit], list] | None]:
    """The hits in their order, and what tells a hit's sort values if an order was asked for."""
    if not given:
        return sorted(hits, key=lambda hit: -hit[2]), None
    clauses = [clause(each) for each in as_list(given)]
    for path, descending, last, unmapped_type in reversed(clauses):
        if path in ("_score", "_doc"):
            hits = sorted(hits, key=lambda hit: hit[2], reverse=descending) if path == "_score" else hits
            continue
        for index in indexes:
            if index.column(path) is None and unmapped_type is None:
                raise Refused("query_shard_exception", f"No mapping found for [{path}] in order to sort on",
                              more={"index": index.name})
        present = [hit for hit in hits if hit[1].values.get(path)]
        absent = [hit for hit in hits if not hit[1].values.get(path)]
        choose = max if descending else min

        def key(hit: Hit, path=path, choose=choose):
            return comparable(choose(hit[1].values[path]))

        present.sort(key=key, reverse=descending)
        hits = present + absent if last else absent + present
    return hits, lambda hit: [sort_value(hit, *each) for each in clauses]


def clause(given) -> tuple[str, bool, bool, str | None]:
    """One clause of `sort`: the field, whether descending, whether documents without it come last, the type if unmapped."""
    path, options = (given, {}) if isinstance(given, str) else one_field("sort", given)
    if not isinstance(options, dict):
        options = {"order": options}
    known_only("sort", options, ("order", "missing", "unmapped_type"))
    order, missing = options.get("order", "desc" if path == "_score" else "asc"), options.get("missing", "_last")
    if order not in ("asc", "desc") or missing not in ("_last", "_first"):
        raise illegal(f"sort order [{order}], missing [{missing}]: {UNKNOWN}")
    return path, order == "desc", missing == "_last", options.get("unmapped_type")


def sort_value(hit: Hit, path: str, descending: bool, last: bool, unmapped_type: str | None):
    index, document, score = hit
    if path in ("_score", "_doc"):
        return score if path == "_score" else index.documents.index(document)
    if values := document.values.get(path):
        value = (max if descending else min)(values)
        return int(value) if isinstance(value, bool) else value
    kind = (index.field(path) or {"type": unmapped_type})["type"]
    if kind == "keyword":
        return None
    greatest = descending != last
    if kind in FLOATS:
        return "Infinity" if greatest else "-Infinity"
    return 2**63 - 1 if greatest else -(2**63)


def source_filter(given) -> Callable[[str], Exact | None]:
    """What `_source` asks for: None for nothing, the text as it was, or the parts that were named."""
    if isinstance(given, bool):
        return lambda source: Exact(source) if given else None
    if isinstance(given, dict):
        known_only("_source", given, ("includes", "excludes", "include", "exclude"))
        includes = as_list(given.get("includes", given.get("include", [])))
        excludes = as_list(given.get("excludes", given.get("exclude", [])))
    else:
        includes, excludes = as_list(given), []

    def covers(pattern: str, path: str) -> bool:  # the field itself or an object around it
        return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"{pattern}.*")

    def kept(value, path: str):
        if isinstance(value, dict):
            parts = {name: part for name, item in value.items()
                     if (part := kept(item, f"{path}.{name}" if path else name)) is not None}
            return parts if parts or (path and not value and wanted_path(path)) or not path else None
        if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
            return [part for item in value if (part := kept(item, path)) is not None] or None
        return Exact(write_json(value)) if wanted_path(path) else None

    def wanted_path(path: str) -> bool:
        return (not includes or any(covers(pattern, path) for pattern in includes)) and not any(
            covers(pattern, path) for pattern in excludes)

    return lambda source: Exact(write_json(kept(read_json(source), "")))


# --- the engine ------------------------------------------------------------------------------------------------------------

COMMON_PARAMETERS = {"pretty", "human", "error_trace", "timeout", "cluster_manager_timeout", "master_timeout"}
SEARCH_PARAMETERS = COMMON_PARAMETERS | {
    "size", "from", "sort", "_source", "_source_includes", "_source_excludes", "track_total_hits", "ignore_unavailable",
    "allow_no_indices", "expand_wildcards"}
SEARCH_KEYS = {"query", "sort", "from", "size", "_source", "aggs", "aggregations", "track_total_hits", "timeout"}
METHODS = {"_mapping": "GET, PUT", "_mappings": "GET, PUT", "_doc": "POST", "_bulk": "POST, PUT", "_search": "GET, POST",
           "_count": "GET, POST"}


class Engine:
    """All indexes of one collection. Requests are served one after the other."""

    def __init__(self):
        self._indexes: dict[str, Index] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def handle(self, method: str, path: str, query: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The answer to a request: status, headers, body. `path` and `query` as they stand in the URL."""
        try:
            with self._lock:
                status, answer = self._answer(method, path, query, body)
        except Refused as refused:
            status, answer = refused.status, refused.answer()
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:  # a list where an object belongs, say
            status, answer = 400, Refused("parsing_exception", f"malformed request: {error!r}: {UNKNOWN}").answer()
        text = "" if method == "HEAD" else write_json(answer)
        return status, {"Content-Type": "application/json; charset=UTF-8"}, text.encode(errors="replace")

    def has(self, name: str) -> bool:
        """Whether the index exists."""
        return name in self._indexes

    def _answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, Any]:
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match method, parts:
            case "GET", ["_cat", "indices"]:
                return 200, self._listing()
            case "GET" | "HEAD", [names] if not names.startswith("_"):
                return 200, {index.name: described(index) for index in self._named(names)}
            case "PUT", [name] if not name.startswith("_"):
                allow(path, parameters, COMMON_PARAMETERS)
                return 200, self._create(name, body_of(body))
            case "DELETE", [names] if not names.startswith("_"):
                for index in self._named(names):
                    del self._indexes[index.name]
                return 200, {"acknowledged": True}
            case "GET", [names, "_mapping" | "_mappings"]:
                return 200, {index.name: {"mappings": index.mapping()} for index in self._named(names)}
            case "PUT" | "POST", [names, "_mapping" | "_mappings"]:
                allow(path, parameters, COMMON_PARAMETERS)
                for index in self._named(names):
                    index.put_mapping(body_of(body))
                return 200, {"acknowledged": True}
            case "POST", [name, "_doc"]:
                allow(path, parameters, COMMON_PARAMETERS | {"refresh"})
                return 201, self._store(name, text_of(body))
            case "POST" | "PUT", ["_bulk"] | [_, "_bulk"]:
                allow(path, parameters, COMMON_PARAMETERS | {"refresh"})
                return 200, self._bulk(parts[0] if len(parts) == 2 else None, body)
            case "POST" | "GET", ["_search"] | [_, "_search"]:
                allow(path, parameters, SEARCH_PARAMETERS)
                return 200, self._search(parts[0] if len(parts) == 2 else "*", search_request(parameters, body))
            case "POST" | "GET", ["_count"] | [_, "_count"]:
                allow(path, parameters, SEARCH_PARAMETERS)
                return 200, self._count(parts[0] if len(parts) == 2 else "*", body_of(body))
        if parts[-1] in METHODS or (len(parts) == 1 and not parts[0].startswith("_")):
            allowed = METHODS.get(parts[-1], "GET, HEAD, PUT, DELETE")
            raise Refused("illegal_argument_exception", f"Incorrect HTTP method for uri [{path}] and method [{method}], allowed: "
                                                        f"[{allowed}]: {UNKNOWN}", 405)
        raise illegal(f"no handler found for uri [{path}] and method [{method}]: {UNKNOWN}")

    def _named(self, names: str) -> list[Index]:
        """The indexes of a list of names and wildcards; a plain name must exist."""
        found: dict[str, Index] = {}
        for name in names.split(","):
            pattern = "*" if name == "_all" else name
            matching = [each for each in self._indexes if fnmatch.fnmatchcase(each, pattern)]
            if not matching and "*" not in pattern:
                raise Refused("index_not_found_exception", f"no such index [{name}]", 404, more={
                    "index": name, "resource.id": name, "resource.type": "index_or_alias", "index_uuid": "_na_"})
            found |= {each: self._indexes[each] for each in matching}
        return list(found.values())

    def _create(self, name: str, given: dict) -> dict:
        if complaint := bad_name(name):
            raise Refused("invalid_index_name_exception", f"Invalid index name [{name}], {complaint}", more={"index": name})
        if name in self._indexes:
            raise Refused("resource_already_exists_exception", f"index [{name}] already exists", more={"index": name})
        if foreign := sorted(set(given) - {"settings", "mappings"} - {key for key in ("aliases",) if not given.get(key)}):
            raise Refused("parse_exception", f"unknown key [{foreign[0]}] for create index: {UNKNOWN}")
        self._indexes[name] = Index(name, given.get("settings", {}), given.get("mappings", {}))
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def _store(self, name: str, source: str) -> dict:
        if name not in self._indexes:
            self._create(name, {})
        identity = f"{next(self._numbers):020}"
        index = self._indexes[name]
        index.store(identity, source)
        return {"_index": name, "_id": identity, "_version": 1, "result": "created",
                "_shards": {"total": 1, "successful": 1, "failed": 0}, "_seq_no": len(index.documents) - 1, "_primary_term": 1}

    def _bulk(self, default: str | None, body: bytes) -> dict:
        items = []
        for action, name, identity, source in list(bulk_actions(default, text_of(body))):  # all lines or none
            try:
                if identity is not None:
                    raise illegal("Document ID is not supported in create/index operation request")
                item = {**self._store(name, source), "status": 201}
            except Refused as refused:
                item = {"_index": name, "_id": identity, "status": refused.status, "error": refused.error}
            items.append({action: item})
        return {"took": 1, "errors": any("error" in item for each in items for item in each.values()), "items": items}

    def _search(self, names: str, request: dict) -> dict:
        if foreign := sorted(set(request) - SEARCH_KEYS):
            raise Refused("parsing_exception", f"Unknown key for a value in [{foreign[0]}]: {UNKNOWN}")
        indexes = self._named(names)
        hits = matching(indexes, request.get("query", {"match_all": {}}))
        start, size = whole(request.get("from", 0), "from"), whole(request.get("size", 10), "size")
        if start + size > RESULT_WINDOW:
            raise illegal(f"Result window is too large, from + size must be less than or equal to: [{RESULT_WINDOW}] but was "
                          f"[{start + size}].")
        ordered, sort_values = sorted_hits(hits, request.get("sort"), indexes)
        source = source_filter(request.get("_source", True))
        shown = [{
            "_index": hit[0].name, "_id": hit[1].id, "_score": None if sort_values else hit[2],
            **({"_ignored": hit[1].ignored} if hit[1].ignored else {}),
            **({"_source": text} if (text := source(hit[1].source)) is not None else {}),
            **({"sort": sort_values(hit)} if sort_values else {}),
        } for hit in ordered[start:start + size]]
        highest = max((hit[2] for hit in hits), default=None)
        answer = {"took": 1, "timed_out": False, "_shards": shards(indexes), "hits": {
            **total(len(hits), request.get("track_total_hits", RESULT_WINDOW)),
            "max_score": None if sort_values or not size else highest, "hits": shown}}
        if aggregations := request.get("aggs", request.get("aggregations")):
            answer["aggregations"] = aggregate(aggregations, [(index, document) for index, document, _ in hits], indexes)
        return answer

    def _count(self, names: str, request: dict) -> dict:
        known_only("count", request, ("query",))
        indexes = self._named(names)
        return {"count": len(matching(indexes, request.get("query", {"match_all": {}}))), "_shards": shards(indexes)}

    def _listing(self) -> list[dict]:
        return [{"health": "green", "status": "open", "index": index.name, "docs.count": str(len(index.documents)),
                 "docs.deleted": "0"} for index in self._indexes.values()]


def matching(indexes: list[Index], query) -> list[Hit]:
    """The documents that match; the query is checked even where there are none."""
    matcher(query, Index("", {}, {}))
    matchers = [(index, matcher(query, index)) for index in indexes]
    return [(index, document, score) for index, match in matchers for document in index.documents
            if (score := match(document)) is not None]


def described(index: Index) -> dict:
    """An index as GET shows it."""
    settings: dict = {}
    for name, value in index.settings.items():
        *outer, last = name.split(".")
        node = settings
        for each in outer:
            node = node.setdefault(each, {})
        node[last] = plain(value)
    return {"aliases": {}, "mappings": index.mapping(), "settings": settings}


def shards(indexes: list[Index]) -> dict:
    return {"total": len(indexes), "successful": len(indexes), "skipped": 0, "failed": 0}


def total(count: int, track) -> dict:
    """`hits.total`, exact up to a bound."""
    if track is False or track == "false":
        return {}
    bound = count if track in (True, "true") else whole(track, "track_total_hits")
    return {"total": {"value": min(count, bound), "relation": "gte" if count > bound else "eq"}}


def allow(path: str, parameters: dict[str, str], known: set[str]) -> None:
    """Refuse parameters of the URL that OpenSearch, its serverless kind, or this engine doesn't know."""
    if foreign := sorted(set(parameters) - known):
        raise illegal(f"request [{path}] contains unrecognized parameter: [{foreign[0]}] ({UNKNOWN})")
    if parameters.get("refresh", "false") != "false":
        raise illegal(f"{parameters['refresh'] or 'true'} refresh policy is not supported.")


def text_of(body: bytes) -> str:
    """The text of a document or a bulk request."""
    if not body.strip():
        raise Refused("parse_exception", "request body is required")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise unparsable(f"Invalid UTF-8: {error}") from None


def search_request(parameters: dict[str, str], body: bytes) -> dict:
    """A search's body, with what the URL says on top."""
    request = {**body_of(body), **{key: parameters[key] for key in ("size", "from", "track_total_hits") if key in parameters}}
    if "sort" in parameters:
        pairs = (each.partition(":") for each in parameters["sort"].split(","))
        request["sort"] = [{path: order or "asc"} for path, _, order in pairs]
    if "_source" in parameters:
        shown = parameters["_source"]
        request["_source"] = shown == "true" if shown in ("true", "false") else shown.split(",")
    for parameter, key in (("_source_includes", "includes"), ("_source_excludes", "excludes")):
        if parameter in parameters:
            request["_source"] = {**request.get("_source", {}), key: parameters[parameter].split(",")}
    return request


def bad_name(name: str) -> str | None:
    """Why OpenSearch takes no index of this name."""
    if name != name.lower():
        return "must be lowercase"
    if not name or name in (".", ".."):
        return "must not be '.' or '..'"
    if name[0] in "-_+":
        return "must not start with '_', '-', or '+'"
    if set(name) & set('\\/*?"<>| ,#:'):
        return 'must not contain the following characters [ , ", *, \\, <, |, ,, >, /, ?, #, :]'
    return "index name is too long" if len(name.encode()) > 255 else None


def bulk_actions(default: str | None, text: str) -> Iterator[tuple[str, str, str | None, str]]:
    """Each action of a bulk request: its name, its index, the id that the caller chose, the document's text."""
    if not text.endswith("\n"):
        raise illegal("The bulk request must be terminated by a newline [\\n]")
    lines = iter(enumerate(text.split("\n"), start=1))
    for line_number, line in lines:
        if not line.strip():
            continue
        try:
            [(action, meta)] = read_json(line).items()
        except (ValueError, AttributeError):
            raise illegal(f"Malformed action/metadata line [{line_number}], expected an object with one action") from None
        if action not in ("index", "create") or not isinstance(meta, dict) or set(meta) - {"_index", "_id"}:
            raise illegal(f"Malformed action/metadata line [{line_number}], [{action}] with {write_json(meta)}: {UNKNOWN}")
        name = meta.get("_index", default)
        if name is None:
            raise Refused("action_request_validation_exception", "Validation Failed: 1: index is missing;")
        yield action, name, meta.get("_id"), next(lines, (0, ""))[1]


def wanted(method: str, path: str, body: bytes) -> set[tuple[str, str]]:
    """What a request does to which index, in the words of data access policies: `("WriteDocument", "logs")`. Names of several
    indexes stay as they are, wildcards too: who searches `*` must be allowed to read all.
    """
    parts = [unquote(part) for part in path.strip("/").split("/")]
    last = parts[-1]
    names = parts[0].split(",") if not parts[0].startswith("_") else ["*"]
    if last == "_bulk":
        try:
            default = parts[0] if len(parts) == 2 else None
            return {("WriteDocument", name) for _, name, *_ in bulk_actions(default, text_of(body))}
        except Refused:  # nothing of it will be done
            return {("WriteDocument", name) for name in names}
    if last in ("_search", "_count"):
        action = "ReadDocument"
    elif last == "_doc":
        action = "WriteDocument"
    elif last in ("_mapping", "_mappings"):
        action = "DescribeIndex" if method in ("GET", "HEAD") else "UpdateIndex"
    elif parts == ["_cat", "indices"] or (len(parts) == 1 and method in ("GET", "HEAD")):
        action = "DescribeIndex"
    elif len(parts) == 1 and method in ("PUT", "DELETE"):
        action = "CreateIndex" if method == "PUT" else "DeleteIndex"
    else:
        action = "ReadDocument" if method in ("GET", "HEAD") else "WriteDocument"
    return {(action, name) for name in names}
