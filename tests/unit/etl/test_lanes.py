"""The lanes of the conversion (E4a, E5b): what the fast ones take, the careful one would have converted to the same bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.etl import header, rows
from tests.unit.etl.test_values import CASES

SIGNS = [b"", b"+", b"-", b"$", b"+$", b"-$", b"$+", b"$-", b"+-", b"$$", b"+$-", b"+ ", b"$ ", b"  ", b" +$", b"\t"]
AMOUNTS = [value.encode() for kind, value, _ in CASES if kind == "amount"]
AMOUNTS += [sign + number for sign in SIGNS for number in (b"5.00", b"0.00", b"1.5 ", b" 1.50 ", b"1.50\t")]
TIMESTAMPS = [value.encode() for kind, value, _ in CASES if kind == "timestamp"]
DAYS = [b"2024-%02d-%02dT10:11:12Z" % (month, day) for month in range(14) for day in (0, 1, 28, 29, 30, 31, 32)]
NOTES = [
    *(b"", b"x", b" ", "é".encode(), b"\r", b"\0", b"\xff"),
    *(b'"', b'""', b'"q"', b'"a, b"', b'"a ""b"""', b'"""', b'"a"b', b'a"b"', b'",",""', b'"a\nb"', b'"a\r\n""b"'),
]

FIELDS = {
    "transaction_id": st.sampled_from([b"t", b"t", b" t ", b"\tt", b"", b"  ", *NOTES]),
    "customer_id": st.sampled_from([b"c", b"c", b"c d", b"", b"\v", *NOTES]),
    "amount": st.sampled_from([b"1.00", b"-1.50", b"0.00", b"-0.00", *AMOUNTS, *NOTES]),
    "timestamp": st.sampled_from([b"2024-03-05T10:11:12Z", *TIMESTAMPS, *DAYS, *NOTES]),
    "note": st.sampled_from(NOTES),
    "more": st.sampled_from(NOTES),
}


@st.composite
def files(draw):
    """A header in any order, and rows with or without quotes around everything."""
    names = draw(st.permutations([*FIELDS][: draw(st.integers(4, 6))]))
    line_end = draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = [",".join(names).encode() + line_end]
    for _ in range(draw(st.integers(1, 6))):
        values = [draw(FIELDS[name]) for name in names]
        if draw(st.booleans()):
            values = [value if b'"' in value else b'"%b"' % value for value in values]
        lines += [b",".join(values), draw(st.sampled_from([line_end, line_end, b"\n", b"\r\n", b"\n\n"]))]
    return b"".join(lines)


def convert(file):
    rejects = []
    found = header.read(file, complete=True)
    conversion = rows.Conversion(found, rejects.append, offset=found.length)
    output = b"".join(conversion.convert([file[found.length :]]))
    return output, [json.loads(line) for line in rejects], conversion.rows_written, conversion.offset


def convert_carefully(file):
    """Without the fast lanes: no line passes for text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_end_of_text", lambda data, start, stop: start)
        return convert(file)


@given(files())
def test_lanes_agree(file):
    """E4a, E5a: the same output, rejects, reasons and offsets, with and without the fast lanes."""
    assert convert(file) == convert_carefully(file)


@pytest.mark.parametrize("quote", [b"%b", b'"%b"'])
@pytest.mark.parametrize("name", ["amount", "timestamp"])
def test_lanes_agree_on_every_value(name, quote):
    """E4a: the value table, in a row of its own each, as the first, a middle and the last column."""
    values = {"amount": AMOUNTS, "timestamp": [*TIMESTAMPS, *DAYS]}[name]
    good = {"transaction_id": b"t", "customer_id": b"c", "amount": b"1.00", "timestamp": b"2024-03-05T10:11:12Z"}
    for names in (sorted(good), sorted(good, reverse=True), [*(set(good) - {name}), name]):
        lines = [b",".join(quote % (value if each == name else good[each]) for each in names) for value in values]
        file = b"\n".join([",".join(names).encode(), *lines, b""])
        assert convert(file) == convert_carefully(file)


def test_fast_lanes_take_what_is_sound(monkeypatch):
    """E4a: the careful lane is not asked about clean lines, quoted or not, nor about values in other forms."""
    monkeypatch.setattr(rows.Conversion, "_convert_carefully", None)
    clean = b't,c,1.00,2024-03-05T10:11:12.5Z,"a, ""b"""\n'
    odd = b't,c,"$1,000",03/05/2024 10:11,\n'
    quoted = b'"t","c","1.00","2024-03-05T10:11:12.5Z","x"\n'
    output, *_ = convert(b"transaction_id,customer_id,amount,timestamp,note\n" + (clean + odd + b"\n" + quoted) * 2)
    plain = clean.replace(b'"a, ""b"""', b"x")
    assert output == (clean + b"t,c,1000.00,2024-03-05T10:11:00Z,\n" + plain) * 2
