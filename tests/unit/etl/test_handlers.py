"""The two functions as the infrastructure calls them (E3, E4, E5): events in, payloads out."""

import csv
import io
import json
import re
import shlex
from fractions import Fraction
from urllib.parse import quote_plus

import pytest
from botocore.exceptions import ClientError
from calls import CONTEXT, ENVIRONMENT, EXECUTION, HEADER, ROW, TOPIC, payload, upload
from fake_s3 import BUCKET

from lambdas.common import log
from lambdas.common.environment import BadEnvironment
from lambdas.etl import contract, environment, files, storage, transformation, validation
from lambdas.etl.files import File


def record(key="raw/a.csv", version="v1", **other):
    uploaded = {"key": quote_plus(key), "size": 5, "versionId": version, "sequencer": "0A", **other}
    return {"s3": {"bucket": {"name": BUCKET}, "object": uploaded}}


def convert(file, **other):
    event = {"action": "convert", "file": file, "execution_name": "e", "range": {"index": 0, "start": 0, "end": file["size"]}}
    return transformation.handler({**event, **other}, CONTEXT)


# --- claim -----------------------------------------------------------------------------------------------------------

HOSTILE_NAMES = ["a b.csv", "a+b%41.csv", "ä/日本.csv", "quo\"te'$(rm).csv", "line\nfeed", "no suffix", "x.csv/", "../x"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_claim(aws, name):
    """E2, E3a: whatever the name or suffix, the machine starts once, with the decoded file and the time of the claim."""
    for _ in range(2):  # events come twice
        assert validation.handler({"Records": [record("raw/" + name)]}, CONTEXT) is None
    ((execution, started),) = aws.stepfunctions.started.items()
    assert set(execution) <= set("0123456789abcdef") and len(execution) == 64
    assert started["file"] == payload(name, "v1", size=5)
    assert File.from_payload(started["file"]).processed_key == "processed/" + name
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", started["process_start_time"])
    assert aws.s3.calls == []  # E3a: nothing else happens before the claim


def test_every_version_is_claimed(aws):
    """E3a: bucket, key and version make the name."""
    validation.handler({"Records": [record(), record(version="v2"), record("raw/b.csv"), record("raw/a.csv")]}, CONTEXT)
    assert len(aws.stepfunctions.started) == 3
    uploads = [("b", "v", "k"), ("b", "v2", "k"), ("b2", "v", "k"), ("b", "v", "\nk")]
    assert len({files.execution_name(*one) for one in uploads}) == 4


def test_folder_markers_are_ignored_and_logged(aws, capsys):
    """E2: key ends in a slash, no bytes."""
    validation.handler({"Records": [record("raw/a/", size=0), record("raw/", size=0)]}, CONTEXT)
    assert aws.stepfunctions.started == {}
    assert capsys.readouterr().out.count("folder marker ignored") == 2


def test_bad_record_does_not_stop_the_others(aws):
    """E3a: each record for itself; the failure names each bad one, for the DLQ and the log."""
    forged = record("raw/forged.csv")
    del forged["s3"]["object"]["versionId"]
    bad = [forged, record("elsewhere/x"), record("raw/", size=1), {}, None, record(version="null")]
    with pytest.raises(validation.ClaimFailed) as failure:
        validation.handler({"Records": [*bad, record("raw/good.csv")]}, CONTEXT)
    assert [payload["file"]["file_name"] for payload in aws.stepfunctions.started.values()] == ["good.csv"]
    assert str(failure.value).count("record ") == len(bad)
    assert "raw%2Fforged.csv'): ValueError('the event has no version id" in str(failure.value)


def test_test_event_is_ignored(aws):
    """E2: S3 sends one when the notification is set up."""
    assert validation.handler({"Service": "Amazon S3", "Event": "s3:TestEvent"}, CONTEXT) is None


@pytest.mark.parametrize("event", [{}, {"action": "drop"}, {"action": "convert"}])
def test_unknown_actions(aws, event):
    """A mistake in the state machine is an error, not a silence."""
    with pytest.raises(ValueError, match="knows no action"):
        validation.handler(event, CONTEXT)
    if event.get("action") != "convert":
        with pytest.raises(ValueError, match="knows no action"):
            transformation.handler(event, CONTEXT)


# --- validate, reject, set aside -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (HEADER, None),
        (HEADER + ROW, None),
        (HEADER.rstrip(), None),
        (b"", "the file is empty (0 bytes)"),
        (b"a;b\n", "the header has 1 column; is the delimiter ';'?"),
        (HEADER + b"x" * 1_000_000, "the file has 1000044 bytes; at most 1000000 are converted"),
    ],
)
def test_validate(aws, body, reason):
    """E3b: valid, or a reason; a file larger than the largest is refused (E12)."""
    result = validation.handler({"action": "validate", "file": upload(aws, "a.csv", body)}, CONTEXT)
    assert result["valid"] is (reason is None)
    assert (reason or "") in result.get("reason", "")
    assert set(result) == ({"valid"} if result["valid"] else {"valid", "reason"})


