"""Ranges (E12): cuts, and the proof that what many functions convert is what one would have converted."""

import io
import json
import random
from itertools import pairwise

import pytest

from lambdas.etl import header, ranges, rows
from lambdas.etl.ranges import Range
from lambdas.etl.rows import Conversion

COLUMNS = b"transaction_id,customer_id,amount,timestamp,note\n"
HEADER = header.read(COLUMNS, complete=True)
LIMIT = 200
"""Of a record, here, so that files of a few kilobytes meet it."""

NOTES = (
    *(b"x", b"", b"plain", "März €".encode(), b'"quoted"', b'"a, b"', b'"two\nlines"', b'"three\r\n\r\nlines"', b'"a ""b"" c"'),
    *(b'bare "quote" inside', b'"open', b'"closed too early" x', b'"', b'""', b"\xff", b"nul\0", b"a\rb", b"c,d", b"e,f,g"),
    *(b'"' + b"long\n" * 30 + b'"', b'"' + b"too long\n" * 60 + b'"', b"y" * 150, b"z" * 250),
)
AMOUNTS = (b"1.00", b"$1", b"(2.50)", b"1e3", b"nothing", b"", b'"1,000.10"')
ENDS = (b"\n", b"\n", b"\n", b"\r\n", b"\n\n")


def random_file(seed: int) -> bytes:
    """Quoted line ends, bare quotes, quotes that never close, CRLF, multi-byte text, bytes that are no text, overlong rows."""
    dice = random.Random(seed)
    good = dice.choice((0.3, 0.9, 0.99))
    lines = []
    for number in range(dice.randrange(1, 700 if seed % 25 == 0 else 120)):
        note = b"n" if dice.random() < good else dice.choice(NOTES)
        amount = b"1.00" if dice.random() < good else dice.choice(AMOUNTS)
        lines += [b"t%d,c,%b,2024-03-05T10:11:12Z,%b" % (number, amount, note), dice.choice(ENDS)]
    return COLUMNS + b"".join(lines[: dice.choice((None, -1))])


def convert(file: bytes, start: int, end: int | None = None, block: int = 1000) -> tuple[Conversion, bytes, list[dict]]:
    rejects = io.BytesIO()
    conversion = Conversion(HEADER, rejects.write, offset=start, end=end, limit=LIMIT)
    data = file[start : len(file) if end is None else end + LIMIT + 2]
    output = b"".join(conversion.convert(data[at : at + block] for at in range(0, len(data), block)))
    return conversion, output, [json.loads(line) for line in rejects.getvalue().splitlines()]


def ends(file: bytes) -> tuple[list[int], set[int]]:
    """Where lines end, save for the last one, and at which of these places a record ends."""
    lines = [at + 1 for at in range(HEADER.length, len(file) - 1) if file[at : at + 1] == b"\n"]
    records, start = set(), HEADER.length
    for end in lines:
        if convert(file, start, end)[0].offset == end:
            records.add(end)
            start = end
    return lines, records


def convert_in_ranges(file: bytes, cuts: list[int]) -> tuple[list[dict], bytes, list[dict]]:
    """-> parts as the proof wants them, output, rejects."""
    parts, output, rejects = [], b"", []
    for index, (start, end) in enumerate(zip([HEADER.length, *cuts], [*cuts, len(file)], strict=True)):
        conversion, converted, rejected = convert(file, start, end)
        output += converted
        rejects += rejected
        parts.append({"index": index, "start": start, "end": end, "reached": conversion.offset, "bytes": len(converted)})
    return parts, output, rejects


@pytest.fixture(autouse=True)
def _parts_may_be_small(monkeypatch):
    monkeypatch.setattr(ranges, "MIN_PART_BYTES", 0)


