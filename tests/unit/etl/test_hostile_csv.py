"""Hostile CSV files (E3b, E4a, E5b, C13): right, or readably rejected; never a wrong value, and never at a neighbour's cost."""

import base64
import csv
import io
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import hostile, hostile_files, peers
from bench.hostile_files import FIRST, HEADER, LAST, MIB, TIME
from lambdas.etl import header, rows

CASES = hostile_files.cases()


@pytest.fixture(autouse=True)
def _long_fields():
    before = csv.field_size_limit(1 << 30)
    yield
    csv.field_size_limit(before)


def convert(data):
    """-> conversion, rows, rejected lines, reasons; a text instead, if the file is refused as a whole."""
    try:
        return _converted(data)
    except header.InvalidFile as refusal:
        return str(refusal)


def _converted(data):
    found = header.read(data[:MIB], complete=len(data) <= MIB)
    rejects = []
    conversion = rows.Conversion(found, lambda line: rejects.append(json.loads(line)), offset=found.length)
    output = b"".join(conversion.convert([data[found.length :]]))
    if conversion.other_header is not None:
        raise header.InvalidFile(rows.several_tables(conversion.other_header))
    accepted = [tuple(row) for row in csv.reader(io.StringIO(output.decode(), newline=""), strict=True)]
    lines = [base64.b64decode(each["row_base64"]) if "row_base64" in each else each["row"].encode() for each in rejects]
    return conversion, accepted, lines, [each["reason"] for each in rejects]


def assert_readable(reason):
    """One line that a terminal and an e-mail show as it is."""
    assert len(reason.split()) >= 3 and len(reason) <= 1_000 and reason.isprintable(), reason


# --- the corpus ------------------------------------------------------------------------------------------------------