def test_validate_reads_that_version_and_at_most_a_mebibyte(aws, monkeypatch):
    """E3b: the first MiB of exactly that version."""
    monkeypatch.setenv(contract.ENV_MAX_FILE_BYTES, "99999999")
    file = upload(aws, "a.csv", HEADER + b"x" * 3_000_000)
    aws.s3.add("raw/a.csv", b"newer")
    ranges = []
    get_object = aws.s3.get_object
    aws.s3.get_object = lambda **arguments: ranges.append(arguments["Range"]) or get_object(**arguments)
    assert validation.handler({"action": "validate", "file": file}, CONTEXT) == {"valid": True}
    assert ranges == ["bytes=0-1048575"]


def test_validate_refuses_names_too_long_for_their_rejects(aws):
    """E5a: before anything is written."""
    result = validation.handler({"action": "validate", "file": upload(aws, "x" * 922, HEADER)}, CONTEXT)
    assert "922 bytes long; only 921" in result["reason"]


def test_set_aside(aws):
    """E7a: moved, nothing said, and a function that still converts the file told to publish nothing."""
    file = upload(aws, "a/b.csv", b"x")
    event = {"action": "set_aside", "file": file, "execution_name": "name"}
    assert validation.handler(event, CONTEXT) == {"failed_key": "failed/a/b.csv"}
    assert aws.s3.keys() == ["failed/a/b.csv", "failed/a/b.csv.withdrawn/name"]
    assert aws.sns.messages == []


def test_set_aside_for_the_previous_release(aws):
    """C15: its definition names no execution."""
    file = upload(aws, "a/b.csv", b"x")
    assert validation.handler({"action": "set_aside", "file": file}, CONTEXT) == {"failed_key": "failed/a/b.csv"}


def test_set_aside_of_a_name_too_long(aws):
    """E7a: no key below failed/ can be made of it, so the file stays, and that is no error."""
    file = upload(aws, "x" * 1020, b"x")
    assert validation.handler({"action": "set_aside", "file": file, "execution_name": "e" * 64}, CONTEXT) == {}
    assert aws.s3.keys() == ["raw/" + "x" * 1020]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_reject(aws, name):
    """E3c, E9: moved and announced: constant ASCII subject; where it is, why, the execution, the command to replay."""
    file = upload(aws, name, b"x")
    event = {"action": "reject", "file": file, "reason": "no header", "execution_arn": EXECUTION}
    assert validation.handler(event, CONTEXT) == {"failed_key": "failed/" + name}
    (message,) = aws.sns.messages
    assert (message["TopicArn"], message["Subject"]) == (TOPIC, contract.SUBJECT_INVALID)
    link = f"https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/{EXECUTION}"
    shown = name.replace("\n", "?")
    for part in (BUCKET, "raw/" + shown, file["version_id"], "no header", "failed/" + shown, link):
        assert part in message["Message"]
    assert len(message["Message"].splitlines()) == (7 if "\n" in name else 8)
    if "\n" in name:
        assert "Replay" not in message["Message"]  # a command that can be read otherwise than it runs is not offered
        return
    command = message["Message"].split("Replay:    ")[1]
    assert shlex.split(command) == ["python", "-m", "ops", "replay", "files", f"failed/{name}", "--suffix", "dev"]