@pytest.mark.parametrize("seed", range(250))
def test_ranges_give_what_one_piece_gives(seed):
    """E12: byte for byte the same output, the same rejects by offset and reason, whenever the proof holds; and it holds for
    every plan that cuts between records only. Up to a range for each line."""
    file = random_file(seed)
    _, whole, whole_rejects = convert(file, HEADER.length)
    dice = random.Random(seed)
    ends_of_lines, ends_of_records = ends(file)
    proved = discarded = 0
    for _ in range(4):
        cuts = sorted(dice.sample(ends_of_lines, min(dice.choice((1, 3, 20, 499)), len(ends_of_lines))))
        right = ends_of_records.intersection(cuts)
        for plan in (cuts, [at for at in cuts if at in right]):
            parts, output, rejects = convert_in_ranges(file, plan)
            fault = ranges.fault(len(file), HEADER.length, parts)
            assert (fault is None) == (set(plan) <= right)
            if fault is None:
                assert (output, rejects) == (whole, whole_rejects)
            proved += fault is None
            discarded += fault is not None
    assert proved


def test_some_cuts_are_wrong():
    """The test above would prove little if no file had places that only look like the end of a record."""
    wrong = 0
    for seed in range(50):
        ends_of_lines, ends_of_records = ends(random_file(seed))
        wrong += len(ends_of_records) < len(ends_of_lines)
    assert wrong > 25


def test_quote_that_never_closes_costs_one_row_wherever_it_stands():
    """E5b, E12: also in the last line of a range, where only the look-ahead can tell."""
    good = b"t,c,1.00,2024-03-05T10:11:12Z,x\n"
    file = COLUMNS + good * 20 + b't,c,1.00,2024-03-05T10:11:12Z,"open\n' + good * 20
    cut = file.index(b"open\n") + 5
    parts, output, rejects = convert_in_ranges(file, [cut])
    assert ranges.fault(len(file), HEADER.length, parts) is None
    assert (output.count(b"\n"), len(rejects)) == (40, 1)


def test_cut_within_a_quoted_field_is_detected():
    """E12: deliberately wrong; the range before it knows."""
    good = b"t,c,1.00,2024-03-05T10:11:12Z,x\n"
    file = COLUMNS + good * 5 + b't,c,1.00,2024-03-05T10:11:12Z,"' + good * 3 + b'"\n' + good * 5
    cut = file.index(b',"t,') + 2 + len(good)
    parts, _, _ = convert_in_ranges(file, [cut])
    assert "last record" in ranges.fault(len(file), HEADER.length, parts)


@pytest.mark.parametrize("shift", [-3, 3])
def test_cut_within_a_line_is_detected(shift):
    """E12."""
    good = b"t,c,1.00,2024-03-05T10:11:12Z,x\n"
    file = COLUMNS + good * 50
    parts, _, _ = convert_in_ranges(file, [HEADER.length + 10 * len(good) + shift])
    assert ranges.fault(len(file), HEADER.length, parts)


# --- the proof -------------------------------------------------------------------------------------------------------


def part(index, start, end, **other):
    return {"index": index, "start": start, "end": end, "reached": end, "bytes": end - start, **other}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([part(1, 20, 30), part(0, 10, 20)], None),
        ([part(0, 10, 20)], "end at byte 20, the file at 30"),
        ([part(0, 10, 20), part(1, 21, 30)], "range 1 starts at byte 21 instead of 20"),
        ([part(0, 11, 20), part(1, 20, 30)], "range 0 starts at byte 11 instead of 10"),
        ([part(0, 10, 20), part(0, 10, 20), part(1, 20, 30)], "starts at byte 10 instead of 20"),
        ([part(0, 10, 20), part(2, 20, 30)], "range 1 is missing"),
        ([part(0, 10, 20, reached=22), part(1, 20, 30)], "its last record at byte 22"),
        ([part(0, 10, 20, reached=18), part(1, 20, 30)], "its last record at byte 18"),
        ([], "the ranges end at byte 10"),
    ],
)
def test_proof(parts, says):
    """E12: in order, without gap or overlap, from the header to the end."""
    fault = ranges.fault(30, 10, parts)
    assert fault is None if says is None else says in fault


