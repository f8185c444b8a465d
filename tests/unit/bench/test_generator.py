"""The files that benchmarks convert are the same each time, and are what they say (E12, C13)."""

import csv
import hashlib
import io
import itertools
import json

import pytest

from bench import data
from lambdas.etl import header
from lambdas.etl.rows import Conversion

ROWS = data.BLOCK_ROWS + 2_000  # more than a block
KNOWN = {
    "clean": "6b3f05b16ddfc99bd66cb7e781702dd3253886f9b3016e798756009d0942106a",
    "messy": "5c4e0d8fe89f3d12298d824e0da95f8742f5c0a4004bf4be8643e3ddeaf69765",
    "harsh": "546a7fb1e2fd591e824d7fde802b40ea75375826916bdd6d8d3ba9827be1baff",
}


def converted(file: bytes) -> tuple[bytes, list[dict]]:
    """What the ETL makes of a file: the output, the rejects."""
    found, rejects = header.read(file, complete=True), io.BytesIO()
    conversion = Conversion(found, rejects.write, offset=found.length)
    output = found.text + b"".join(conversion.convert([file[found.length :]]))
    return output, [json.loads(line) for line in rejects.getvalue().splitlines()]


@pytest.mark.parametrize("kind", data.KINDS)
def test_same_bytes_each_time(kind):
    """On every machine and Python, or results could not be compared."""
    assert hashlib.sha256(b"".join(data.file(kind, ROWS))).hexdigest() == KNOWN[kind]


def test_shorter_file_is_the_beginning_of_a_longer_one():
    short, long = (b"".join(data.file("messy", rows)) for rows in (1_234, ROWS))
    assert long.startswith(short)
    assert len(list(csv.reader(io.StringIO(short.decode(), newline="")))) == 1_235


def test_clean_is_what_comes_out():
    file = b"".join(data.file("clean", ROWS))
    assert converted(file) == (file, [])


def test_messy_rejects_what_was_spoiled_and_nothing_else():
    """Else the peers would be measured on another job."""
    output, rejects = converted(b"".join(data.file("messy", ROWS)))
    assert len(rejects) == ROWS // data.REJECTED_EVERY
    assert {each["reason"].split(" ")[0] for each in rejects} == {"transaction_id", "customer_id", "amount", "timestamp"}
    assert len(list(csv.reader(io.StringIO(output.decode(), newline="")))) == 1 + ROWS - len(rejects)


def test_messy_stays_below_the_share_at_which_a_file_is_invalid():
    """E5c: the whole pipeline publishes it."""
    assert 1 / data.REJECTED_EVERY < 0.01


def test_messy_has_every_form():
    forms = [*itertools.chain(data.AMOUNTS, data.TIMESTAMPS)]
    assert sum(share for share, _ in data.AMOUNTS) == sum(share for share, _ in data.TIMESTAMPS) == 100
    assert all(share >= 1 for share, _ in forms)


def test_harsh_breaks_rows_that_stay_single():
    """E5b: one line of each break is rejected, its neighbours are not."""
    messy, harsh = (converted(b"".join(data.file(kind, ROWS)))[1] for kind in ("messy", "harsh"))
    broken = ROWS // data.BROKEN_EVERY
    assert len(messy) < len(harsh) <= len(messy) + broken + len(data.BREAKS)
    reasons = " ".join(each["reason"] for each in harsh)
    for fault in ("columns, the header has", "quote does not close", "not UTF-8"):
        assert fault in reasons


def test_repeated_is_as_large_as_wanted():
    file = b"".join(data.repeated("clean", 10_000_000))
    assert 10_000_000 <= len(file) < 11_000_000
    assert file.count(data.HEADER) == 1


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="is none of clean, messy, harsh"):
        next(data.file("filthy", 1))
