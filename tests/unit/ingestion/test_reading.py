"""Files of records, read in blocks (R3a): the same records however the blocks fall and wherever reading starts again."""

import itertools
import json
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lambdas.ingestion import reading
from lambdas.ingestion.reading import Place, Unreadable
from lambdas.ingestion.standard import standard


def source(body, sizes=(1 << 20,)):
    """``blocks`` of a file in memory, their sizes in turn."""

    def blocks(start):
        for size in itertools.cycle(sizes):
            if start >= len(body):
                return
            yield body[start : start + size]
            start += size

    return blocks


BEGINNING = Place()


def read(body, suffix=".json", start=BEGINNING, sizes=(1 << 20,)):
    return list(reading.records(source(body, sizes), len(body), suffix, start))


def outcome(*arguments, **named):
    try:
        return read(*arguments, **named)
    except Unreadable as unreadable:
        return str(unreadable)


def values(body, suffix=".json"):
    """What each record says; "!" and the reason of one that says nothing."""
    return [raw.value if raw.fault is None else f"!{raw.fault}" for raw in read(body, suffix)]


# --- JSON ------------------------------------------------------------------------------------------------------------

A, B = {"a": "1"}, {"b": ["2", {"c": None}]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1}\n{"b": [2, {"c": null}]}\n', b'\n {"a": 1} \r\n\n{"b": [2, {"c": null}]}',
        b'[{"a": 1}, {"b": [2, {"c": null}]}]',
        b' [\n{"a": 1}\n,\n{"b":\n[2, {"c": null}]}\n]\n\n', b'\xef\xbb\xbf[{"a":1},{"b":[2,{"c":null}]}]',
        b'\xef\xbb\xbf{"a":1}\n{"b":[2,{"c":null}]}',
    ],
)  # fmt: skip
def test_json(body):
    """R3a: JSON Lines and arrays, however they are laid out; numbers are as they were written."""
    assert values(body) == [A, B]


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": 1}\n', b'\xef\xbb\xbf\n{\n "a":\n 1\n}\n\n', b'{\n"a": 1}'])
def test_object(body):
    """R3a: one object is one record, on one line or over several."""
    assert values(body) == [A]


@pytest.mark.parametrize("body", [b"", b"\n\n", b" \t\r\n", b"\xef\xbb\xbf", b"[]", b" [\n] \n"])
def test_no_records(body):
    """R3a: an empty file, or array, is no mistake."""
    assert read(body) == []


def test_malformed_line():
    """R3a: one record, with the reason and its place; the next line is read, also if the first is the broken one."""
    raws = read(b'{"a": \n{"a": 1}\n{"a": nope}\nhello\n5\n{"a": 1}\n')
    assert [raw.value for raw in raws] == [None, A, None, None, None, A]
    assert raws[2].fault == "its JSON is malformed at character 6: Expecting value"
    assert raws[4].fault == "it is a number, no object"
    assert [raw.start for raw in raws][:4] == [Place(0, 0), Place(7, 1), Place(16, 2), Place(28, 3)]


def test_malformed_element():
    """R3a: an element of an array that is no JSON is one record; the others are read as long as brackets pair."""
    body = b'[{"a": 1}, {"a": nope}, , 5, {"a": "\xff"}, {"a": "]}\\"["}, {"a": 1},]'
    raws = read(body)
    assert [raw.value for raw in raws] == [A, None, None, None, None, {"a": ']}"['}, A, None]
    assert raws[2].fault == raws[7].fault == "nothing stands between two commas of the array"
    assert raws[4].fault == "it is not UTF-8: byte 0xFF at its position 7"


@pytest.mark.parametrize(
    "rest", [b', {"a": "x}, {"b": 1}]', b', {"a": [1}', b",", b', {"b": 1}', b', }, {"b": 1}]', b', {"a": 1]}, {"b": 2}]']
)
def test_broken_array(rest):
    """R3a: from where an array's syntax breaks, all the rest of the file is one record, with its offset and length."""
    good, broken = read(b'[{"a": 1}' + rest)
    assert good.value == A
    assert broken.fault == "the array's syntax breaks here: this is all the rest of the file"
    assert (broken.start, broken.end) == (Place(9), Place(9 + len(rest))) and broken.length == len(rest)


def test_after_the_array():
    """R3a: what follows an array is kept too."""
    good, rest = read(b'[{"a": 1}]\n{"b": 1}')
    assert good.value == A and rest.text == b'{"b": 1}' and rest.start == Place(11, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "its key 'a' comes more than once"), ('{"a": NaN}', "NaN in it is no JSON"),
        ('{"a": -Infinity}', "-Infinity in it is no JSON"), ('{"a": 1e999}', "the number 1e999 in it is beyond"),
        (f'{{"a": {"9" * 101}}}', "a number in it has 101 characters"), (f'{{"a": {"9" * 50_000}}}', "50000 characters"),
        (f'{{"a": {"[" * 100_000}{"]" * 100_000}}}', "it is nested more than 100 levels deep"),
        ('{"a": "\x01"}', "Invalid control character"),
    ],
)  # fmt: skip
def test_refused_json(text, reason):
    """R3a: what would be read one way here and another way elsewhere, or by nobody, is refused with the reason."""
    for body in (f"{text}\n{{}}\n", f"[{text}, {{}}]"):
        refused, good = read(body.encode())
        assert reason in refused.fault and good.value == {}