def test_parts_that_s3_would_refuse_are_no_plan(monkeypatch):
    """E12: 5 MiB at least, save for the last: many rejected rows leave less."""
    monkeypatch.setattr(ranges, "MIN_PART_BYTES", 5)
    assert ranges.fault(30, 10, [part(0, 10, 20, bytes=5), part(1, 20, 30, bytes=0)]) is None
    assert "fewer than S3 takes" in ranges.fault(30, 10, [part(0, 10, 20, bytes=4), part(1, 20, 30)])


# --- the plan --------------------------------------------------------------------------------------------------------

GOOD = b"t1,c1,1.00,2024-03-05T10:11:12Z,x\n"


def plan(file: bytes, monkeypatch, length: int = 1000) -> list[Range]:
    monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", length)
    return ranges.plan(len(file), HEADER, lambda start, end: file[start:end])


def test_plan_covers_the_file(monkeypatch):
    """E12: from the first row to the end, cut after line feeds; the header belongs to nobody's range."""
    file = COLUMNS + GOOD * 500
    planned = plan(file, monkeypatch)
    assert [each.index for each in planned] == list(range(len(planned)))
    assert (planned[0].start, planned[-1].end) == (HEADER.length, len(file))
    assert all(before.end == after.start for before, after in pairwise(planned))
    assert all(file[each.end - 1 : each.end] == b"\n" for each in planned)
    lengths = [each.end - each.start for each in planned]
    assert max(lengths) - min(lengths) < 2 * (len(GOOD) + len(COLUMNS))  # equal shares
    assert len(planned) == 17


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1999, 1), (2000, 2), (2999, 2), (399_999, 399), (10**9, 400)])
def test_number_of_ranges(size, count, monkeypatch):
    """E12: as many as are long enough, 400 at most; no range is longer than the share of one."""
    monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", 1000)
    planned = ranges.plan(size, HEADER, lambda start, end: b"\n" + GOOD * 3)
    assert len(planned) == count
    assert all(each.end - each.start <= max(1000 * 2 - 1, -(-size // 400)) for each in planned)


def test_never_more_ranges_than_the_maps_results_may_have(monkeypatch):
    """E12: 400."""
    file = COLUMNS + GOOD * 20_000
    assert len(plan(file, monkeypatch, length=100)) <= ranges.MAX_RANGES


@pytest.mark.parametrize("rest", [b"", GOOD, b'"' + b"\n" * 5000 + b'"\n', b"no,rows\n" * 2000])
def test_what_cannot_be_cut_is_one_range(rest, monkeypatch):
    """E12: too small, one record, nothing that looks like a row."""
    assert len(plan(COLUMNS + rest, monkeypatch)) == 1


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (b"rest of a line\n" + GOOD * 3, 15),
        (b"\n" + GOOD * 3, 1),
        (b"rest\n" + GOOD * 2, None),
        (b"rest\n" + GOOD * 2 + GOOD[:-1], None),
        (b"a\nb\n" + GOOD * 3, 4),
        (b'inside a quoted field\nof two more\nlines",x\n' + GOOD * 3, 43),
        (b"rest\n" + GOOD + b"bad\n" + GOOD * 3, 5 + len(GOOD) + 4),
        (b"no line feed at all", None),
        (b"", None),
    ],
)
def test_cut_has_three_good_rows_behind_it(sample, expected):
    """E12: so it is right in 1,000 of 1,000 trials; the plain next line feed was wrong in 4 of 100."""
    assert ranges.find_cut(sample, HEADER) == expected


def test_range_of_a_limit_is_looked_beyond():
    """E12: what decides about a range's last record."""
    assert rows.LOOK_AHEAD_BYTES == rows.MAX_RECORD_BYTES + 2
