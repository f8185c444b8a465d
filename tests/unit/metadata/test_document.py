"""From a fetched metadata.json to the text of its document (M3b)."""

import hashlib
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lambdas.metadata import document
from lambdas.metadata.document import MAX_DEPTH, MAX_FIELDS, InvalidMetadata, Number, parse, write

TIME = "2026-01-31T23:59:59Z"
KEY = "releases/1.0/metadata.json"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:metadata:e"


def payload(body="{}", **other):
    """As the state machine sends it, for an object uploaded in one piece."""
    raw = body.encode() if isinstance(body, str) else body
    return {
        "body": raw.decode(errors="replace"),  # as Step Functions does
        "content_length": len(raw),
        "etag": f'"{hashlib.md5(raw).hexdigest()}"',
        "timestamp": TIME,
        "object": {"bucket": "release", "key": KEY, "version_id": "v1"},
        "execution_id": EXECUTION,
        **other,
    }


def refusal(body):
    """The message that parse refuses a text with."""
    with pytest.raises(InvalidMetadata) as caught:
        parse(body)
    return str(caught.value)


def refusal_of(payload):
    """The message that a payload is refused with."""
    with pytest.raises(InvalidMetadata) as caught:
        document.from_payload(payload)
    return str(caught.value)


def searchable(body):
    return json.loads(document.from_payload(payload(body)).searchable())


# --- numbers and text stay what they are -----------------------------------------------------------------------------

EXACT = [
    "9007199254740993", "123456789012345678901234567890", "0.1000000000000000055511151231257827", "1E400", "-1e-400", "-0.0",
    "-0", "0", "1.0", "1", "1e+05", "1E5", "9" * 5_000, "0." + "1" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("literal", EXACT, ids=lambda literal: literal[:40])
def test_numbers_keep_their_digits(literal):
    """M3b: whatever a float or an int would make of it."""
    body = f'{{"a":[{literal},{{"b":{literal}}}],"c":{literal}}}'
    assert write(parse(body)) == body
    assert body[1:-1] in document.from_payload(payload(body)).searchable()
    assert body in document.from_payload(payload(body)).unindexed("why")


def test_numbers_and_texts_that_look_like_them_stay_apart():
    """M3b."""
    body = '{"a":1,"b":"1","c":1.0,"d":true,"e":null,"f":"null"}'
    assert write(parse(body)) == body


SPACE = st.sampled_from(["", " ", "\n", "\t", "\r\n", "  "])
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,5})?", fullmatch=True).map(Number)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    NUMBERS | TEXTS | st.booleans() | st.none(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXTS, values, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=6)


@st.composite
def by_hand(draw, value):
    """A text of the value as somebody might have written it, independent of the code under test."""
    space = draw(SPACE)
    if isinstance(value, Number):
        text = str.__str__(value)
    elif isinstance(value, dict):
        members = [f"{draw(by_hand(key))}:{draw(by_hand(item))}" for key, item in value.items()]
        text = "{" + space + ",".join(members) + "}"
    elif isinstance(value, list):
        text = "[" + space + ",".join(draw(by_hand(item)) for item in value) + "]"
    else:
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return space + text + space


def types(value):
    """The value with its types, since Number("1") == "1"."""
    if isinstance(value, dict):
        return {key: types(item) for key, item in value.items()}
    return [types(item) for item in value] if isinstance(value, list) else (type(value), value)


@given(st.data(), OBJECTS)
def test_any_object_survives(data, value):
    """M3b: equal values and identical numbers, however it was written."""
    parsed = parse(data.draw(by_hand(value)))
    assert types(parsed) == types(value)
    assert types(parse(write(parsed))) == types(value)


@pytest.mark.parametrize("key", ['"quoted"', "line\nend", "😀", "Ü\u2028\x7f", "\x00", "back\\slash", "", "a.b"])
def test_odd_keys_and_texts(key):
    """M3b: not ASCII, quotes, line ends, emoji, in keys and values, escaped or not."""
    for ascii_only in (True, False):
        assert searchable(json.dumps({key: [key]}, ensure_ascii=ascii_only))[key] == [key]


# --- what is refused -------------------------------------------------------------------------------------------------