def test_announcements_are_bounded(aws):
    """E9: SNS takes 256 KiB; a hostile reason or name does not make the notice fail."""
    file = upload(aws, "é" * 505, b"x")
    validation.handler({"action": "reject", "file": file, "reason": "é" * 300_000, "execution_arn": EXECUTION}, CONTEXT)
    assert len(aws.sns.messages[0]["Message"].encode()) < 30_000


def test_file_that_cannot_be_moved_is_announced_where_it_is(aws):
    """E3c: S3 refuses the longer key: the file stays, and the notice says so."""
    file = upload(aws, "x" * 1018, b"x")
    event = {"action": "reject", "file": file, "reason": "too long", "execution_arn": EXECUTION}
    assert validation.handler(event, CONTEXT) == {}
    assert f"It is now: {file['key']}\n" in aws.sns.messages[0]["Message"]


@pytest.mark.parametrize(
    ("partition", "host"), [("aws-cn", "console.amazonaws.cn"), ("aws-us-gov", "console.amazonaws-us-gov.com")]
)
def test_console_link_of_other_partitions(aws, partition, host):
    """E9: the link works where the execution is."""
    arn = EXECUTION.replace("arn:aws:", f"arn:{partition}:")
    event = {"action": "reject", "file": upload(aws, "a", b"x"), "reason": "r", "execution_arn": arn}
    validation.handler(event, CONTEXT)
    assert f"https://eu-west-1.{host}/states/" in aws.sns.messages[0]["Message"]


# --- convert ---------------------------------------------------------------------------------------------------------


def test_convert(aws):
    """E4: published under processed/, gone from raw/, counted."""
    file = upload(aws, "a/b.csv", b"\xef\xbb\xbf" + HEADER + b"t,c,$5,03/05/2024\n" * 3)
    counts = {"rows_read": 3, "rows_written": 3, "rows_rejected": 0}
    assert convert(file) == {"valid": True, "output_key": "processed/a/b.csv", **counts}
    assert aws.s3.body("processed/a/b.csv") == HEADER + b"t,c,5.00,2024-03-05T00:00:00Z\n" * 3
    assert aws.s3.keys() == ["processed/a/b.csv"]


@pytest.mark.parametrize("body", [HEADER, HEADER.rstrip(), HEADER.replace(b"\n", b"\r\n")])
def test_convert_a_header_without_rows(aws, body):
    """E3b: a valid file of 0 rows."""
    result = convert(upload(aws, "a.csv", body))
    assert (result["valid"], result["rows_read"]) == (True, 0)
    assert aws.s3.body("processed/a.csv") == body


def test_convert_twice(aws):
    """E4b: the retry of a finished job succeeds with the same answer and changes nothing."""
    file = upload(aws, "a.csv", HEADER + ROW * 200 + b"bad\n")
    first = convert(file)
    versions = len(aws.s3.versions["processed/a.csv"])
    assert convert(file) == first
    assert len(aws.s3.versions["processed/a.csv"]) == versions


def test_convert_a_large_file(aws):
    """E12: several blocks in, several parts out, nothing lost in between."""
    rows = b"".join(b't%d,c,"1,000.5",2024-03-05 10:11:12\n' % number for number in range(600_000))
    file = upload(aws, "big.csv", HEADER + rows)
    assert convert(file)["rows_written"] == 600_000
    output = aws.s3.body("processed/big.csv")
    assert "complete_multipart_upload" in aws.s3.operations()
    assert len(output) > 2 * storage.BLOCK_BYTES
    ids = [row[0] for row in csv.reader(io.StringIO(output.decode()))][1:]
    assert ids == [f"t{number}" for number in range(600_000)]


