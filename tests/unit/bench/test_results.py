"""Figures of the benchmarks: what is subtracted, divided and compared, and that the pages tell what was measured (E12, C14)."""

import xml.etree.ElementTree as ElementTree

import pytest

from bench import etl, report

MIB = 1 << 20


def measured(contestant, cpu, peak, *, kind="clean", rows=1_000_000):
    return {"kind": kind, "rows": rows, "bytes": 63_000_000, "contestant": contestant, "cpu": cpu, "peak": peak}


NOTHING = measured("nothing", [0.1, 0.1, 0.1], [10 * MIB] * 3)


def test_figures_are_medians_above_the_bare_interpreter():
    [figure] = report.figures([NOTHING, measured("ours", [0.9, 5.0, 1.1], [50 * MIB, 40 * MIB, 90 * MIB])])
    assert figure.microseconds == pytest.approx(1.0)
    assert figure.peak == 40 * MIB
    assert figure.turns == 3


def of(bars, words):
    [found] = [bar for bar in bars if words in bar.name]
    return found


def test_bars_are_ratios():
    """E12."""
    peers = [measured("pandas", [4.0], [0]), measured("polars", [1.1], [0])]
    bars = report.bars([NOTHING, measured("ours", [1.1], [50 * MIB]), *peers])
    assert of(bars, "pandas").measured == pytest.approx(1.0 / 3.9)
    assert not of(bars, "pandas").met
    assert of(bars, "polars").measured == pytest.approx(1.0) and of(bars, "polars").met
    assert of(bars, "MiB above").measured == 40


def test_memory_is_compared_over_sizes():
    """E12: equal within 10 %, whichever is larger."""
    large = {"rows": 5_000_000}
    found = [NOTHING, measured("ours", [1], [50 * MIB]), NOTHING | large, measured("ours", [5], [56 * MIB], **large)]
    assert of(report.bars(found), "largest / smallest").measured == pytest.approx(46 / 40)
    assert not of(report.bars(found), "largest / smallest").met


def test_more_memory_than_the_bar_is_missed():
    """E12."""
    bars = report.bars([NOTHING, measured("ours", [1], [75 * MIB])])
    assert not of(bars, "MiB above").met


COLUMNS = ["transaction_id", "customer_id", "amount"]


def rows(*numbers, **changes):
    return iter([COLUMNS, *([f"T{number:09}", "C", changes.get(f"amount{number}", "1.00")] for number in numbers)])


def test_same_rows_do_not_differ():
    assert not etl.compare(rows(1, 2, 3), rows(1, 2, 3))


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (rows(1, 3), {"a row is missing": 1}),
        (rows(1, 2), {"a row is missing": 1}),
        (rows(1, 2, 3, 4), {"a row more than ours": 1}),
        (rows(0, 1, 2, 3), {"a row more than ours": 1}),
        (rows(1, 2, 3, amount2="2.00"), {"another amount": 1}),
        (iter([["id"], ["T000000001", "C", "1.00"]]), {"another header": 1, "a row is missing": 2}),
        (iter([COLUMNS, ["swallowed\nT000000001"]]), {"a row without an id": 1, "a row is missing": 3}),
    ],
)
def test_differences_are_counted_by_kind(theirs, expected):
    assert etl.compare(rows(1, 2, 3), theirs) == expected


def test_norm_becomes_a_file_of_one_case_a_row(tmp_path):
    """E4a."""
    values = etl.norm_file(tmp_path / "norm.csv")
    text = (tmp_path / "norm.csv").read_text(encoding="utf-8")
    assert len(values) > 100 and "$1,234.50" in text and "05-MAR-2024" in text
    assert text.count("T0") >= len(values)


def test_page_is_what_was_measured():
    """C14: `python -m bench.report` writes it once more."""
    assert report.PAGE.read_text(encoding="utf-8") == report.page(report.load())
    assert report.PLOT.read_text(encoding="utf-8") == report.plot(report.load())


def test_document_holds_what_was_measured():
    """C14: docs/performance.md."""
    document = (report.ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    results = report.load()
    for table in (report.summary(results), report.pipeline_table(results["pipeline"])):
        assert table in document, table


def test_plot_is_a_picture():
    root = ElementTree.fromstring(report.plot(report.load()))
    assert root.tag.endswith("svg")
    assert "this ETL" in "".join(root.itertext())


def test_table_takes_the_place_of_the_one_with_its_columns():
    """C14: what `python -m bench.report` does to docs/performance.md; a table that is not there is no silent success."""
    document = "a\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n\n| x |\n| --- |\n| 3 |\n"
    assert report.with_table(document, report.table(["x"], [[4], [5]])) == document.replace("| 3 |\n", "| 4 |\n| 5 |\n")
    with pytest.raises(AssertionError, match="0 tables"):
        report.with_table(document, report.table(["z"], [[1]]))
