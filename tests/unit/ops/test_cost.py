"""The cost model (O5): its arithmetic, and that it counts with what was measured and tells what it counts."""

import dataclasses
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from lambdas.etl import ranges as cuts
from lambdas.etl import rows, storage
from ops import cost

ROOT = Path(__file__).resolve().parents[3]
MODEL = cost.load()
GIB = 1 << 30


def test_ranges_are_those_of_the_etl():
    """O5, E12."""
    assert (cost.MIN_RANGE_BYTES, cost.MAX_RANGES) == (cuts.MIN_RANGE_BYTES, cuts.MAX_RANGES)
    assert storage.BLOCK_BYTES == cost.BLOCK_BYTES
    assert 0 <= rows.LOOK_AHEAD_BYTES - cost.LOOK_AHEAD_BYTES <= 2
    sizes = (1, 256 << 20, (256 << 20) + 1, GIB, 1000 * GIB)
    assert [cost.ranges(MODEL, size) for size in sizes] == [0, 0, 4, 16, 400]


def test_small_file_by_hand():
    """O5: six transitions at $25 a million, three invocations, and so on."""
    parts = cost.etl_file(MODEL, 1000, "clean").parts
    assert parts["state transitions"] == pytest.approx(6 * 0.000025)
    assert parts["Lambda, requests"] == pytest.approx(3 * 0.0000002)
    assert parts["S3 requests"] == pytest.approx((1 + 1 + 3) * 0.0000004 + 2 * 0.000005)
    assert parts["DynamoDB writes"] == pytest.approx(5 * 0.000000625)


def test_large_file_pays_for_each_range():
    """O5, E12: 9 transitions and one for each range."""
    parts = cost.etl_file(MODEL, GIB, "clean").parts
    assert parts["state transitions"] == pytest.approx((9 + 16) * 0.000025)
    assert parts["Lambda, requests"] == pytest.approx((2 + 2 + 16) * 0.0000002)


def with_(**changes):
    """The model with other values of its tables."""
    return dataclasses.replace(MODEL, **{name: {**getattr(MODEL, name), **values} for name, values in changes.items()})


def test_time_is_rows_and_waits():
    """O5: one vCPU for the CPU time measured."""
    model = with_(measured={"bytes_per_row": 100, "etl_microseconds": {"clean": 1.0}, "io_cpu_seconds_per_gib": 0},
                  assumed={"billed_seconds_per_invocation": 0, "lambda_speed": 0.5})
    million = cost.etl_file(model, 100_000_000, "clean").parts["Lambda, time"]
    assert million == pytest.approx(2.0 * 1769 / 1024 * 0.0000133334)


def test_glue_pays_for_a_minute_of_two_at_least():
    """O5."""
    assert cost.glue_file(MODEL, 1, "clean", "polars") == pytest.approx(2 * 0.44 / 60)
    large = cost.glue_file(MODEL, 10**13, "messy", "pandas")
    assert large == pytest.approx(MODEL.rows_seconds("pandas", "messy", 10**13) / 4 / 3600 * 0.44)


def test_pandas_does_not_fit_into_every_lambda():
    """O5: 10 GiB, 15 minutes."""
    assert cost.pandas_file(MODEL, 10**6, "clean")
    assert cost.pandas_file(MODEL, 5 * 10**9, "clean") is None  # for its memory; in time it would be
    assert MODEL.rows_seconds("pandas", "clean", 5 * 10**9) < cost.LAMBDA_TIMEOUT_SECONDS
    slow = with_(measured={"pandas_microseconds": {"clean": 1e6}})
    assert cost.pandas_file(slow, 10**6, "clean") is None


def test_idle_month_is_the_collection():
    """O5: half a unit for each of two, doubled by replicas, 730 hours."""
    without, with_replicas = (cost.idle_month(MODEL, "metadata", standby=standby).parts for standby in (False, True))
    assert without["OpenSearch Serverless"] == pytest.approx(175.2)
    assert with_replicas["OpenSearch Serverless"] == pytest.approx(350.4)
    assert cost.idle_month(MODEL, "etl").total < 10


def test_dollars_keep_two_digits():
    """O5."""
    assert [cost.dollars(usd) for usd in (0.00018123, 0.0149, 0.5, 12.345, 1234.5, 0)] == [
        "$0.00018", "$0.015", "$0.50", "$12.35", "$1,234.50", "$0.00"]


def test_every_price_has_a_source_and_a_day():
    """O5."""
    for price in MODEL.prices.values():
        assert price.source.startswith("https://aws.amazon.com/") and price.said_by and price.usd > 0
        assert price.read.year >= 2026


def test_it_counts_with_what_was_measured():
    """O5: bench/results.json, rounded."""
    written = cost.TABLE.read_text(encoding="utf-8")
    for name, value in report.measured_for_cost(report.load()).items():
        assert re.search(rf"^{name} = {re.escape(value)}(?: |$)", written, re.MULTILINE), (name, value)


def test_document_holds_what_the_command_prints():
    """O5, C14."""
    document = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", cost.page(), re.MULTILINE):
        assert table in document, table


def test_command_prints_every_table():
    """O5."""
    done = subprocess.run([sys.executable, "-m", "ops", "cost"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == cost.page()
    assert not math.isnan(len(done.stdout)) and done.stdout.count("\n## ") == 3
