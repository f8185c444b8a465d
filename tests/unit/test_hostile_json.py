"""Hostile JSON (M3b, M6, R3a, C13): metadata.json and records of the ingestion keep every digit, or are refused with a reason."""

import hashlib
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lambdas.ingestion import contract, json_text, reading
from lambdas.ingestion.standard import standard
from lambdas.metadata import document

DIGITS = "9" * 5_000
DEEP = '{"a":' * 100 + "1" + "}" * 100

# What a careful human reads, as compact text with sorted keys; both systems must keep just that.
KEPT = {
    "more digits than a float has": '{"a":[1.0,1.10,9007199254740993,18446744073709551616,0.10000000000000000555111512312]}',
    "minus nought": '{"a":[-0,-0.0,0,0.0,1e05,1E+5,1e-400]}',
    "numbers that are texts": '{"a":1,"b":"1","c":"1e5","d":true,"e":"true","f":null,"g":"null","h":"NaN"}',
    "names of other languages": '{"__proto__":{"x":1},"constructor":2,"hasOwnProperty":3,"toString":null}',
    "names with a meaning elsewhere": '{"":0,"$ref":"#",".":1,"@id":2,"_id":3,"a..b":4,"a.b":5,"type":6}',
    "keys that look alike": '{"A":1,"a":2,"a ":3,"cafe\u0301":4,"caf\u00e9":5,"\u0430":6}',
    "text that is code elsewhere": '{"a":"<script>alert(1)</script>","b":"${jndi:x}","c":"{{7*7}}","d":"=1+1","e":"../../etc"}',
    "Unicode": '{"a":"😀👩‍👩‍👧","b":"\u2028\u2029","c":"\u202egpj.exe","d":"\uffff\U0010ffff","e":"\u0000"}'.replace("\0",
    "\\u0000"),
    "100 levels": DEEP,
    "100 levels of arrays in an object": '{"a":' + "[" * 99 + "]" * 99 + "}",
    "brackets and quotes in texts": r'{"a":"]}\"","b":"[{","c":"\\"}',
    "10,000 elements": '{"a":[' + ",".join(map(str, range(10_000))) + "]}",
    "a text of 100 KB": f'{{"a":"{"x" * 100_000}"}}',
    "empty": "{}",
    "empty inside": '{"a":{},"b":[],"c":[[],{}],"d":""}',
}  # fmt: skip
OTHERWISE_WRITTEN = {
    "escapes": ('{"\\u0061":"\\ud83d\\ude00\\/\\u00e9"}', '{"a":"😀/é"}'),
    "white space": ('\r\n\t { "a" :\t[ 1 ,\n2 ] } \r\n', '{"a":[1,2]}'),
}
REFUSED = {
    "a key twice": b'{"a":1,"a":2}', "a key twice, once escaped": b'{"a":1,"\\u0061":1}',
    "a key twice, deep": b'{"b":[{"a":1,"a":1}]}',
    "a key twice, the same value": b'{"amount":5,"amount":5}', "__proto__ twice": b'{"__proto__":1,"__proto__":2}',
    "NaN": b'{"a":NaN}', "Infinity": b'{"a":Infinity}', "-Infinity": b'{"a":[-Infinity]}', "nan": b'{"a":nan}',
    "inf": b'{"a":inf}',
    "half a pair": b'{"a":"\\ud800"}', "the other half": b'{"a":"\\udc00"}', "halves changed places": b'{"a":"\\ude00\\ud83d"}',
    "half a pair in a key": b'{"\\ud800":1}', "half a pair, then text": b'{"a":"\\ud83dx"}',
    "a cut escape": b'{"a":"\\ud83d\\ude"}',
    "an unknown escape": b'{"a":"\\x41"}', "a line feed in a text": b'{"a":"x\ny"}', "a tab in a text": b'{"a":"x\ty"}',
    "NUL in a text": b'{"a":"x\0y"}', "NUL behind": b'{"a":1}\0', "NULs alone": bytes(64),
    **{f"cut after {end} bytes": b'{"a":[1,"x"]}'[:end] for end in range(1, 13)},
    "text behind": b'{"a":1}x', "an object behind": b'{"a":1}{"b":2}', "a comma behind": b'{"a":1},',
    "a bracket behind": b'{"a":1}]',
    "a comma too many": b'{"a":1,}', "a comma too many in an array": b'{"a":[1,]}', "a comma in front": b'{,"a":1}',
    "no comma": b'{"a":1 "b":2}', "no colon": b'{"a" 1}', "single quotes": b"{'a':1}", "no quotes": b"{a:1}",
    "a comment": b'{"a":1}//x', "a comment inside": b'{"a":/*x*/1}', "hexadecimal": b'{"a":0x10}', "octal": b'{"a":010}',
    "a plus": b'{"a":+1}', "no digit before": b'{"a":.5}', "no digit behind": b'{"a":5.}', "no exponent": b'{"a":1e}',
    "two minuses": b'{"a":--1}', "an underscore": b'{"a":1_000}', "a comma as point": b'{"a":{1,5}}', "Python": b'{"a":True}',
    "undefined": b'{"a":undefined}', "wide digits": '{"a":１}'.encode(), "Arabic digits": '{"a":\u0661}'.encode(),
    "a no-break space": '{"a":\u00a01}'.encode(), "a vertical tab": b'{"a":\x0b1}',
    "a zero-width space": '{\u200b"a":1}'.encode(),
    "typographic quotes": '{“a”:1}'.encode(), "against JSON hijacking": b')]}\',\n{"a":1', "JSONP": b'f({"a":1})',
    "HTML": b"<html>{}",
    "YAML": b"a: 1\n", "101 levels": f'{{"a":{DEEP}}}'.encode(), "100,000 brackets": b'{"a":' + b"[" * 100_000,
    "100,000 braces": b'{"a":' * 100_000, "Latin-1": b'{"a":"\xe9"}', "overlong": b'{"a":"\xc0\xaf"}',
    "a surrogate": b'{"a":"\xed\xa0\x80"}',
    "a byte of no character": b'{"a":"\xff"}', "a cut character": b'{"a":"\xe2\x82"}', "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without its mark": '{"a":1}'.encode("utf-16-le"), "UTF-16 from the big end": '{"a":1}'.encode("utf-16-be"),
    "UTF-32": '{"a":1}'.encode("utf-32"), "two byte-order marks": b'\xef\xbb\xbf\xef\xbb\xbf{"a":1}',
    "gzip": b"\x1f\x8b\x08\0", "zip": b"PK\x03\x04", "a number": b"5", "a text": b'"x"', "null": b"null",
}  # fmt: skip
REFUSED_METADATA = {  # fine in a file of records
    "byte-order mark": b'\xef\xbb\xbf{"a":1}', "an array": b"[]", "nothing": b"", "white space": b" \n",
    "two lines": b'{"a":1}\n{"a":2}\n',
}  # fmt: skip
REFUSED_RECORDS = {  # fine in metadata.json
    "a number beyond all floats": b'{"a":1E400}', "a number of 5,000 digits": f'{{"a":{DIGITS}}}'.encode(),
}