def strict(body):
    """What another strict reading of the text gives: None if it is no object of RFC 8259 within the limits."""

    def constant(name):
        raise ValueError(name)

    def members(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    try:
        value = json.loads(body, parse_constant=constant, object_pairs_hook=members, parse_int=Number, parse_float=Number)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


PIECES = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", '"a"', '"b"', ":", ",", '"a":', '"\\u0061":', "1", "-", "0", ".5", "e5", "true", "null", "NaN",
         "Infinity", "-Infinity", '"NaN"', '"', "\\", "\\u", "d83d", "\\ude00", '"\\ud83d"', '"\\ud83d\\ude00"', '"\\\\ud83d"',
         " ", "\n", "\u00a0", "\ufeff", "\x00", "'", "//", "/*", "é", "\ud800"]
    ),
    max_size=14,
).map("".join)  # fmt: skip
ALMOST = st.builds(
    lambda body, start, length, piece: body[: start % (len(body) + 1)] + piece + body[start % (len(body) + 1) + length :],
    OBJECTS.flatmap(by_hand), st.integers(0, 10_000), st.integers(0, 3), PIECES | st.text(max_size=2),
)  # fmt: skip


@settings(max_examples=500)
@given(PIECES | PIECES.map(lambda body: "{" + body + "}") | PIECES.map('{{"a":{}}}'.format) | ALMOST)
@example('{"a":1,"\\u0061":2}')
@example('{"a":"\\ud83d\\ud83d\\ude00"}')
@example('{"a":"\\\\ud83d"}')
@example('{"a":"\\\\\\ud83d"}')
@example('{"NaN":"NaN \\" Infinity"}')
@example('{"a":{"k":1},"b":{"k":1},"c":[{"k":1},{"k":1}]}')
@example('{"a":"{","a\\"":"[[["}')
def test_accepts_exactly_what_is_strict_json(body):
    """M3b: the same verdict, and the same value, as an independent strict reading."""
    expected = strict(body)
    if expected is None:
        refusal(body)
    else:
        assert types(parse(body)) == types(expected)


REFUSED = {
    "": "empty",
    " \n\t": "empty",
    "\ufeff{}": "byte-order mark",
    "{}{}": "follows after the end of the JSON value (line 1, column 3)",
    '{"a":1}\n\nx': "follows after the end of the JSON value (line 3, column 1)",
    "{": "cut off",
    '{"a": [1,\n': "cut off? (line 2, column 1)",
    '{"a": "b': "cut off? (line 1, column 9)",
    '{"a":NaN}': "NaN is no JSON number (line 1, column 6)",
    '{"a":[Infinity]}': "Infinity is no JSON number (line 1, column 7)",
    '{\n"a": -Infinity}': "-Infinity is no JSON number (line 2, column 6)",
    '{"a":1,\n "a":2}': 'the key "a" stands twice in one object (line 2, column 2)',
    '{"a":{"b":1,"\\u0062":2}}': 'the key "b" stands twice in one object (line 1, column 13)',
    '{"a":"\\ud800"}': "half a surrogate pair, which is no character (line 1, column 6)",
    '{"\\udfffx":1}': "half a surrogate pair, which is no character (line 1, column 2)",
    '{"a":"\ud800"}': "half a surrogate pair, which is no character (line 1, column 6)",
    "[{}]": "holds an array",
    "{\0\"\0a\0": "a NUL character: is it UTF-16, or no text at all? (line 1, column 2)",
    "5": "holds a number",
    '"{}"': "holds a text",
    "null": "holds null",
    "false": "holds true or false",
    '{"a":"\n"}': "Invalid control character (line 1, column 7)",
    '{"a":"\t"}': "Invalid control character (line 1, column 7)",
    "{'a':1}": "not JSON: Expecting property name enclosed in double quotes (line 1, column 2)",
    "{a:1}": "(line 1, column 2)",
    '{"a":1} // note': "something follows",
    '{/* note */"a":1}': "(line 1, column 2)",
    '{"a":1,}': "not JSON",
    '{"a":[1,]}': "not JSON",
    '{"a":01}': "not JSON",
    '{"a":+1}': "not JSON",
    '{"a":.5}': "not JSON",
    '{"a":1.}': "not JSON",
    '{"a":0x1F}': "not JSON",
    '{"a":١}': "not JSON",
    '{"a":True}': "not JSON",
    '{"a":"\\x41"}': "not JSON",
    '{"a" 1}': "not JSON",
    '\u00a0{"a":1}': "not JSON",
    '{"a":1}\u00a0': "something follows",
    "<metadata/>": "not JSON",
}