@pytest.mark.parametrize(
    "body", [b"\x1f\x8b\x08abc", b"PK\x03\x04", '{"a": 1}'.encode("utf-16"), b"hello", b"5", b'"text"', b"\x00\x01\xff" * 99]
)
def test_not_json(body):
    """R3b: a file as a whole that is none is said to be so, not read line by line."""
    with pytest.raises(Unreadable):
        read(body)


# --- CSV -------------------------------------------------------------------------------------------------------------


def test_csv():
    """R3a: quotes, line ends inside them, empty lines and fields, CRLF; values are texts."""
    body = b'\xef\xbb\xbf\n id , "no\nte" \r\n1,"a ""b"",\nc"\r\n\r\n2,\n"3",d"e'
    # a space before a quote makes it part of the name
    assert values(b'id,"no\nte"\n1,"a ""b"",\nc"\r\n\r\n2,\n"3",d"e', ".csv") == [
        {"id": "1", "no\nte": 'a "b",\nc'}, {"id": "2", "no\nte": ""}, {"id": "3", "no\nte": 'd"e'},
    ]  # fmt: skip
    assert isinstance(outcome(body, ".csv"), list | str)


def test_malformed_rows():
    """R3a: each is one record; reading goes on at the next line."""
    body = b'a,b\n1\n1,2,3\n"x"y,2\n"open,2\n3,4\n\xff,6\n"7\n\xfe",8\n9,10\n"the end,'
    raws = read(body, ".csv")
    assert [raw.value for raw in raws] == [None] * 4 + [{"a": "3", "b": "4"}] + [None] * 2 + [{"a": "9", "b": "10"}, None]
    faults = [raw.fault for raw in raws if raw.fault]
    assert faults[:2] == ["it has 1 fields, the header 2", "it has 3 fields, the header 2"]
    assert "malformed" in faults[2] and "malformed" in faults[3] and "malformed" in faults[6]
    assert faults[4:6] == ["it is not UTF-8: byte 0xFF at its position 0", "it is not UTF-8: byte 0xFE at its position 3"]
    assert [raw.start.lines + 1 for raw in raws] == [2, 3, 4, 5, 6, 7, 8, 10, 11]


@pytest.mark.parametrize("body", [b"", b"\n\r\n", b"a,b\n", b"a,b"])
def test_no_rows(body):
    """R3a: an empty file, or one that is but a header, has no records."""
    assert read(body, ".csv") == []


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08", b"a,a\n1,2", b"a,,b\n1,2,3", b"\xff,b\n1,2", b"a\0,b\n", b'"a\n1', b"a\rb\rc"])
def test_not_csv(body):
    """R3b: without a header that names each column once, no row can be read."""
    with pytest.raises(Unreadable):
        read(body, ".csv")


def test_odd_quotes_cost_no_more_than_the_file():
    """R3: a file of which every line opens a quote is read in linear time (bytes and lines looked at, not seconds)."""
    looked = ends = 0
    split, line_end = reading._split, reading._Window.line_end

    def counted(text):
        nonlocal looked
        looked += len(text)
        return split(text)

    def counted_end(window, start):
        nonlocal ends
        ends += 1
        return line_end(window, start)

    for line in (b'"x"y\n', b'x","y\n', b'x,"y\n', b'"x"y"\n', b'",","\n', b'x"\n', b'"x\n"\n\n'):
        body = b"a,b\n" + line * 2_000
        looked = ends = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "_split", counted)
            patch.setattr(reading._Window, "line_end", counted_end)
            read(body, ".csv")
        assert looked <= 4 * len(body) and ends <= 4 * body.count(b"\n")


# --- size ------------------------------------------------------------------------------------------------------------

LONG = 3 * reading.MAX_RECORD_BYTES


@pytest.mark.parametrize(
    ("body", "suffix"),
    [
        (b'{"a":1}\n{"a":"%b"}\n{"a":1}', ".json"), (b'[{"a":1},{"a":"%b"},{"a":1}]', ".json"), (b"a\n1\n%b\n1\n", ".csv"),
    ],
)  # fmt: skip
def test_too_long(body, suffix):
    """R3a: a record beyond 1 MiB is one invalid record, of which the beginning is kept; the next one is read."""
    before, long, after = read(body % (b"x" * LONG), suffix)
    assert before.value == after.value == {"a": "1"}
    assert long.fault == "it is larger than 1,048,576 bytes; only its beginning is kept"
    assert len(long.text) == reading.KEPT_BYTES and LONG <= long.length < LONG + 10