def metadata(raw):
    """-> the document that is stored, the stamp apart; or the reason for a refusal."""
    payload = {
        "body": raw.decode(errors="replace"), "content_length": len(raw), "etag": hashlib.md5(raw).hexdigest(),
        "timestamp": "2026-01-31T23:59:59Z", "execution_id": "e",
        "object": {"bucket": "b", "key": "metadata.json", "version_id": "v"},
    }  # fmt: skip
    try:
        return document.write(document.from_payload(payload).content), None
    except document.InvalidMetadata as refusal:
        return None, str(refusal)


def record(raw):
    """-> what the table holds of a file's only record, but for the timestamp that it lacks; or the reasons."""
    try:
        found = [standard(each) for each in reading.records(lambda start: iter([raw[start:]]), len(raw), ".json")]
    except reading.Unreadable as refusal:
        return None, str(refusal)
    if len(found) == 1 and found[0].reason == "timestamp is missing":
        return found[0].data, None
    return None, "; ".join(each.reason or "" for each in found) or "no records"


def assert_refused(outcome):
    kept, reason = outcome
    assert kept is None and reason.isprintable() and len(reason.split()) >= 4 and len(reason) < 500


@pytest.mark.parametrize("name", KEPT)
def test_kept(name):
    """M3b, R3a: numbers, texts and names as they are."""
    text = KEPT[name]
    assert metadata(text.encode()) == record(text.encode()) == (text, None)