@pytest.mark.parametrize("body", REFUSED, ids=[ascii(body) for body in REFUSED])
def test_refused(body):
    """M3b, M6: no file is half understood, and the message says what is wrong, where, and what to do."""
    message = refusal(body)
    assert REFUSED[body] in message
    assert "upload it again" in message
    assert "\n" not in message and message.isprintable()


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 10_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ("[", "")])
def test_deep_nesting(levels, opening, closing):
    """M6: one message, however deep, and no RecursionError."""
    body = '{"top":\n' + opening * levels + "1" + closing * levels + "}"
    column = MAX_DEPTH * len(opening) - len(opening) + 1
    assert f"nested deeper than 100 levels (line 2, column {column})" in refusal(body)


def test_deepest_nesting():
    """M3b: the limit itself is taken, and written again; brackets in texts do not count."""
    body = '{"a":' * MAX_DEPTH + '"' + "[" * 200 + '"' + "}" * MAX_DEPTH
    assert write(parse(body)) == body


def test_hostile_keys_in_messages():
    """M6: a key cannot forge lines of the message, nor fill it."""
    key = json.dumps("\n\u202e" + "x" * 10_000)
    message = refusal(f"{{{key}:1,{key}:2}}")
    assert "\\n\\u202exxx" in message and len(message) < 300


def test_time_stays_linear():
    """M6: a text of a megabyte that never ends is refused at once."""
    assert "cut off" in refusal('{"a":"' + '\\"' * 500_000)
    assert "not JSON" in refusal("{" + '"a" ' * 250_000)


# --- the bytes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [b'{"a":"\xff"}', b'{"a":"\xe2\x82"}', '{"a":1}'.encode("utf-16"), b'{"a":"\xed\xa0\x80"}'])
def test_bytes_that_are_not_utf8(raw):
    """M3b: nothing that was replaced on the way is stored as if it stood in the file."""
    assert "bytes that are not UTF-8" in refusal_of(payload(raw))


def test_the_replacement_character_itself():
    """M3b: taken if the ETag proves that it stands in the file; its escape needs no proof."""
    body = '{"a":"\ufffd"}'
    assert searchable(body)["a"] == "\ufffd"
    assert searchable('{"a":"\\ufffd"}')["a"] == "\ufffd"
    assert "line 1, column 7" in refusal_of(payload(body, etag='"d41d8cd98f00b204e9800998ecf8427e-2"'))


def test_replaced_bytes_of_the_same_length():
    """M3b: three bytes became one U+FFFD of three bytes; only the ETag can tell."""
    raw = b'{"a":"\xf0\x9f\x98"}'
    assert len(raw.decode(errors="replace").encode()) == len(raw)
    assert "not UTF-8" in refusal_of(payload(raw))


@pytest.mark.parametrize("etag", [None, '"0-2"'])
def test_byte_order_mark(etag):
    """M3b: refused, whether it reaches the function or got lost on the way, uploaded in one piece or in parts."""
    raw = b'\xef\xbb\xbf{"a":1}'
    given = payload(raw) | ({"etag": etag} if etag else {})
    assert "byte-order mark" in refusal_of(given)
    assert "byte-order mark" in refusal_of(given | {"body": '{"a":1}'})


@pytest.mark.parametrize("length", [0, 6, 8, 10])
def test_length_differs(length):
    """M3b: the message tells both lengths."""
    assert f"{length} bytes in S3 but its text has 7" in refusal_of(payload('{"a":1}', content_length=length))


def test_lone_surrogates_of_a_payload():
    """M6: what no UTF-8 can be made of is refused like any other fault, not by an exception of Python's."""
    body = '{"a":"\ud800"}'
    assert "half a surrogate pair" in refusal_of(payload(b"") | {"body": body, "content_length": len(body) + 2})


# --- the stamp -------------------------------------------------------------------------------------------------------


def test_document():
    """M3b: the stamp, then the content; nothing else."""
    text = document.from_payload(payload('{"name": "ß", "size": 1.50}')).searchable()
    ingest = {
        "id": hashlib.sha256(f"release\n{KEY}\nv1".encode()).hexdigest(),
        "bucket": "release", "key": KEY, "version_id": "v1", "execution_id": EXECUTION,
    }  # fmt: skip
    assert json.loads(text) == {"@timestamp": TIME, "ingest": ingest, "name": "ß", "size": 1.5}
    assert list(json.loads(text)) == ["@timestamp", "ingest", "name", "size"]
    assert text.endswith('"name":"ß","size":1.50}')


def test_unindexed_document():
    """M5b: the content untouched, own fields too, out of reach of the index's mapping."""
    body = '{"@timestamp":"mine","ingest":{"id":"mine"},"a":1.0}'
    found = document.from_payload(payload(body))
    text = found.unindexed("why")
    assert json.loads(text)["ingest"] == found.ingest | {"unindexed_reason": "why"}
    assert text.endswith(f'"unindexed":{body}}}') and json.loads(text)["@timestamp"] == TIME
    assert "unindexed_reason" not in found.ingest


