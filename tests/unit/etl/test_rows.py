"""Rows (E4a, E5a, E5b): what is converted, what is rejected, and that neither depends on its surroundings."""

import base64
import csv
import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambdas.etl import header, records
from lambdas.etl.rows import Conversion

COLUMNS = "transaction_id,customer_id,amount,timestamp,note"
GOOD = b"t1,c1,1.00,2024-03-05T10:11:12Z,x"
LIMIT = records.MAX_RECORD_BYTES


def convert(rows, *, line_end="\n", limit=LIMIT, block=1 << 20, offset=0, columns=COLUMNS):
    """-> conversion, output, rejects; ``rows`` in blocks of ``block`` bytes."""
    rejects = []
    found = header.read((columns + line_end).encode(), complete=True)
    conversion = Conversion(found, rejects.append, offset=offset, limit=limit)
    output = b"".join(conversion.convert(rows[i : i + block] for i in range(0, len(rows), block)))
    assert conversion.rows_read == conversion.rows_written + conversion.rows_rejected
    assert conversion.rows_rejected == len(rejects)
    return conversion, output, [json.loads(line) for line in rejects]


def reasons(rows, **options):
    _, output, rejects = convert(rows, **options)
    return output, [reject["reason"] for reject in rejects]


def strictly_read(output):
    return list(csv.reader(io.StringIO(output.decode(), newline=""), strict=True))


def raw(reject):
    return base64.b64decode(reject["row_base64"]) if "row_base64" in reject else reject["row"].encode()


@pytest.fixture(autouse=True)
def _long_fields():
    before = csv.field_size_limit(1 << 30)
    yield
    csv.field_size_limit(before)


# --- conversion ------------------------------------------------------------------------------------------------------


def test_values_are_converted_and_the_rest_is_kept():
    """E4a: amount and timestamp are normalised; ids and other columns keep their characters."""
    _, output, rejects = convert(' t1 ,c1,"$1,234.5",03/05/2024 10:11, ä "quoted" \n'.encode())
    assert output == ' t1 ,c1,1234.50,2024-03-05T10:11:00Z," ä ""quoted"" "\n'.encode()
    assert rejects == []


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_line_end_is_the_headers(line_end):
    """E4a: rows may end in LF or CRLF, mixed; the output ends as the header does; the last line end may be missing."""
    _, output, _ = convert(GOOD + b"\r\n" + GOOD + b"\n" + GOOD, line_end=line_end)
    assert output == (GOOD + line_end.encode()) * 3


def test_empty_lines_are_not_rows():
    """E4a: empty lines are skipped and not counted."""
    conversion, output, _ = convert(b"\n\r\n" + GOOD + b"\n\n\r\n")
    assert (conversion.rows_read, output) == (1, GOOD + b"\n")


def test_carriage_returns_are_data_unless_a_line_feed_follows():
    """E4a: a lone CR inside a field is kept, quoted; one at the very end of the file is half a line end."""
    rows = b"t1,c1,1.00,2024-03-05T10:11:12Z,a\rb\n" + b't2,c1,1.00,2024-03-05T10:11:12Z,"a\r"\r\n' + GOOD + b"\r"
    _, output, rejects = convert(rows)
    assert rejects == []
    assert [row[4] for row in strictly_read(output)] == ["a\rb", "a\r", "x"]


def test_records_over_several_lines():
    """E5b: strictly quoted, with the header's number of columns: one row."""
    record = b't1,c1,"1.00",2024-03-05T10:11:12Z,"a\n\r\n""b"",\n"\n'
    conversion, output, rejects = convert(GOOD + b"\n" + record + GOOD + b"\n")
    assert rejects == []
    assert conversion.rows_written == 3
    assert strictly_read(output)[1][4] == 'a\n\r\n"b",\n'


def test_file_without_rows():
    """E3b: a header alone is a file of 0 rows."""
    conversion, output, _ = convert(b"")
    assert (conversion.rows_read, output, conversion.offset) == (0, b"", 0)


# --- rejects ---------------------------------------------------------------------------------------------------------