@pytest.mark.parametrize(
    ("bad", "good", "valid"), [(1, 99, True), (1, 98, False), (2, 198, True), (2, 197, False), (1, 0, False)]
)
def test_reject_ratio(aws, bad, good, valid):
    """E5c: strictly above the setting, exactly: 1 of 100 is not above 0.01."""
    file = upload(aws, "a.csv", HEADER + b"bad\n" * bad + ROW * good)
    result = convert(file)
    counts = {"rows_read": bad + good, "rows_rejected": bad, "rejects_prefix": "failed/a.csv.rejects/e/"}
    rejects = [json.loads(line) for line in aws.s3.body("failed/a.csv.rejects/e/part-00000.jsonl").splitlines()]
    assert rejects[0] == {"byte_offset": len(HEADER), "reason": "the row has 1 column, the header has 4", "row": "bad"}
    assert len(rejects) == bad
    if valid:
        assert result == {"valid": True, "rows_written": good, "output_key": "processed/a.csv", **counts}
    else:
        reason = f"{bad} of {bad + good} rows cannot be converted; at most 1 % may be rejected"
        assert result == {"valid": False, "reason": reason, "rows_written": 0, **counts}
        assert aws.s3.keys() == ["failed/a.csv.rejects/e/part-00000.jsonl", "raw/a.csv"]


OTHER_HEADER = b"customer_id,transaction_id,amount,timestamp\n"


def test_second_table_with_other_columns(aws):
    """E4a: its ids would change places; the file is set aside, whatever the share of rejects."""
    file = upload(aws, "a.csv", HEADER + ROW * 200 + OTHER_HEADER + ROW)
    where = len(HEADER) + 200 * len(ROW)
    reason = f"a second header, with other columns, is at byte {where}: split the file into one for each table"
    counts = {"rows_read": 202, "rows_written": 0, "rows_rejected": 1, "rejects_prefix": "failed/a.csv.rejects/e/"}
    assert convert(file) == {"valid": False, "reason": reason, **counts}
    assert aws.s3.keys() == ["failed/a.csv.rejects/e/part-00000.jsonl", "raw/a.csv"]


def test_second_table_with_the_same_columns(aws):
    """E5b: its header is one rejected row."""
    file = upload(aws, "a.csv", HEADER + ROW * 200 + HEADER.replace(b",", b" , ") + ROW)
    assert (convert(file)["rows_written"], convert(file)["rows_rejected"]) == (201, 1)


def test_too_many_rejects_of_a_large_file_leave_no_upload(aws):
    """E5c: nothing under processed/, nothing half-done either."""
    file = upload(aws, "a.csv", HEADER + ROW * 600_000 + b"bad\n" * 10_000)
    assert not convert(file)["valid"]
    assert aws.s3.body("processed/a.csv") is None
    assert aws.s3.uploads == {}


def test_superseded(aws):
    """E4c: a newer output stays; the loser says by which, keeps its rejects and names no output."""
    file = upload(aws, "a.csv", HEADER + ROW * 200 + b"bad\n")
    aws.s3.add("processed/a.csv", b"newer", Metadata={"source-version-id": "v-new", "source-sequencer": "0B"})
    result = convert(file)
    assert result["superseded_by"] == "v-new"
    assert "output_key" not in result
    assert aws.s3.body("processed/a.csv") == b"newer"


def test_one_piece_is_the_whole(aws):
    """E12: ``convert`` with a range other than the whole is a mistake."""
    file = upload(aws, "a.csv", HEADER)
    with pytest.raises(ValueError, match="whole files"):
        convert(file, range={"index": 1, "start": 1, "end": 2})


def test_invalid_header_at_conversion(aws):
    """C15: should another release have validated the file, the answer is a result, not an accident."""
    assert convert(upload(aws, "a.csv", b"a,b\n"))["valid"] is False