@pytest.mark.parametrize("name", OTHERWISE_WRITTEN)
def test_kept_though_otherwise_written(name):
    """M3b, R3a: escapes and white space mean what they mean."""
    text, expected = OTHERWISE_WRITTEN[name]
    assert metadata(text.encode()) == record(text.encode()) == (expected, None)


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_METADATA])
def test_refused_metadata(name):
    """M6: with what is wrong, and what to do."""
    outcome = metadata((REFUSED | REFUSED_METADATA)[name])
    assert_refused(outcome)
    assert "upload it again" in outcome[1]


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_RECORDS])
def test_refused_records(name):
    """R3a: kept as invalid, or refused as a file, with a reason."""
    assert_refused(record((REFUSED | REFUSED_RECORDS)[name]))


def test_limits_of_one_system_only():
    """M3b takes any number; R3a any byte-order mark."""
    for raw in REFUSED_RECORDS.values():
        assert metadata(raw) == (raw.decode(), None)
    assert record(REFUSED_METADATA["byte-order mark"]) == ('{"a":1}', None)


# --- a record costs itself alone -------------------------------------------------------------------------------------

OWN = '{"recordId":"good","timestamp":"2024-03-05T10:11:12Z"}'
ONE_LINE = [raw for name, raw in REFUSED.items() if b"\n" not in raw and not name.startswith(("UTF-", "gzip", "zip", "two byte"))]


@pytest.mark.parametrize("raw", [*ONE_LINE, *REFUSED_RECORDS.values()], ids=lambda raw: ascii(raw[:30]))
def test_malformed_line_between_good_ones(raw):
    """R3a: its neighbours come through, its text is kept."""
    body = b"\n".join((OWN.encode(), raw, OWN.encode(), b""))
    first, bad, last = (standard(each) for each in reading.records(lambda start: iter([body[start:]]), len(body), ".json"))
    assert (first.reason, last.reason, first.record_id, last.record_id) == (None, None, "good", "good")
    assert_refused((None, bad.reason))
    assert bad.data[:1_000] == raw.strip().decode(errors="replace")[:1_000]


IDS = {  # recordId as JSON → the id, or a word of the reason; None: the hash of the record
    '"a"': "a", "1": "1", "1.0": "1.0", "007": "!malformed", '"007"': "007", "9007199254740993": "9007199254740993", '""': None,
    "null": None,
    '" "': "!blank", '"\\t"': "!blank", "true": "!boolean", "{}": "!object", "[1]": "!array", '"=1+1"': "=1+1", '" a "': " a ",
    '"\\u0000"': "\0", '"\\ud800"': "!surrogate", f'"{"x" * 512}"': "x" * 512, f'"{"x" * 513}"': "!513 characters",
    f'"{"😀" * 512}"': "😀" * 512, "1e400": "!beyond", '"caf\u00e9"': "caf\u00e9", '"cafe\u0301"': "cafe\u0301",
    '"a\\nb"': "a\nb",
}  # fmt: skip
TIMES = {  # timestamp as JSON → the moment, or a word of the reason
    '"2024-03-05T10:11:12Z"': "2024-03-05T10:11:12Z", '"2024-03-05 11:11:12+01"': "2024-03-05T10:11:12Z",
    "1709633472": "2024-03-05T10:11:12Z",
    "1709633472123": "2024-03-05T10:11:12.123Z", "1709633472.5": "2024-03-05T10:11:12.5Z", '"1709633472"': "2024-03-05T10:11:12Z",
    '"2024-03-05"': "2024-03-05T00:00:00Z", '"2024-03-05T10:11:12.123456789Z"': "2024-03-05T10:11:12.123456789Z",
    '"2024-03-10T02:30:00"': "2024-03-10T02:30:00Z", '"2024-11-03T01:30:00-05:00"': "2024-11-03T06:30:00Z",
    '"0001-01-01"': "0001-01-01T00:00:00Z", '"9999-12-31T23:59:59Z"': "9999-12-31T23:59:59Z",
    '"2024-02-29"': "2024-02-29T00:00:00Z",
    **dict.fromkeys([
        '"2016-12-31T23:59:60Z"', '"2024-01-01T24:00:00Z"', '"2023-02-29"', '"0000-01-01"', '"10000-01-01"', '"05/03/2024"',
        '"05.03.2024"',
        '"24-03-05"', '"20240305"', '"2024-W10-2"', '"2024-03-05T10:11:12 UTC"', '"２０２４-03-05"',
        '"2024-03-05T10:11:12\\u200bZ"', '"now"',
        '"0001-01-01T00:00:00+05:00"', '"9999-12-31T23:59:59-05:00"', "1.709633472e9", "-1709633472", "0", "17096334721", "true",
        "{}",
        '"NaN"', "1709633472123456", '"\\ufeff2024-03-05"',
    ], "!timestamp"), '""': "!missing", "null": "!missing",
}  # fmt: skip