MALFORMED = {
    "too few columns": (b"a,b,c", "the row has 3 columns, the header has 5"),
    "too many columns": (GOOD + b",y", "the row has 6 columns, the header has 5"),
    "white space": (b" ", "the row has 1 column, the header has 5"),
    "not UTF-8": (b"t1,c1,1.00,2024-03-05,\xe9", "not UTF-8: byte 0xE9 at position 22 of the row"),
    "NUL": (b"t1,c1,1.00,2024-03-05,\0", "a NUL byte at position 22 of the row"),
    "open quote": (b't1,c1,1.00,2024-03-05,"x', "a quote does not close before the end of the file"),
    "text after a quote": (b't1,c1,1.00,2024-03-05,"x"y', "a quote does not close properly"),
    "blank transaction": (b" ,c1,1.00,2024-03-05,x", "transaction_id is blank"),
    "blank customer": (b"t1,,1.00,2024-03-05,x", "customer_id is blank"),
    "amount": (b"t1,c1,abc,2024-03-05,x", "amount 'abc' is not an amount"),
    "timestamp": (b"t1,c1,1.00,now,x", "timestamp 'now' is not a timestamp"),
    "long value": (b"t1,c1,1.00," + b"z" * 99 + b",x", f"timestamp '{'z' * 39}…' is not a timestamp"),
    "bad value over two lines": (b't1,c1,abc,2024-03-05,"x\ny"', "amount 'abc' is not an amount"),
    "NUL over two lines": (b't1,c1,1.00,2024-03-05,"\0\ny"', "a NUL byte at position 23 of the row"),
}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_row_does_not_touch_its_neighbours(case, line_end):
    """E5b: one malformed row is one reject, verbatim, at its offset, with a reason; the rows around it are converted."""
    bad, reason = MALFORMED[case]
    before = (GOOD + line_end) * 3
    _, output, rejects = convert(before + bad + line_end + b"t2,c2,2.00,2024-03-05T10:11:12Z,after" + line_end, offset=100)
    assert output == GOOD + b"\n" + GOOD + b"\n" + GOOD + b"\nt2,c2,2.00,2024-03-05T10:11:12Z,after\n"
    (reject,) = rejects
    assert reject["reason"].startswith(reason)
    assert (reject["byte_offset"], raw(reject)) == (100 + len(before), bad)
    assert set(reject) == {"byte_offset", "reason", "row_base64" if case == "not UTF-8" else "row"}


ACCEPTED = st.sampled_from([GOOD, b't1,c1,1.00,2024-03-05T10:11:12Z,"a\nb"'])


@given(st.sampled_from(sorted(MALFORMED)), st.lists(ACCEPTED, max_size=4))
def test_malformed_row_anywhere(case, neighbours):
    """E5b: the same between any neighbours, also ones over several lines."""
    rows = b"".join(row + b"\n" for row in neighbours)
    _, output, rejects = convert(rows + MALFORMED[case][0] + b"\n" + rows)
    assert output == rows * 2
    assert [raw(reject) for reject in rejects] == [MALFORMED[case][0]]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_line_of_a_rejected_record_may_start_a_good_one(line_end):
    """E5b: reading restarts on the next line, even where its quotes mean something else now; its columns are its own."""
    rows = line_end.join([b'"p', b't,c","1', b'",2024-03-05,x', b'"t', b'",c,1,2024-03-05,x', b""])
    output, why = reasons(rows)
    assert len(why) == 1 and why[0].endswith("the row has 4 columns, the header has 5")
    assert strictly_read(output) == [
        ["t", 'c"', "1.00", "2024-03-05T00:00:00Z", "x"],
        ["t" + line_end.decode(), "c", "1.00", "2024-03-05T00:00:00Z", "x"],
    ]