def test_payloads_may_grow(aws):
    """C15: unknown keys are ignored."""
    file = upload(aws, "a.csv", HEADER) | {"new": 1}
    assert validation.handler({"action": "validate", "file": file, "new": 1}, CONTEXT) == {"valid": True}
    assert convert(file, new=1)["valid"] is True


# --- environment and logs --------------------------------------------------------------------------------------------


class Recording(dict):
    def __init__(self, *args):
        super().__init__(*args)
        self.asked = []

    def get(self, name, default=None):
        self.asked.append(name)
        return super().get(name, default)

    def __getitem__(self, name):
        self.asked.append(name)
        return super().__getitem__(name)


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (environment.validation, contract.VALIDATION_ENVIRONMENT),
        (environment.transformation, contract.TRANSFORMATION_ENVIRONMENT),
    ],
)
def test_each_function_reads_exactly_its_variables(read, names):
    """The infrastructure sets what the contract lists; so that is what each function reads."""
    recording = Recording(ENVIRONMENT)
    read(recording)
    assert sorted(recording.asked) == sorted(names)
    with pytest.raises(BadEnvironment) as fault:
        read({})
    assert all(f"{name} is missing, should be" in str(fault.value) for name in names)


@pytest.mark.parametrize(
    ("name", "value"),
    [*((contract.ENV_MAX_FILE_BYTES, value) for value in ("-1", "0", "1e6", "²")), (contract.ENV_TOPIC_ARN, "failures")],
)
def test_bad_variables(name, value):
    """The message names the variable, its value and what it should be."""
    with pytest.raises(BadEnvironment, match=f"{name} is '{value}', should be"):
        environment.validation(ENVIRONMENT | {name: value})


@pytest.mark.parametrize("value", ["1%", "1.01", "-0.1", "nan", "1/0"])
def test_bad_ratio(value):
    """E5c: between 0 and 1."""
    with pytest.raises(BadEnvironment):
        environment.transformation(ENVIRONMENT | {contract.ENV_MAX_REJECT_RATIO: value})


def test_ratio_is_exact():
    """E5c: no float stands between the setting and the comparison."""
    assert environment.transformation(ENVIRONMENT).max_reject_ratio == Fraction(1, 100)


def test_logs(aws, capsys):
    """C9: one JSON object a line, with function, request, file and version; hostile names are escaped, nothing leaks over."""
    convert(upload(aws, 'x"\n\x1b[31m.csv', HEADER))
    with pytest.raises(validation.ClaimFailed):
        validation.handler({"Records": [{}]}, CONTEXT)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (lines[0]["message"], lines[0]["action"]) == ("done", "convert")
    assert (lines[0]["function"], lines[0]["request_id"], lines[0]["execution"]) == ("etl", "request-1", "e")
    assert lines[0]["file_name"] == 'x"\n\x1b[31m.csv'
    assert (lines[0]["version_id"], lines[0]["rows_read"], lines[0]["level"]) == ("v1", 0, "INFO")
    assert "KeyError" in lines[1]["exception"]
    assert lines[1]["level"] == "ERROR" and "file_name" not in lines[1]


def test_warnings_are_logged(capsys):
    """C9: a level of its own."""
    log.start(CONTEXT)
    log.warning("beware", key="k")
    line = {"level": "WARNING", "message": "beware", "function": "etl", "request_id": "request-1", "key": "k"}
    assert json.loads(capsys.readouterr().out) == line


def test_what_goes_wrong_is_logged_with_the_file(aws, capsys):
    """C9: one JSON line with the file, the request and the traceback; the exception still reaches Lambda."""
    file = upload(aws, "a.csv", HEADER) | {"version_id": "v-gone"}
    with pytest.raises(ClientError, match="NoSuchVersion"):
        validation.handler({"action": "validate", "file": file}, CONTEXT)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = [line for line in lines if line["level"] == "ERROR"]
    assert line["file_name"] == "a.csv" and line["request_id"] == CONTEXT.aws_request_id
    assert "NoSuchVersion" in line["exception"]
