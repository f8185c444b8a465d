"""The report of a local run (L1): true, complete, self-contained, and unmoved by hostile input."""

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from local.etl_exercise import EtlOutcome, EtlSystem
from local.executions import Execution, StateRun
from local.exercise import Result, Sample
from local.ingestion_exercise import IngestionOutcome, IngestionSystem
from local.metadata import Number
from local.metadata_exercise import FAILED, IGNORED, INDEXED, LOST, MetadataOutcome, MetadataSystem
from local.pets_exercise import PetOutcome, PetSystem
from local.pictures import FOLDER
from local.report import RunFacts, axis, duration, headline, timeline, visible, write_report
from local.report import render as render_results
from local.systems import SYSTEMS

START = datetime(2026, 1, 31, 14, 5, 9, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>"
FACTS = RunFacts(
    when=START,
    phases={"deploy": 71.44, "samples": 9.84},
    versions={"Terraform": "1.9.8", "Python": "3.13.1"},
    suffix="local",
    outputs={"tap": {"etl_bucket_name": "etl-pipeline-local-1", "etl_dashboard_url": "https://us-east-1.console.aws.amazon.com/x"}},
)


def execution(*states, seconds=4.0, status="SUCCEEDED", error=None):
    """States as (name, seconds after the start, duration, failed)."""
    runs = [StateRun(name, "Task", START + timedelta(seconds=after), took, failed) for name, after, took, failed in states]
    return Execution("arn:aws:states:us-east-1:1:execution:etl:1", status, START, seconds, tuple(runs), error)


def outcome(name="good.csv", *, record=None, run=None, notices=(), faults=(), expected=None):
    sample = Sample(name, b"", expected or {"status": "SUCCEEDED"})
    record = {"status": "SUCCEEDED", "rows_read": 1500, "rows_written": 1499, "rows_rejected": 1} if record is None else record
    return EtlOutcome(sample, run, tuple(faults), record, tuple(notices), f"processed/{name}")


def stored(name="metadata.json", status=INDEXED, *, document=None, failure=None, run=None, faults=(), expected=None, seconds=1.5):
    """What became of a metadata file."""
    sample = Sample(name, b"", expected or {"outcome": status})
    return MetadataOutcome(sample, run, tuple(faults), status, document, failure, seconds)


DOCUMENT = {"@timestamp": "2026-01-31T14:05:09Z", "ingest": {"id": "0123456789abcdef" * 4, "key": "metadata.json"},
            "whole": Number("9007199254740993"), "exponent": Number("1E400"), "text": "9007199254740993"}
FAILURE = {"execution_id": "arn:aws:states:us-east-1:1:execution:metadata:1", "failed_at": "2026-01-31T14:05:10.000Z",
           "input": '{"detail": {}}', "error": "InvalidMetadata", "cause": "it is empty", "object_key": "a/metadata.json"}


def photographed(name="cat.jpg", *, body=None, record=None, alerts=(), run=None, faults=(), expected=None, seconds=1.5):
    """What became of a picture."""
    body = (FOLDER / "cat.jpg").read_bytes() if body is None else body
    return PetOutcome(Sample(name, body, expected or {"status": "completed"}), run, tuple(faults),
                      RECORD if record is None else record, tuple(alerts), {"status": "completed"}, seconds)


RECORD = {"ImageID": "0b5ef1c4-6e70-4f0e-9c2e-6f1a1f0c8a11", "ProcessingStatus": "completed", "DetectedAnimal": "cat",
          "ConfidenceScore": 97.4, "S3Location": "s3://pets/cats/0b5ef1c4/cat.jpg", "SourceKey": "input/0b5ef1c4/cat.jpg"}


def render(etl_outcomes, facts=FACTS, metadata_outcomes=None):
    """A report of the ETL pipeline, and of the metadata pipeline too if there are outcomes of it."""
    results = [Result(EtlSystem(), etl_outcomes)]
    if metadata_outcomes is not None:
        results.append(Result(MetadataSystem(), metadata_outcomes))
    return render_results(results, facts)


class Page(HTMLParser):
    """Elements, attributes and text of a page, as a browser would take them."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open, self.unbalanced = [], [], "", [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)
        if tag in {"td", "th"}:
            self.text += "\n"

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ([], "No file was sent"),
        ([()], "The file ended as expected"),
        ([(), ()], "All 2 files ended as expected"),
        ([(), ("late",), ("lost", "late")], "2 of 3 files did not end as expected"),
    ],
)
def test_headline_says_whether_all_is_well(faults, sentence):
    outcomes = [outcome(f"{number}.csv", faults=each) for number, each in enumerate(faults)]
    assert headline([Result(EtlSystem(), outcomes[:1]), Result(EtlSystem(), outcomes[1:])]) == sentence
    page = render(outcomes, FACTS)
    assert f"{sentence}</h1>" in page
    assert ('role="alert"' in page) == any(faults)
    assert ('<span class="sign good"' in page) == (bool(faults) and not any(faults))


def test_faults_are_named_with_their_file_on_top_and_its_details_open():
    page = render([outcome("a.csv"), outcome("b.csv", faults=["status is FAILED instead of SUCCEEDED"])], FACTS)
    alert = page[page.index('role="alert"') : page.index("</header>")]
    assert 'href="#etl-2"' in alert
    assert "b.csv" in alert
    assert "status is FAILED instead of SUCCEEDED" in alert
    assert "a.csv" not in alert
    assert re.findall(r'<details id="(etl-\d+)"( open)?>', page) == [("etl-1", ""), ("etl-2", " open")]


def test_every_sample_is_listed_with_its_own_details():
    etl, metadata = EtlSystem().samples(), MetadataSystem().samples()
    page = Page(render(
        [EtlOutcome(each, None, (), {}, (), f"raw/{each.file_name}") for each in etl], FACTS,
        [MetadataOutcome(each, None, (), LOST, None, None, None) for each in metadata]))
    assert page.tags.count("details") == len(etl) + len(metadata)
    for each in (*etl, *metadata):
        assert page.text.count(each.file_name) >= 2, each.file_name  # table, details
    targets = {value for _, name, value in page.attributes if name == "href"}
    numbered = {f"#{name}-{number}" for name, samples in (("etl", etl), ("metadata", metadata))
                for number in range(1, len(samples) + 1)}
    assert targets == numbered | {"#etl", "#metadata"}
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in targets} <= set(ids)


def test_hostile_text_comes_out_as_text_wherever_it_stands():
    run = execution((HOSTILE, 0, 1, True), status=HOSTILE, error=HOSTILE)
    run = replace(run, states=tuple(replace(state, kind=HOSTILE) for state in run.states))
    hostile = EtlOutcome(
        Sample(HOSTILE, b"", {"status": HOSTILE, HOSTILE: '"onclick="x'}), run, (HOSTILE,),
        {"status": HOSTILE, "error_message": HOSTILE, HOSTILE: HOSTILE},
        ({"Subject": HOSTILE, "Message": f"</pre>{HOSTILE}"},), f"failed/{HOSTILE}",
    )
    facts = RunFacts(START, {HOSTILE: 1.0}, {HOSTILE: HOSTILE}, HOSTILE, {HOSTILE: {HOSTILE: HOSTILE}})
    page = render([hostile], facts)
    assert "<script" not in page
    parsed = Page(page)
    assert parsed.text.count(HOSTILE) >= 20
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    plain = Page(render([outcome(run=execution(("A", 0, 1, True)), notices=[{"Subject": "s", "Message": "m"}])], FACTS))
    assert set(parsed.tags) <= set(plain.tags) | {"div", "ul", "li"}  # the list of faults


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain März\n\ttab", "plain März\n\ttab"),
        ("\u202egpj.csv", "\\u202egpj.csv"),
        ("a\x00b\x1b[2J", "a\\u0000b\\u001b[2J"),
        ("\ud800", "\\ud800"),
        (7, 7),
    ],
)
def test_what_would_hide_or_reorder_text_is_written_out(text, shown):
    assert visible(text) == shown


def test_nothing_is_fetched_and_nothing_runs(tmp_path):
    notice = {"Subject": "ETL: x", "Message": "Execution: https://us-east-1.console.aws.amazon.com/states"}
    path = tmp_path / "new" / "report.html"
    one = outcome(name="\ud800.csv", run=execution(("A", 0, 1, False)), notices=[notice])
    write_report(path, [Result(EtlSystem(), [one]), Result(MetadataSystem(), [stored(document={**DOCUMENT, "half": "\ud800"})]),
                        Result(PetSystem(), [photographed("\ud800.jpg")])], FACTS)
    page = path.read_text(encoding="utf-8")
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(parsed.tags)
    assert all(value.startswith("#") for _, name, value in parsed.attributes if name in {"href", "xlink:href", "action"})
    assert [value[:23] for _, name, value in parsed.attributes if name == "src"] == ["data:image/jpeg;base64,"]
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in page
    assert notice["Message"] in parsed.text  # shown in full, as text


def test_page_is_well_formed():
    csv = [outcome(run=execution(("A", 0, 1, True)), faults=["late"]), outcome("b.csv", record={})]
    json = [stored(document=DOCUMENT, run=execution(("Index", 0, 1, True))),
            stored(status=FAILED, failure=FAILURE, faults=["late"])]
    page = Page(render(csv, FACTS, json))
    assert not page.open
    assert not page.unbalanced


@pytest.mark.parametrize(
    ("seconds", "digits", "text"),
    [
        (0, 2, "0.00 s"),
        (-0.5, 2, "0.00 s"),
        (0.0042, 3, "0.004 s"),
        (1.005, 1, "1.0 s"),
        (59.94, 1, "59.9 s"),
        (59.96, 1, "1 min 00 s"),
        (65.4, 2, "1 min 05 s"),
        (3599.6, 2, "1 h 00 min"),
        (3725, 2, "1 h 02 min"),
    ],
)
def test_durations(seconds, digits, text):
    assert duration(seconds, digits) == text


def test_bars_are_in_order_and_in_proportion():
    run = execution(("Record", 0, 1, False), ("Transform", 1, 2, True), ("Done", 3, 0, False))
    rows = [(state.name, bar.left, bar.width) for state, bar in timeline(run)]
    assert rows == [("Record", 0, 25), ("Transform", 25, 50), ("Done", 75, 0)]


def test_bars_stay_within_their_track_whatever_clocks_say():
    for run in (
        execution(("early", -2, 1, False), ("late", 3, 9, False)),
        execution(("still", 0, 0, False), seconds=0),
    ):
        assert all(0 <= bar.left <= bar.left + bar.width <= 100 for _, bar in timeline(run))
    assert axis(execution(("late", 3, 9, False))) == 12


def test_a_failed_attempt_is_said_in_words_once():
    helped = Page(render([outcome(run=execution(("A", 0, 1, False), ("B", 1, 2, True)))], FACTS)).text
    assert helped.count("an attempt failed here; a retry or a catch helped") == 1
    lost = Page(render([outcome(run=execution(("B", 1, 2, True), status="FAILED", error="KeyError"))], FACTS)).text
    assert "an attempt failed here" in lost
    assert "helped" not in lost
    assert "KeyError" in lost


def test_rows_are_counted_and_totalled():
    runs = [outcome("a.csv", run=execution(seconds=1.25)), outcome("b.csv", run=execution(seconds=2.5))]
    page = render([*runs, outcome("c.csv", record={})], FACTS)
    foot = " ".join(Page(page[page.index("<tfoot>") : page.index("</tfoot>")]).text.split())
    assert foot == "3 files 3 as expected 3,000 2,998 2 3.75 s 0 notices"
    assert "2 succeeded, 1 no record" in Page(page).text


def test_without_record_and_execution():
    text = Page(render([outcome("lost.csv", record={}, faults=["it has 0 records instead of one"])], FACTS)).text
    assert "NO RECORD" in text
    assert "No execution belongs to this file." in text
    assert "It has none." in text
    assert "It entered no state." in Page(render([outcome(run=execution())], FACTS)).text


def test_demands_stand_beside_what_is_found():
    expected = {"status": "INVALID", "read": 7, "announced": 1, "says": "empty"}
    one = outcome(record={"status": "FAILED", "rows_read": 8, "error_message": "broken"}, expected=expected)
    page = render([one], FACTS)
    table = page[page.index('<table class="compare">') :]
    cells = Page(table[table.index("<tbody>") : table.index("</tbody>")]).text.split()
    assert cells == ["status", "INVALID", "FAILED", "read", "7", "8", "announced", "1", "0", "says", "empty", "broken"]


def test_what_ran_where():
    text = Page(render([outcome()], FACTS)).text
    for word in ("deploy", "1 min 11 s", "9.8 s", "Terraform", "1.9.8", "etl_bucket_name", "etl-pipeline-local-1"):
        assert word in text, word
    assert "2026-01-31 14:05:09 UTC" in text
    assert "1 min 21 s" in text  # the whole run
    assert "What became of each file" in Page(render([], RunFacts(START, {}, {}, "local", {}))).text


class TestMetadata:
    """M3b, M6: the section of the metadata pipeline."""

    def test_hostile_content_comes_out_as_text(self):
        document = {"@timestamp": HOSTILE, "ingest": {"id": HOSTILE * 9, "unindexed_reason": HOSTILE}, HOSTILE: [HOSTILE],
                    "end": "</pre></details>", "\u202ehidden": "a\x00b"}
        outcomes = [
            stored(HOSTILE, document=document, run=execution((HOSTILE, 0, 1, True), error=HOSTILE)),
            stored(HOSTILE, FAILED, failure=dict.fromkeys(FAILURE, HOSTILE), faults=[HOSTILE], expected={HOSTILE: HOSTILE}),
            stored(HOSTILE, HOSTILE),
        ]
        page = render([], FACTS, outcomes)
        assert "<script" not in page and "\u202e" not in page and "\x00" not in page
        parsed = Page(page)
        assert not parsed.open and not parsed.unbalanced
        assert parsed.text.count(HOSTILE) >= 25
        assert "</pre></details>" in parsed.text and "\\u202ehidden" in parsed.text
        assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]

    def test_a_document_is_shown_as_it_is_stored(self):
        text = Page(render([], FACTS, [stored(document=DOCUMENT)])).text
        assert text.count('"whole": 9007199254740993,\n  "exponent": 1E400,\n  "text": "9007199254740993"\n}') == 2
        assert "0123456789ab…" in text  # the table
        assert "It is empty." in text  # the table of failures

    def test_failures_stand_in_the_table_and_in_their_details(self):
        page = render([], FACTS, [stored("a/metadata.json", FAILED, failure=FAILURE)])
        for word in FAILURE.values():
            assert word in Page(page[page.index('<details id="metadata-1"') :]).text
        table = page[page.index('<table class="failures">') :]
        assert Page(table[table.index("<tbody>") : table.index("</tbody>")]).text.split() == [
            "a/metadata.json", "InvalidMetadata", "it", "is", "empty", "2026-01-31T14:05:10.000Z"]

    def test_outcomes_are_counted(self):
        outcomes = [stored(document=DOCUMENT), stored(status=FAILED, failure=FAILURE),
                    stored(status=IGNORED, seconds=None), stored(status=LOST, faults=["outcome is lost instead of indexed"])]
        page = render([outcome()], FACTS, outcomes)
        text = " ".join(Page(page).text.split())
        assert "1 indexed, 1 failed, 1 ignored, 1 lost." in text
        assert "1 of 5 files did not end as expected" in text and "4 files 3 as expected" in text
        alert = page[page.index('role="alert"') : page.index("</header>")]
        assert 'href="#metadata-4"' in alert and "outcome is lost instead of indexed" in alert

    def test_demands_stand_beside_what_is_found(self):
        expected = {"outcome": FAILED, "error": "InvalidMetadata", "says": "empty"}
        page = render([], FACTS, [stored(status=FAILED, failure=FAILURE, expected=expected)])
        table = page[page.index('<table class="compare">') :]
        assert Page(table[table.index("<tbody>") : table.index("</tbody>")]).text.split() == [
            "outcome", "failed", "failed", "error", "InvalidMetadata", "InvalidMetadata", "says", "empty", "it", "is", "empty"]


class TestPets:
    """P1, P4: the section of the pet detector."""

    def section(self, *outcomes):
        return render_results([Result(PetSystem(), list(outcomes))], FACTS)

    def test_the_picture_itself_is_shown(self):
        refused = {"ImageID": "2", "ProcessingStatus": "failed", "SourceKey": "input/2/text.jpg",
                   "FailureReason": "neither JPEG nor PNG"}
        page = self.section(photographed(), photographed("text.jpg", body=b"no picture", record=refused))
        [source] = [value for _, name, value in Page(page).attributes if name == "src"]
        assert base64.b64decode(source.partition(",")[2]) == (FOLDER / "cat.jpg").read_bytes()
        text = " ".join(Page(page).text.split())
        assert "97.4 %" in text and 'style="left:0;width:97.400%"' in page and "cats/0b5ef1c4/cat.jpg" in text
        assert "no picture" in text and "neither JPEG nor PNG" in text and "input/2/text.jpg" in text
        assert "1 completed, 1 failed. 1 cat; 0 alerts sent." in text and "2 of 2 as expected" in text

    def test_hostile_content_comes_out_as_text(self):
        record = {**dict.fromkeys(RECORD, HOSTILE), "ConfidenceScore": 250.0, "FailureReason": HOSTILE}
        page = self.section(photographed(
            HOSTILE, record=record, alerts=[{"Subject": HOSTILE, "Message": HOSTILE}], faults=[HOSTILE],
            run=execution((HOSTILE, 0, 1, True)), expected={HOSTILE: HOSTILE}))
        parsed = Page(page)
        assert "<script" not in page and not parsed.open and not parsed.unbalanced and "width:100.000%" in page
        assert parsed.text.count(HOSTILE) >= 15
        assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]

    def test_pictures_without_a_record(self):
        page = Page(self.section(photographed(record={}, seconds=None, faults=["it has no record at an end"])))
        assert "NO RECORD" in page.text and "There is none." in page.text and not page.open


def filed(name="orders.json", *, region="us-east-1", checkpoint=None, records=(), faults=(), expected=None, seconds=1.5):
    """What became of a file of records."""
    counts = {"recordsRead": 1200, "recordsStored": 1100, "recordsKnown": 60, "recordsInvalid": 1, "recordsConflicting": 40}
    return IngestionOutcome(Sample(name, b"", expected or {"region": region}), None, tuple(faults), region,
                            counts if checkpoint is None else checkpoint, tuple(records), seconds)


BROKEN = {"recordId": "1", "processingStatus": "INVALID", "reason": "timestamp is missing", "sourceLine": 7, "data": "{}" * 500}


class TestIngestion:
    """R3a, R3b: the section of the regional ingestion."""

    def section(self, *outcomes):
        return render_results([Result(IngestionSystem(), list(outcomes))], FACTS)

    def test_counts_by_file_and_region_and_the_invalid_records(self):
        page = Page(self.section(filed(records=[BROKEN]), filed("b.csv"), filed("west.csv", region="us-west-2")))
        text = " ".join(page.text.split())
        assert "3 some invalid. 3,600 records read: 3,300 stored, 180 known before, 120 conflicting. 3 of them invalid." in text
        assert "2 files us-east-1 2 as expected 2,400 2,200 120 80 2" in text
        assert "1 file us-west-2 1 as expected 1,200 1,100 60 40 1" in text
        assert "orders.json:7 timestamp is missing" in text and "{}{…" in text and not page.open and not page.unbalanced

    def test_files_that_were_never_done(self):
        text = Page(self.section(filed(checkpoint={}, seconds=None, faults=["it was never done"]))).text
        assert "not done" in text and "There is none that is done." in text and "There are none." in text

    def test_hostile_content_comes_out_as_text(self):
        item = {**dict.fromkeys(("recordId", "reason", "data", HOSTILE), HOSTILE), "processingStatus": "INVALID", "sourceLine": 1}
        checkpoint = {**filed().checkpoint, "failure": HOSTILE, HOSTILE: HOSTILE}
        page = self.section(filed(HOSTILE, checkpoint=checkpoint, records=[item], faults=[HOSTILE], expected={HOSTILE: HOSTILE}))
        parsed = Page(page)
        assert "<script" not in page and not parsed.open and not parsed.unbalanced
        assert parsed.text.count(HOSTILE) >= 15
        assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]


PARTS = {
    "ingestion": ("us-east-1", "us-west-2", "Bucket", "Processor", "Lambda", "global table", "Stream consumer", "Heartbeat",
                  "EventBridge", "SSM", "python -m ops failover", "CloudWatch", "SNS", "DLQ", ".json", ".csv"),
    "pets": ("API Gateway", "ImageApi", "ImageProcessor", "FileManager", "NotificationService", "Lambda", "Rekognition",
             "DynamoDB", "S3", "input/", "cats/", "dogs/", "others/", "EventBridge", "Step Functions", "Recovery", "SNS",
             "CloudWatch", "WAF", "KMS", "DLQ"),
    "etl": ("S3 bucket", "raw/", "processed/", "failed/", "Validation", "Transformation", "Lambda", "Pipeline", "Step Functions",
            "EventBridge", "Recovery", "DynamoDB", "SNS", "KMS", "DLQ", "CloudWatch"),
    "metadata": ("bucket", "metadata.json", "EventBridge", "Step Functions", "Lambda", "OpenSearch Serverless", "DynamoDB",
                 "Recovery", "SNS", "DLQ", "CloudWatch"),
}


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_picture_is_one_file_that_stands_alone_and_lends_itself_to_the_page(system):
    svg = ET.fromstring(system.architecture.read_text(encoding="utf-8"))
    words = " ".join(svg.itertext())
    for part in PARTS[system.name]:
        assert part in words, part
    prefix = f"{system.name}-a-"
    assert all(each.get("id", prefix).startswith(prefix) for each in svg.iter())
    style = svg.find("{http://www.w3.org/2000/svg}style").text
    rules = [line.strip() for line in style.splitlines() if "{" in line and not line.strip().startswith("@")]
    assert all(rule.startswith(f".{system.name}-architecture") for rule in rules)
    assert "prefers-color-scheme: dark" in style
    assert f"{prefix}title" in render_results([Result(system, [])], FACTS)