def repeated(start, unit, count, end):
    """``blocks`` and size of a file that is nowhere as a whole; it is read from its beginning."""
    units = max((1 << 18) // len(unit), 1)

    def blocks(offset):
        assert offset == 0
        yield start
        for _ in range(count // units):
            yield unit * units
        yield end

    return blocks, len(start) + count // units * units * len(unit) + len(end)


@pytest.mark.parametrize(
    ("start", "unit", "end", "suffix"),
    [
        (b"[{}", b',{"a": "%b"}' % (b"x" * 50_000), b"]", ".json"), (b"", b'{"a": "%b"}\n' % (b"x" * 50_000), b"", ".json"),
        (b"a\n", b'"%b\n"\n' % (b"x" * 50_000), b"", ".csv"), (b'{"a": "', b"x" * 1000, b'"}', ".json"),
        (b'[{"a": "', b"x" * 1000, b'"}]', ".json"), (b'["\\', b"\\" * 1000, b'"]', ".json"), (b"[1", b" " * 1000, b"]", ".json"),
        (b'a\n"', b"x" * 1000, b'"', ".csv"), (b'a\n"', b"x" * 99 + b"\n", b'"', ".csv"), (b"{}\n", b"\n" * 1000, b"{}", ".json"),
    ],
)  # fmt: skip
def test_memory(start, unit, end, suffix):
    """R3a: bounded, however long the file or the record in it (24 MB here)."""
    blocks, size = repeated(start, unit, 24_000_000 // len(unit), end)
    # Millions of tiny records would take long under tracemalloc, and show nothing more.
    records = itertools.islice(reading.records(blocks, size, suffix), 2_000)
    tracemalloc.start()
    try:
        count = sum(1 for _ in records)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count and peak < 10 << 20


# --- blocks and starts -----------------------------------------------------------------------------------------------

TEXTS = st.text(st.sampled_from('ab"\\,\n\r{}[]é '), max_size=8)
OBJECTS = st.dictionaries(TEXTS, TEXTS | st.integers() | st.none() | st.lists(TEXTS, max_size=3), max_size=3)


@st.composite
def files(draw):
    """Bodies that are files, and such with a few bytes exchanged, and such that are but made of the same signs."""
    suffix = draw(st.sampled_from([".json", ".csv"]))
    if suffix == ".csv":
        quoted = st.text(st.sampled_from("ab,\n\r é"), max_size=8).map(lambda text: f'"{text}"')
        rows = draw(st.lists(st.lists(quoted | st.sampled_from(["a", ""]), min_size=2, max_size=2).map(",".join), max_size=6))
        text = draw(st.sampled_from(["\n", "\r\n"])).join(["x,y", *rows])
    else:
        objects = [json.dumps(one, ensure_ascii=False) for one in draw(st.lists(OBJECTS, max_size=6))]
        text = draw(st.sampled_from(["\n".join(objects), f"[{', '.join(objects)}]", f"[\n{' ,'.join(objects)}\n]\n"]))
    body = bytearray(draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode())
    for _ in range(draw(st.integers(0, 3))):
        if body:
            body[draw(st.integers(0, len(body) - 1))] = draw(st.sampled_from(b'"\\,\n[]{}x\xff'))
    noise = st.lists(st.sampled_from(b'"\\,\n\r[]{}:1a \xff\x00'), max_size=60).map(bytes)
    return draw(st.just(bytes(body)) | noise | st.binary(max_size=60)), suffix


@pytest.fixture(params=[False, True], ids=["as it is", "small limits"])
def limits(request, monkeypatch):
    """Limits that small files reach, too."""
    if request.param:
        for name, value in {"MAX_RECORD_BYTES": 24, "KEPT_BYTES": 8, "_MAX_SKIPPED_BYTES": 40, "_HEAD_BYTES": 30}.items():
            monkeypatch.setattr(reading, name, value)


@settings(max_examples=300)
@given(file=files(), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4))
@example(file=(b'[{"a":"\\', ".json"), sizes=[1])
def check(file, sizes):
    body, suffix = file
    expected = outcome(body, suffix)
    assert outcome(body, suffix, sizes=sizes) == expected
    if isinstance(expected, str):
        return
    place = Place()
    for number, raw in enumerate(expected):
        assert place.offset <= raw.start.offset < raw.end.offset <= len(body)
        assert len(raw.text) <= reading.MAX_RECORD_BYTES and (raw.fault is None) == (raw.value is not None)
        assert number == 0 or raw.start.offset > expected[number - 1].start.offset
        place = raw.end
        assert read(body, suffix, place, sizes) == expected[number + 1 :]
        assert standard(raw) == standard(raw)


def test_blocks_and_starts(limits):
    """R3a, R3b: however the blocks fall and at whichever checkpoint reading starts again, the records are the same; nothing
    crashes; places only grow, and no two records have the same one."""
    check()


@given(st.lists(OBJECTS, min_size=1, max_size=8), st.sampled_from([None, 1]))
def test_good_files_are_read_as_they_are(objects, indent):
    """R3a: what json.dumps writes is read without a fault."""
    array = json.dumps(objects, indent=indent)
    lines = "\n".join(json.dumps(one) for one in objects)
    for body in (array, lines, json.dumps(objects[0], indent=indent)):
        raws = read(body.encode(), sizes=[7])
        assert [raw.fault for raw in raws] == [None] * len(raws)
        assert len(raws) == (1 if body not in (array, lines) else len(objects))