@pytest.mark.parametrize(
    ("own", "kept_as"),
    [
        ("@timestamp ingest a", "original_timestamp original_ingest a"),
        ("ingest original_ingest", "original_original_ingest original_ingest"),
        ("original_ingest ingest", "original_ingest original_original_ingest"),
        ("original_timestamp original_original_timestamp @timestamp",
         "original_timestamp original_original_timestamp original_original_original_timestamp"),
        ("ingest.id ingest @timestamp.x", "original_ingest.id original_ingest original_timestamp.x"),
        ("ingested Ingest @Timestamp ingest_id", "ingested Ingest @Timestamp ingest_id"),
    ],
)  # fmt: skip
def test_own_fields_of_the_stamp_are_kept(own, kept_as):
    """M3b: renamed as often as it takes, so that nothing is lost or overwritten, nor read as part of the stamp."""
    own, kept_as = own.split(), kept_as.split()
    found = searchable(json.dumps({name: number for number, name in enumerate(own)}))
    assert {name: value for name, value in found.items() if name not in ("@timestamp", "ingest")} == {
        name: number for number, name in enumerate(kept_as)
    }
    assert found["@timestamp"] == TIME and found["ingest"]["bucket"] == "release"


NAMES = st.sampled_from(
    ["@timestamp", "ingest", "original_timestamp", "original_ingest", "original_original_ingest", "ingest.id", "timestamp"]
)


@given(st.lists(NAMES, unique=True))
def test_no_field_is_lost(names):
    """M3b: as many values as before, in the same order."""
    content = {name: Number(number) for number, name in enumerate(names)}
    found = json.loads(document.Document(TIME, {}, content).searchable())
    assert [value for name, value in found.items() if name not in ("@timestamp", "ingest")] == list(range(len(names)))


@pytest.mark.parametrize("time", [TIME, "2026-01-31T23:59:59.123Z", "2024-02-29T00:00:00.123456789Z"])
def test_timestamps(time):
    """M3b: the event's time, as it came."""
    assert json.loads(document.from_payload(payload(timestamp=time)).searchable())["@timestamp"] == time


@pytest.mark.parametrize(
    "time",
    ["", "2026-01-31", "2026-01-31T23:59Z", "2026-01-31T23:59:59", "2026-01-31T23:59:59+00:00", "2026-02-30T00:00:00Z",
     "2026-01-31T24:00:00Z", "2026-01-31 23:59:59Z", "2026-01-31T23:59:59.Z", TIME + "\n", "٢٠٢٦-01-31T23:59:59Z",
     None, 5, {}, []],
)  # fmt: skip
def test_bad_timestamps(time):
    """M3b."""
    assert "the event's time is" in refusal_of(payload(timestamp=time))


def test_ingest_ids_differ():
    """M3b: keys may hold line ends, and still no two uploads share an id."""
    origins = [("b", "k\nx", "v"), ("b", "k", "x"), ("b", "k", "v"), ("c", "k", "v"), ("b", "v\nk", "v")]
    assert len({document.ingest_id(*origin) for origin in origins}) == len(origins)


# --- fields ----------------------------------------------------------------------------------------------------------


def fields(number, key="field-{}".format):
    return {key(index): index for index in range(number)}


@pytest.mark.parametrize(
    ("content", "too_many"),
    [
        (fields(900), False),
        (fields(MAX_FIELDS), False),
        (fields(MAX_FIELDS + 1), True),
        ({"a": fields(MAX_FIELDS - 1)}, False),
        ({"a": fields(MAX_FIELDS)}, True),
        ({"a": [{f"b{index}": 1} for index in range(MAX_FIELDS)]}, True),
        ({"a": [[{"b": 1}]] * 5_000}, False),
        ({"a": list(range(5_000))}, False),
        (fields(MAX_FIELDS - 1, "a.{}".format), False),
        (fields(MAX_FIELDS, "a.{}".format), True),
        ({"a": fields(600), **fields(600, "a.field-{}".format)}, False),
        ({".".join(["a"] * 50_000): 1}, True),
    ],
    ids=range(12),
)
def test_fields_are_counted(content, too_many):
    """M5b: objects are fields, elements of arrays share theirs, dots part names."""
    assert document.from_payload(payload(json.dumps(content))).has_too_many_fields() == too_many