def one(text):
    raw = text.encode()
    (found,) = reading.records(lambda start: iter([raw[start:]]), len(raw), ".json")
    return standard(found)


@pytest.mark.parametrize("written", IDS)
def test_record_ids(written):
    """R3a: as they are, or the record is invalid; never cut, trimmed or guessed."""
    found = one(f'{{"recordId":{written},"timestamp":"2024-03-05"}}')
    expected = IDS[written]
    if expected is None:
        assert (found.record_id, found.reason) == (found.checksum, None)
    elif expected.startswith("!"):
        assert expected[1:] in found.reason and found.record_id == found.checksum
    else:
        assert (found.record_id, found.reason) == (expected, None)


@pytest.mark.parametrize("written", TIMES)
def test_record_times(written):
    """R3a: one moment, one text; what cannot be read is invalid, under the sentinel."""
    found = one(f'{{"recordId":"x","timestamp":{written}}}')
    expected = TIMES[written]
    if expected.startswith("!"):
        assert expected[1:] in found.reason and found.timestamp == contract.NO_TIMESTAMP
    else:
        assert (found.timestamp, found.reason) == (expected, None)


# --- mutations, and work ---------------------------------------------------------------------------------------------

PIECES = [
    '{"a":', "}", "[", "]", ",", ":", '"', "\\", "1", "1.0", "-", "e5", "true", "null", '"x"', " ", "\n", "NaN", "\\u0041",
    "\ud83d",
    "é",
]  # fmt: skip
OBJECTS = st.text(max_size=20).map(lambda text: json.dumps({"a": text}))


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | OBJECTS)
@example('{"a":1.0,"b":[1e5,-0]}')
def test_whatever_is_taken_is_what_it_says(text):
    """M3b, R3a: what is kept means what Python's own parser reads, digit by digit; everything else has a reason."""
    raw = text.encode(errors="surrogatepass")
    for kept, reason in (metadata(raw), record(raw)):
        if kept is None:
            assert reason
        else:
            assert json.loads(kept, parse_int=str, parse_float=str) == json.loads(text, parse_int=str, parse_float=str)


class Counted(str):
    """A key that counts how often it is compared."""

    compared = 0

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_key_that_comes_twice_is_found_in_linear_time():
    """R3a: in 1 MiB there may be 100,000; comparing each with each took minutes, and the function's time-out with it."""
    keys = [Counted(f"k{number}") for number in range(5_000)]
    Counted.compared = 0
    assert json_text.twice([*keys, Counted("k4999")]) == "k4999"
    assert json_text.twice(keys) is None
    assert Counted.compared < 100


def test_record_and_header_of_a_mebibyte_of_names():
    """R3a: 80,000 keys, the last one twice; likewise a CSV file's columns."""
    names = [f"k{number}" for number in range(80_000)]
    members = ",".join(f'"{name}":0' for name in [*names, names[-1]])
    assert "more than once" in one(f"{{{members}}}").reason
    raw = ",".join([*names, names[-1]]).encode() + b"\n"
    with pytest.raises(reading.Unreadable, match="'k79999' more than once"):
        next(reading.records(lambda start: iter([raw[start:]]), len(raw), ".csv"))


# --- CSV of the ingestion --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "middle",
    [b'2,"x\n3,2024-03-05\n4","y",z', b'2,"x\n3,2024-03-05\n",y,z', b'"2\n3,2024-03-05\n4"', b'2,"x', b"2,x,y", b"2", b'2,"x"y',
    b"2,\xff"],
    ids=ascii)  # fmt: skip
def test_stray_quote_swallows_no_row(middle):
    """R3a: lines are one row only if that has the header's columns; else each is judged by itself."""
    raw = b"recordId,timestamp\n1,2024-03-05\n%b\n9,2024-03-05\n" % middle
    found = [standard(each) for each in reading.records(lambda start: iter([raw[start:]]), len(raw), ".csv")]
    good = [each.record_id for each in found if each.reason is None]
    assert good == (["1", "3", "9"] if b"\n3," in middle else ["1", "9"])
    for each in found:
        assert each.reason is None or each.reason.isprintable()
