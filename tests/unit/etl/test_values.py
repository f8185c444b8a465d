"""Amounts and timestamps (E4a): the value table case by case, and what a table cannot list."""

import csv
import re
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.etl import values

CONVERT = {"amount": values.amount, "timestamp": values.timestamp}
with Path(__file__).with_name("values.csv").open(encoding="utf-8", newline="") as file:
    CASES = [(row["kind"], row["input"], row["output"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("kind", "value", "expected"), CASES)
def test_value_table(kind, value, expected):
    """E4a: values.csv is normative; an empty output means that the row is rejected."""
    assert CONVERT[kind](value.encode()) == (expected.encode() or None)


@pytest.mark.parametrize(("kind", "value", "expected"), [case for case in CASES if case[2]])
def test_canonical_values_stay(kind, value, expected):
    """E4a: converting twice changes nothing, so that a replayed output is stable."""
    assert CONVERT[kind](expected.encode()) == expected.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("-0.05", "-0.05"),
        ("00.00", "0.00"),
        ("1.50e1", "15.00"),
        ("12345e-7", "0.0012345"),
        ("100e-2", "1.00"),
        ("1e-30", "0." + "0" * 29 + "1"),
        ("0e30", "0.00"),
        ("-0e-3", "0.000"),
        ("$+5", "5.00"),
        ("\v5\f", "5.00"),
        ("1e-31", ""),
        ("1e9999999999", ""),
        ("0,123", ""),  # more likely a decimal comma than a hundred and twenty-three
        ("1234,567", ""),
        ("1,2345", ""),
        (".", ""),
        ("()", ""),
        ("-(5)", ""),
        ("$(5)", ""),
        ("($-5)", ""),
        ("$$5", ""),
        ("\u20035", ""),
        ("5\x00", ""),
    ],
)
def test_further_amounts(value, expected):
    """E4a: edges of the rule in words."""
    assert values.amount(value.encode()) == (expected.encode() or None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-03-05T10:11:12-00:00", "2024-03-05T10:11:12Z"),
        ("2024-03-05T10:11+02", "2024-03-05T08:11:00Z"),
        ("0999-01-01T00:30:00+01:00", "0998-12-31T23:30:00Z"),
        ("1709633472000", "2024-03-05T10:11:12.000Z"),
        ("9999999999", "2286-11-20T17:46:39Z"),
        ("12/31/2024 23:59", "2024-12-31T23:59:00Z"),
        ("2024-02-28T23:30-01:00", "2024-02-29T00:30:00Z"),
        ("9999-12-31T23:30:00-01:00", ""),
        ("0001-01-01T00:30:00+01:00", ""),
        ("31536000", ""),
        ("999999999", "2001-09-09T01:46:39Z"),
        ("03/05/2024T10:11", ""),
        ("03/05/2024 10:11Z", ""),
        ("03/05/2024 10:11:12.5", ""),
        ("05-Mar-2024 10:11", ""),
        ("05-Mar-2024T10:11:12", ""),
        ("2024-03-05T", ""),
        ("2024-03-05  10:11", ""),
        ("2024-03-05T10:11ZZ", ""),
        ("2024-03-05Z", ""),  # an offset needs a time
        ("2024-03-05T10:11:12+02:60", ""),
        ("2024-03-05T10:11:12.Z", ""),
        ("05-Mar-2024", ""),
        ("02/30/2024", ""),
        ("2024-03-05T10", ""),
        ("2024-03-05T10:11:12Z\x00", ""),
        ("2024-02-30T10:11:12Z", ""),
        ("20x4-03-05T10:11:12Z", ""),
    ],
)
def test_further_timestamps(value, expected):
    """E4a: edges of the rule in words."""
    assert values.timestamp(value.encode()) == (expected.encode() or None)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**17), max_value=10**17, places=9))
def test_amounts_are_exact(number):
    """E4a: exact decimals: neither rounding nor a float's digits."""
    converted = values.amount(f"{number:f}".encode())
    assert Decimal(converted.decode()) == number
    assert len(converted.split(b".")[1]) >= 2


@given(st.binary(max_size=40))
def test_any_bytes_are_converted_or_refused(value):
    """E5a: whatever stands in a field, there is an answer and no exception; an answer is stable."""
    for convert in CONVERT.values():
        converted = convert(value)
        assert converted is None or convert(converted) == converted


@pytest.mark.parametrize("value", [b"9", b"1,", b"1,234", b",234", b" ", b"(", b"1e", b".0", b"2024-"])
def test_long_values_are_no_trap(value):
    """E5b: linear work: a field of 1 MiB is answered, whatever it repeats, and leaves nothing in a cache."""
    before = values._cached_amount.cache_info().currsize
    value *= 2**20 // len(value)
    assert values.amount(value) is None
    values.amount(b"0." + value)
    assert values.timestamp(value) is None
    assert values._cached_amount.cache_info().currsize == before


# --- columns ---------------------------------------------------------------------------------------------------------

COLUMNS = {"amount": (values.AMOUNT_PARTS, values.amounts), "timestamp": (values.TIMESTAMP_PARTS, values.timestamps)}
NUMBERS = ["0", "0.00", "0.5", ".5", "07", "12.", "1,234.5", "1,234,5", "9" * 18, "9" * 19]
DAYS = ["2024-02-29", "2023-02-29", "1900-02-29", "02/29/2024", "29-Feb-2024", "0001-01-01"]
TIMES = ["", "T", " 10:11", "T10:11", "10:11", "T24:00", " 00:30:59", "T10:11:12.5", " 10:11:60"]
FURTHER = {
    "amount": [*map("".join, product(["", "$", "-$", "+", "(", "($", "()", "$+", " "], NUMBERS, ["", ")", " ", "$", "-"]))],
    "timestamp": [*map("".join, product(DAYS, TIMES, ["", "Z", " ", "+01:00", "-23", ".1234567890", " Z"]))],
}


def by_columns(kind, fields):
    """What the column's function answers for these fields; those that its pattern does not take cannot be converted."""
    pattern, convert = COLUMNS[kind]
    found = [re.match(rb"%b(?=,)" % pattern, field + b",") for field in fields]
    rows = [match.groups() for match in found if match]
    columns, failed = convert([list(column) for index, column in enumerate(zip(*rows, strict=True)) if index != 1])
    answers = iter([None if row in failed else b"".join(parts) for row, parts in enumerate(zip(*columns, strict=True))])
    return [next(answers) if match else None for match in found]


@pytest.mark.parametrize("kind", COLUMNS)
@given(data=st.data())
def test_columns_are_converted_as_values_are(kind, data):
    """E4a: value by value, quoted or not, in any company."""
    known = [value for each, value, _ in CASES if each == kind] + FURTHER[kind]
    drawn = [value.encode() for value in data.draw(st.lists(st.sampled_from(known), min_size=1))]
    quoted = [b'"%b"' % value for value in drawn]
    plain = [value for value in drawn if b"," not in value]
    expected = [CONVERT[kind](value) for value in drawn]
    assert by_columns(kind, [*quoted, b'"1"'])[:-1] == expected
    assert by_columns(kind, [*plain, b"1"])[:-1] == [CONVERT[kind](value) for value in plain]


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_every_value(kind):
    """E4a: the table and its neighbours, whole."""
    known = [value.encode() for each, value, _ in CASES if each == kind] + [value.encode() for value in FURTHER[kind]]
    assert by_columns(kind, [b'"%b"' % value for value in known]) == [CONVERT[kind](value) for value in known]
