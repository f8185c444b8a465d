"""The decision about a file (E3b): what is valid, and reasons a person can act on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.etl import header

GOOD = b"transaction_id,customer_id,amount,timestamp"
MIB = 1 << 20


@pytest.mark.parametrize(
    ("head", "line_end", "length"),
    [
        (GOOD, b"\n", len(GOOD)),
        (GOOD + b"\n", b"\n", len(GOOD) + 1),
        (GOOD + b"\r\n1,2\n", b"\r\n", len(GOOD) + 2),
        (b"\xef\xbb\xbf" + GOOD + b"\n", b"\n", len(GOOD) + 4),
        (b"\xef\xbb\xbf\r\n\n" + GOOD + b"\r\nx", b"\r\n", len(GOOD) + 8),
    ],
)
def test_valid_headers(head, line_end, length):
    """E3b: LF or CRLF, with or without rows, a BOM is dropped; empty lines before the header are skipped."""
    found = header.read(head, complete=True)
    assert found.columns == header.REQUIRED_COLUMNS
    assert (found.line_end, found.length) == (line_end, length)
    assert found.text.rstrip(b"\r\n") == GOOD
    assert head[: found.length].endswith(found.text)


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        (b"timestamp,amount,note,customer_id,transaction_id", "timestamp amount note customer_id transaction_id"),
        (b' transaction_id ,"customer_id","amount",\ttimestamp', "transaction_id customer_id amount timestamp"),
        (GOOD + b",note,note,", "transaction_id customer_id amount timestamp note note "),
        (GOOD + b',"with\nline end"', "transaction_id customer_id amount timestamp with\nline,end"),
    ],
)
def test_columns(line, columns):
    """E3b: any order, names trimmed, quoted or not; extra columns may be called anything, twice or nothing."""
    expected = [name.replace(",", " ") for name in columns.split(" ")]
    assert list(header.read(line + b"\n1,2,3,4\n", complete=True).columns) == expected


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"\xef\xbb\xbf", "the file has no header: it contains nothing but empty lines"),
        (b"\n\r\n", "the file has no header: it contains nothing but empty lines"),
        (GOOD.replace(b",", b";"), "the header has 1 column; is the delimiter ';'?"),
        (GOOD.replace(b",", b"\t"), "the header has 1 column; is the delimiter a tab?"),
        (b"hello", "the header has 1 column, 'hello'; it needs 'transaction_id', 'customer_id', 'amount', 'timestamp'"),
        (b"transaction_id,customer_id,Amount", "the header lacks 'amount', 'timestamp'"),
        (b"transaction_id,customer_id,Amount", "its columns are 'transaction_id', 'customer_id', 'Amount'"),
        (GOOD + b", amount", "the header has 'amount' more than once"),
        (GOOD.decode().encode("utf-16"), "it looks like UTF-16 text; save it as UTF-8"),
        (GOOD.decode().encode("utf-16-le"), "it looks like UTF-16, save it as UTF-8"),
        (GOOD + b",\0", "the header is not text: it contains NUL bytes"),
        (GOOD + b",caf\xe9", "the header is not UTF-8 text: byte 0xE9 at its position 47"),
        (GOOD + b',"note\n1,2,3,4,5\n', "a quote in the header does not close properly"),
        (GOOD + b',"note"s\n', "a quote in the header does not close properly"),
        (GOOD + b"\r1,2,3,4\r", "the lines of the file end in CR alone"),
        (b'"a","b"\r"1","2"\r', "the lines of the file end in CR alone"),
        (b"PK\x03\x04...", "it looks like a zip archive or an Excel workbook"),
        (b"\x1f\x8b\x08", "it looks like gzip"),
        (b"1,2,3,4\n", "the header lacks 'transaction_id', 'customer_id', 'amount', 'timestamp'"),
    ],
)
def test_invalid_headers(head, reason):
    """E3b: the reason says what is wrong and, where it can, what to do."""
    with pytest.raises(header.InvalidFile) as fault:
        header.read(head, complete=True)
    assert reason in str(fault.value)


@pytest.mark.parametrize("start", [b"", GOOD + b',"'])
def test_header_must_end_within_the_first_mebibyte(start):
    """E3b: no header within 1 MiB."""
    with pytest.raises(header.InvalidFile, match="no header within the first MiB"):
        header.read((start + b"x" * MIB)[:MIB], complete=False)
    with pytest.raises(header.InvalidFile, match="no header within the first MiB"):
        header.read((start + b"\n" * MIB)[:MIB], complete=False)


def test_faults_behind_the_header_are_not_the_headers():
    """E5b: NUL or broken UTF-8 in a row rejects that row, not the file."""
    assert header.read(GOOD + b"\n\0\xff\n", complete=True).columns == header.REQUIRED_COLUMNS


def test_reasons_are_short():
    """E3b: hostile column names do not make an endless reason."""
    with pytest.raises(header.InvalidFile) as fault:
        header.read(b"x" * 1000 + b",y" * 1000 + b"\n", complete=True)
    assert len(str(fault.value)) < 500


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_get_an_answer(head, complete):
    """E3b: a header or a reason, never another exception."""
    try:
        found = header.read(head, complete=complete)
    except header.InvalidFile:
        return
    assert set(header.REQUIRED_COLUMNS) <= set(found.columns)