def test_quote_that_closes_many_lines_later_by_accident():
    """E5b: several lines count as one record only if it has the header's columns; else the first line alone is rejected."""
    rows = b't1,c1,"1.00,2024-03-05,x\n' + GOOD + b"\n" + b't3,c1,"1.00",2024-03-05T10:11:12Z,x\n'
    output, why = reasons(rows)
    assert output == GOOD + b"\n" + b"t3,c1,1.00,2024-03-05T10:11:12Z,x\n"
    assert why == ["a quote does not close properly"]
    rows = b'"x\n' + GOOD + b'\n","y"\n'
    output, why = reasons(rows)
    assert output == GOOD + b"\n"
    assert why[0] == "a quote does not close on its line, and read over several lines the row has 2 columns, the header has 5"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(("excess", "accepted"), [(0, True), (1, False)])
def test_record_over_several_lines_has_at_most_one_mebibyte(line_end, excess, accepted):
    """E5b: 1 MiB, not a byte more; whatever comes behind is converted either way."""
    start = b't1,c1,1.00,2024-03-05T10:11:12Z,"\n'
    record = start + b"x" * (LIMIT - len(start) - 1 + excess) + b'"'
    assert len(record) == LIMIT + excess
    conversion, output, rejects = convert(record + line_end + GOOD + line_end, block=300_000)
    assert output.endswith(GOOD + b"\n")
    assert conversion.rows_written == 1 + accepted
    assert len(rejects) == (0 if accepted else 2)  # each of its lines by itself


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, LIMIT + 2, 3 * LIMIT + 7])
@pytest.mark.parametrize("block", [LIMIT // 2 + 1, 8 * LIMIT])
def test_overlong_line_is_one_reject_of_bounded_size(line_end, size, block):
    """E5b, E12: a line above 1 MiB is one rejected row; its beginning is kept, and how long it was."""
    start = b"t1,c1,1.00,2024-03-05T10:11:12Z,"
    line = start + b"x" * (size - len(start))
    conversion, output, rejects = convert(GOOD + b"\n" + line + line_end + (GOOD if line_end else b""), block=block)
    assert conversion.rows_written == (2 if line_end else 1) + (size <= LIMIT)
    if size > LIMIT:
        assert output == (GOOD + b"\n") * conversion.rows_written
        (reject,) = rejects
        assert (reject["byte_offset"], reject["row_bytes"]) == (len(GOOD) + 1, size)
        assert reject["row"].encode() == line[:LIMIT]


def test_overlong_line_is_cut_between_characters():
    """E5a: what is kept of an overlong UTF-8 line stays text."""
    _, _, (reject,) = convert(b"x" + "é".encode() * LIMIT)
    assert reject["row"] == "x" + "é" * (LIMIT // 2 - 1)


# --- properties ------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20) | st.text(',"\r\nab', max_size=8)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
@example([("\r", "\n")], "\r\n", True)
def test_well_formed_records_come_back(fields, line_end, quote_all):
    """E4a: every record that a CSV writer wrote comes back equal, whatever its free columns hold."""
    file = io.StringIO(newline="")
    rows = [[f"i{left}", "c", "1.00", "2024-03-05T10:11:12Z", right] for left, right in fields]
    # Before Python 3.13 the writer leaves a CR unquoted if lines end in LF: at the end of a row it would not come back.
    quote_all |= any("\r" in field for row in rows for field in row)
    writer = csv.writer(file, lineterminator=line_end, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerows(rows)
    _, output, rejects = convert(file.getvalue().encode(), line_end=line_end)
    assert rejects == []
    assert strictly_read(output) == rows


PUNCTUATION = [b"\n", b"\n", b"\r\n", b"\r", b'"', b'"', b'""', b'",', b',"', b",", b'\n"', b'"\n', b"\0", b"\xff"]
PIECES = st.sampled_from([GOOD, GOOD[:-1], b"t1,c1,1,2024-01-01,", *PUNCTUATION])
BYTES = st.binary(max_size=80) | st.lists(PIECES, max_size=24).map(b"".join)


@given(BYTES)
def test_any_bytes(rows):
    """E5a: nothing is lost: every byte is in an output row, in a reject (verbatim slices, in order), or a line end between."""
    conversion, output, rejects = convert(rows, offset=10)
    position = 0
    for reject in rejects:
        start, row = reject["byte_offset"] - 10, raw(reject)
        assert start >= position
        assert rows[start : start + len(row)] == row
        position = start + len(row)
    parsed = strictly_read(output)
    assert len(parsed) == conversion.rows_written
    assert all(len(row) == 5 for row in parsed)
    assert conversion.offset == 10 + len(rows)


@given(BYTES, st.integers(1, 30), st.integers(12, 90))
def test_block_boundaries_do_not_matter(rows, block, limit):
    """E4a: any chunking gives the same result; the limit of a record is small here, so that it takes part."""
    whole, output, rejects = convert(rows, limit=limit)
    cut, cut_output, cut_rejects = convert(rows, limit=limit, block=block)
    assert (output, rejects) == (cut_output, cut_rejects)
    assert whole.offset == cut.offset


@pytest.mark.parametrize("block", range(1, 80, 3))
def test_block_boundaries_within_records(block):
    """E4a: a record over several lines is waited for, wherever the blocks are cut."""
    record = b't,c,1.00,2024-03-05T10:11:12Z,"\n\r\n"""\n'
    _, output, rejects = convert(record * 12, block=block, limit=len(record))
    assert (output, rejects) == (record * 12, [])


def by_restarting(rows, limit):
    """The rule of E5b, word by word and without any memory: -> offsets and bytes of records taken, and of rejects."""
    taken, rejected, position = [], [], 0
    rows += b"" if rows.endswith(b"\n") or not rows else b"\n"
    while position < len(rows):
        line_end = rows.index(b"\n", position)
        line = rows[position:line_end].removesuffix(b"\r")
        found, end = line, line_end
        while len(found) <= limit and records.split(found)[1] >= 0 and b"\n" in rows[end + 1 :]:
            end = rows.index(b"\n", end + 1)
            found = rows[position:end].removesuffix(b"\r")
        fields, fault = records.split(found)
        good = fault < 0 and len(found) <= limit and len(fields) == 5
        if found == line or not good:
            found, end = line, line_end
        if good and len(found) <= limit:
            taken.append((position, found))
        elif line:
            rejected.append((position, line[:limit]))
        position = end + 1
    return taken, rejected


QUOTES = st.sampled_from([b'"', b'"', b",", b",", b"\n", b"\n", b"\r\n", b'""', b"a", b'"\n",', b'","'])


@given(st.lists(QUOTES, max_size=60).map(b"".join), st.integers(3, 60))
def test_records_are_found_as_the_rule_says(rows, limit):
    """E5b: the remembered look-ahead gives what reading again and again would give."""
    rejects, taken = [], []
    found = header.read((COLUMNS + "\n").encode(), complete=True)
    conversion = Conversion(found, lambda line: rejects.append(json.loads(line)), offset=0, limit=limit)
    conversion._convert_fields = taken.append  # answers None: no fault
    b"".join(conversion.convert([rows]))
    expected, expected_rejects = by_restarting(rows, limit)
    assert taken == [records.split(record)[0] for _, record in expected]
    assert [(reject["byte_offset"], raw(reject)) for reject in rejects] == expected_rejects


# --- work ------------------------------------------------------------------------------------------------------------

SPAN = 1 << 16
"""What a quote may span here, instead of 1 MiB: enough to tell a line from a square."""
HOSTILE = {
    "quotes that never close": b'"abcdefghi\n',
    "quotes closed by the next line's": b'x,"abcdefg\n',
    "chains of quoted fields": b'x","y\n',
    "chains that end in a fault": (b'x","y\n' * 2_000 + b'x"z\n'),
    "even runs of quotes": b'"""" ""\n"',
    "a short line, then a chain": b'"\n',
}


@pytest.mark.parametrize("case", HOSTILE)
def test_work_stays_linear(case):
    """E5b: no byte is looked at twice on account of open quotes, counted, in twice what a quote may span.

    Reading ahead from each line would come to some 10**9 bytes."""
    pattern = HOSTILE[case]
    rows = pattern * (2 * SPAN // len(pattern))
    conversion, _, rejects = convert(rows, limit=SPAN)
    assert conversion.rows_read == len(rejects) > 0
    assert conversion.bytes_looked_ahead <= 2 * len(rows)


# --- ranges ----------------------------------------------------------------------------------------------------------