def test_cases_are_many_and_told_apart():
    """C13."""
    assert len(CASES) >= 500
    assert len({(case.group, case.name) for case in CASES}) == len({case.data for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def test_hostile_file(case):
    """E3b, E4a, E5b: what a careful human reads in it, value by value, and nothing else; work is linear."""
    outcome = convert(case.data)
    if isinstance(outcome, str):
        assert_readable(outcome)
        assert isinstance(case.truth, str) and case.truth in outcome
        return
    assert not isinstance(case.truth, str), "must be refused as a whole"
    conversion, accepted, rejected, reasons = outcome
    assert accepted == case.rows
    assert rejected == [line[:MIB] for line in case.rejects]
    assert conversion.bytes_looked_ahead <= 2 * len(case.data)
    for reason in reasons:
        assert_readable(reason)


def test_hundred_thousand_columns():
    """E3b, E5b: more than pandas and polars are asked to take in the corpus."""
    names = ",".join(f"c{number}" for number in range(99_995))
    row = (*FIRST, *("v",) * 99_995)
    data = f"{HEADER},{names}\n{','.join(row)}\n{','.join(FIRST)}\n".encode()
    _, accepted, rejected, reasons = convert(data)
    assert accepted == [row] and rejected == [",".join(FIRST).encode()]
    assert reasons == ["the row has 5 columns, the header has 100000"]


def test_documents_tell_this_corpus():
    """C14: what docs/reliability.md says of our own side is what the tests above prove; of the others, `bench.hostile`."""
    page = hostile.PAGE.read_text(encoding="utf-8")
    assert hostile.introduction(CASES) in page and hostile.ours_row(CASES) in page
    for group, count in Counter(case.group for case in CASES).items():
        assert f"| {group} | {count} | 0 |" in page


# --- mutations -------------------------------------------------------------------------------------------------------


def record(data, at):
    """The strictly quoted record that starts here, byte by byte: its fields and where the next one starts; None if none does.
    Knows nothing of the code under test."""
    fields, field, state = [], b"", "begun"
    while at < len(data):
        byte, ends = data[at : at + 1], data[at : at + 1] == b"\n" or data[at : at + 2] == b"\r\n"
        if state == "quoted":
            if byte != b'"':
                field += byte
            elif data[at + 1 : at + 2] == b'"':
                field += byte
                at += 1
            else:
                state = "closed"
        elif byte == b"," or ends:
            fields.append(field)
            field, state = b"", "begun"
            if ends:
                return fields, data.index(b"\n", at) + 1
        elif state == "closed":
            return None
        elif state == "begun" and byte == b'"':
            state = "quoted"
        else:
            field, state = field + byte, "plain"
        at += 1
    return None


def value(fields, columns):
    """The row that these fields are, by Decimal and datetime; None if they must be rejected."""
    try:
        row = dict(enumerate(field.decode() for field in fields))
    except UnicodeDecodeError:
        return None
    if b"\0" in b"".join(fields) or len(row) != len(columns):
        return None
    blank = [not row[columns.index(name)].strip(peers.SPACE) for name in (b"transaction_id", b"customer_id")]
    for name, read in ((b"amount", peers.amount), (b"timestamp", peers.timestamp)):
        row[columns.index(name)] = read(row[columns.index(name)])
    return None if any(blank) or None in row.values() else tuple(row.values())


def strictly(data):
    """Columns, accepted rows and rejected lines of a file, by the words of E5b."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    data += b"" if data.endswith(b"\n") else b"\n"
    columns, accepted, rejected, at = None, [], [], 0
    while at < len(data):
        line_end = data.index(b"\n", at) + 1
        line = data[at:line_end].removesuffix(b"\n").removesuffix(b"\r")
        fields, following = record(data, at) or (None, line_end)
        if columns and fields and following != line_end and len(fields) != len(columns):
            fields, following = None, line_end
        text = data[at:following].removesuffix(b"\n").removesuffix(b"\r")
        at = following
        if not line:
            continue
        if columns is None:
            columns = [field.strip() for field in fields or ()]
        elif fields and (row := value(fields, columns)):
            accepted.append(row)
        else:
            rejected.append(text if fields else line)
    return columns, accepted, rejected


GOOD = [
    *(",".join(row).encode() for row in (FIRST, LAST)), b't3,c3,"$1,234.5",03/05/2024 10:11,"a, ""b"""',
    f't4,c4,(4),{TIME},"two\nlines"'.encode(), b't5,"c,5",5e2,1709633472,x', f'"t6","c6","6","{TIME}","x"'.encode(),
    " t7 ,ç7, 7.000 ,2024-03-05 10:11+05:30,é".encode(),
]  # fmt: skip
TOKENS = [
    b"", b'"', b'""', b'","', b",", b"\n", b"\r\n", b"\r", b";", b"\t", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b" ", b"-",
    b".", b"0", b"1",
    b"9", b"e", b"$", b"(", b")", b":", b"T", b"Z", b"+", b"/", b"\xe2\x80\x8b", b"\xd9\xa1", HEADER.encode(), GOOD[2],
    b'"\n,', b'",y\n',
]  # fmt: skip
FILES = st.tuples(
    st.sampled_from([HEADER, "note,timestamp,amount,customer_id,transaction_id", f'"{HEADER}"'.replace(",", '","')]),
    st.lists(st.sampled_from(GOOD), min_size=1, max_size=6),
    st.sampled_from([b"\n", b"\r\n"]),
).map(lambda file: file[2].join([file[0].encode(), *file[1], b""]))


@st.composite
def mutated(draw):
    """A valid file, up to four places of which were overwritten, deleted, doubled or moved; and perhaps two quotes added."""
    data = draw(FILES)
    if draw(st.booleans()):
        commas = [at for at in range(len(data)) if data[at : at + 1] in (b",", b"\n")]
        first, second = sorted(draw(st.lists(st.sampled_from(commas), min_size=2, max_size=2)))
        data = b'"'.join((data[: first + 1], data[first + 1 : second], data[second:]))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 0, 1, 1, 2, 7, 40])))
        put = draw(st.sampled_from(TOKENS) | st.just(data[start:end] * 2) | st.binary(max_size=3))
        to = draw(st.sampled_from([start, start, start, 0, len(data)]))
        data = data[:start] + data[end:] if to != start else data[:start] + put + data[end:]
        data = data[:to] + put + data[to:] if to != start else data
    return data


@settings(max_examples=400)
@given(mutated())
def test_no_mutation_corrupts(data):
    """E4a, E5b: every accepted value is what an independent reading of the same bytes gives, every other line is rejected."""
    outcome = convert(data)
    if isinstance(outcome, str):
        assert_readable(outcome)
        return
    _, accepted, rejected, reasons = outcome
    columns, expected, expected_rejects = strictly(data)
    assert set(header.REQUIRED_COLUMNS) <= {column.decode() for column in columns}
    assert accepted == expected
    assert rejected == expected_rejects
    for reason in reasons:
        assert_readable(reason)


@pytest.mark.parametrize("case", [case for case in CASES if len(case.data) < 3_000 and not isinstance(case.truth, str)],
                         ids=lambda case: f"{case.group}: {case.name}")  # fmt: skip
def test_independent_reading_is_the_humans(case):
    """The oracle above agrees with the truth of the corpus."""
    _, accepted, rejected = strictly(case.data)
    assert accepted == case.rows and rejected == case.rejects
