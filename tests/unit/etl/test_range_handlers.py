"""The transformation function's part in the fan-out (E12): what the machine asks for, and what is in the bucket afterwards."""

import io
import json
from itertools import pairwise

import pytest
from botocore.exceptions import ReadTimeoutError
from calls import CONTEXT, HEADER, upload
from fake_s3 import client_error

from lambdas.etl import contract, ranges, storage, transformation
from lambdas.etl.header import read as read_header
from lambdas.etl.rows import Conversion

REJECTS = "failed/a.csv.rejects/e/"
BAD = b"bad\n"


@pytest.fixture
def aws(aws, monkeypatch):
    """Ranges and parts may be small here."""
    monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", 10_000)
    monkeypatch.setattr(ranges, "MIN_PART_BYTES", 0)
    aws.s3.least_part_bytes = 0
    return aws


def body(rows=2000, bad=()):
    """A file whose rows all differ; ``bad`` are the numbers of those that will be rejected."""
    lines = (BAD if number in bad else b"t%d,c,$%d,03/05/2024\n" % (number, number) for number in range(rows))
    return HEADER + b"".join(lines)


def ask(action, file, **other):
    return transformation.handler({"action": action, "file": file, "execution_name": "e", **other}, CONTEXT)


def ask_range(file, plan, number, **other):
    given = {name: plan[name] for name in ("upload_id", "header_length")}
    return ask("convert_range", file, **given, range=plan["ranges"][number], **other)


def convert_ranges(file):
    """-> the plan, and the event of ``complete``"""
    plan = ask("plan", file)
    parts = [ask_range(file, plan, number) for number in range(len(plan["ranges"]))]
    return plan, {"upload_id": plan["upload_id"], "header_length": plan["header_length"], "parts": parts}


def in_one_piece(data):
    """-> output, rejects: what must come out, however the file is cut"""
    header, rejects = read_header(data, complete=True), io.BytesIO()
    conversion = Conversion(header, rejects.write, offset=header.length)
    return header.text + b"".join(conversion.convert([data[header.length :]])), rejects.getvalue()


def keys(aws, prefix):
    return list(filter(lambda key: key.startswith(prefix), aws.s3.keys()))


def rejects_in(aws, prefix=REJECTS):
    return b"".join(map(aws.s3.body, keys(aws, prefix)))


# --- plan ------------------------------------------------------------------------------------------------------------


def test_plan(aws):
    """E12: ranges from the header to the end, and one upload, invisible, with the output's attributes."""
    file = upload(aws, "a.csv", body())
    plan = ask("plan", file)
    assert (plan["ranges"][0]["start"], plan["ranges"][-1]["end"]) == (len(HEADER), file["size"])
    assert all(set(each) == {"index", "start", "end"} for each in plan["ranges"])
    assert len(plan["ranges"]) > 3 and plan["header_length"] == len(HEADER)
    ((upload_id, begun),) = aws.s3.uploads.items()
    assert (upload_id, begun["key"], begun["parts"]) == (plan["upload_id"], "processed/a.csv", {})
    assert begun["Metadata"]["source-version-id"] == file["version_id"] and begun["Metadata"]["execution-name"] == "e"
    assert aws.s3.keys() == ["raw/a.csv"]


@pytest.mark.parametrize(
    "data", [body(100), HEADER, HEADER + b"x" * 50_000, b"a,b\n" * 20_000, b""],
    ids=["small", "no rows", "one line", "bad header", "nothing"],
)
def test_file_that_cannot_be_cut(aws, data):
    """E12: no ranges and no upload; what is wrong with it is for the conversion in one piece to say, also a header that
    another release let pass (C15)."""
    assert ask("plan", upload(aws, "a.csv", data)) == {"ranges": []}
    assert aws.s3.uploads == {}


def test_range_that_no_invocation_converts_in_time(aws, monkeypatch):
    """E12: places to cut are missing for so long that the range between them is too large: no plan, hence INVALID."""
    monkeypatch.setenv(contract.ENV_MAX_PIECE_BYTES, "40000")
    gap = b'g,c,1.00,2024-03-05,"' + b"x" * 900 + b"\n"  # no good row; 64 KiB of these hold no cut
    file = upload(aws, "a.csv", body(2000) + gap * 100 + body(2000)[len(HEADER) :])
    assert ask("plan", file) == {"ranges": []}
    monkeypatch.setenv(contract.ENV_MAX_PIECE_BYTES, "400000")
    assert len(ask("plan", file)["ranges"]) > 3


# --- convert_range ---------------------------------------------------------------------------------------------------


def test_ranges_become_the_parts_of_one_output(aws):
    """E12: byte for byte what one piece gives; only the first range writes the header; nothing visible before the end."""
    data = b"\xef\xbb\xbf" + body(bad={3, 700, 701, 1999})
    file = upload(aws, "a.csv", data)
    plan, event = convert_ranges(file)
    output, rejects = in_one_piece(data)
    parts = aws.s3.uploads[plan["upload_id"]]["parts"]
    assert sorted(parts) == [each["index"] + 1 for each in plan["ranges"]]
    assert [part.count(HEADER) for _, part in sorted(parts.items())] == [1] + [0] * (len(parts) - 1)
    assert keys(aws, "processed/") == []
    counts = {"rows_read": 2000, "rows_written": 1996, "rows_rejected": 4}
    assert ask("complete", file, **event) == {"valid": True, **counts, "output_key": "processed/a.csv", "rejects_prefix": REJECTS}
    assert aws.s3.body("processed/a.csv") == output
    assert rejects_in(aws) == rejects
    assert aws.s3.body("raw/a.csv") is None and aws.s3.uploads == {}


def test_what_a_range_answers(aws):
    """E12: all that the proof and the publication need, and nothing that grows with the file."""
    file = upload(aws, "a.csv", body(bad={0}))
    plan = ask("plan", file)
    first = plan["ranges"][0]
    answer = ask_range(file, plan, 0)
    part = aws.s3.uploads[plan["upload_id"]]["parts"][1]
    assert answer == {
        **first,
        "reached": first["end"],
        "bytes": len(part),
        "rows_read": part.count(b"\n"),  # one is the header, another was rejected
        "rows_written": part.count(b"\n") - 1,
        "rows_rejected": 1,
        "stored": {"ETag": '"part1"', "ChecksumCRC32": "crc1"},
    }


def test_rejects_of_each_range_stand_alone(aws):
    """E5a, E12: part-NNNNN for the range that has any, with the offset in the file; none for one that has none."""
    data = body(bad={0, 1999})
    file = upload(aws, "a.csv", data)
    plan, _ = convert_ranges(file)
    last = len(plan["ranges"]) - 1
    assert keys(aws, "failed/") == [f"{REJECTS}part-00000.jsonl", f"{REJECTS}part-{last:05d}.jsonl"]
    offsets = [json.loads(line)["byte_offset"] for line in rejects_in(aws).splitlines()]
    assert offsets == [len(HEADER), len(data) - len(BAD)]


def test_retried_range_overwrites_what_it_left(aws):
    """E12: killed before its answer arrived; the same part and the same rejects again, and the output is right."""
    data = body(bad={5})
    file = upload(aws, "a.csv", data)
    plan = ask("plan", file)
    aws.s3.hook("after", "upload_part", ReadTimeoutError(endpoint_url="s3"))
    with pytest.raises(ReadTimeoutError):
        ask_range(file, plan, 0)
    parts = [ask_range(file, plan, number) for number in (*range(len(plan["ranges"])), 0)][1:]
    given = {name: plan[name] for name in ("upload_id", "header_length")}
    assert ask("complete", file, **given, parts=parts)["rows_rejected"] == 1
    assert aws.s3.body("processed/a.csv") == in_one_piece(data)[0]
    assert len(rejects_in(aws).splitlines()) == 1


def test_range_reads_what_it_needs(aws, monkeypatch):
    """E12: of exactly that version its header, its bytes and the look-ahead; the part is spooled to a file, not held."""
    monkeypatch.setattr(transformation, "LOOK_AHEAD_BYTES", 500)
    file = upload(aws, "a.csv", body())
    aws.s3.add("raw/a.csv", b"newer")
    plan = ask("plan", file)
    asked, sent = [], []
    get_object, upload_part = aws.s3.get_object, aws.s3.upload_part
    aws.s3.get_object = lambda **arguments: asked.append(arguments["Range"]) or get_object(**arguments)
    aws.s3.upload_part = lambda **arguments: sent.append(arguments["Body"]) or upload_part(**arguments)
    ask_range(file, plan, 1)
    start, end = plan["ranges"][1]["start"], plan["ranges"][1]["end"]
    assert asked == [f"bytes=0-{len(HEADER) - 1}", f"bytes={start}-{end + 499}"]
    assert not isinstance(sent[0], bytes) and hasattr(sent[0], "read")


# --- complete --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"reached": -1}, {"end": 1}, {"start": 9}, None], ids=["reached", "end", "start", "missing"]
)
def test_without_proof_nothing_is_published(aws, wrong):
    """E12: the upload is aborted, and the answer says why, so that the machine converts the file in one piece."""
    file = upload(aws, "a.csv", body())
    _, event = convert_ranges(file)
    parts = event["parts"]
    event["parts"] = parts[:-1] if wrong is None else [parts[0], {**parts[1], **wrong}, *parts[2:]]
    answer = ask("complete", file, **event)
    assert set(answer) == {"discarded"} and "byte" in answer["discarded"]
    assert (aws.s3.keys(), aws.s3.uploads) == (["raw/a.csv"], {})
    assert ask("complete", file, **event) == answer  # a lost answer


def test_wrong_cut_is_discarded_and_converted_in_one_piece(aws):
    """E12: rows inside one quoted field look like rows; the whole file is right, its rejects apart from those of the ranges."""
    row, quote = b"t,c,1.00,2024-03-05,n\n", b't,c,1.00,2024-03-05,"'
    data = HEADER.replace(b"\n", b",note\n") + row * 900 + quote + row * 1500 + b'"\n' + BAD + row * 900
    file = upload(aws, "a.csv", data)
    plan, event = convert_ranges(file)
    assert any(data.index(b'"') < each["start"] < data.rindex(b'"') for each in plan["ranges"])
    answer = ask("complete", file, **event)
    assert "last record" in answer["discarded"]
    whole = {"index": 0, "start": 0, "end": file["size"]}
    result = ask("convert", file, range=whole, discarded=answer["discarded"])
    output, rejects = in_one_piece(data)
    assert result["rejects_prefix"] == f"{REJECTS}whole/"
    assert aws.s3.body("processed/a.csv") == output
    assert rejects_in(aws, f"{REJECTS}whole/") == rejects and len(rejects.splitlines()) == result["rows_rejected"] == 1


def test_parts_too_small_for_s3_are_no_plan(aws, monkeypatch):
    """E12: S3 refuses parts below 5 MiB, save for the last; a range that leaves less discards the plan."""
    monkeypatch.setattr(ranges, "MIN_PART_BYTES", 100_000)
    file = upload(aws, "a.csv", body())
    _, event = convert_ranges(file)
    assert "fewer than S3 takes" in ask("complete", file, **event)["discarded"]


def test_too_many_rejects_of_ranges(aws):
    """E5c, E12: the ratio is that of the file, not of a range; nothing visible, no upload left, the rejects kept."""
    file = upload(aws, "a.csv", body(bad=range(21)))
    _, event = convert_ranges(file)
    counts = {"rows_read": 2000, "rows_written": 0, "rows_rejected": 21}
    reason = "21 of 2000 rows cannot be converted; at most 1 % may be rejected"
    assert ask("complete", file, **event) == {"valid": False, "reason": reason, **counts, "rejects_prefix": REJECTS}
    assert (aws.s3.keys(), aws.s3.uploads) == ([f"{REJECTS}part-00000.jsonl", "raw/a.csv"], {})


def test_second_table_in_a_range(aws):
    """E4a, E12: the ranges behind know nothing of its header, so all of the file is set aside; the first such header is told."""
    rows, other = body(), b"customer_id,transaction_id,amount,timestamp\n"
    places = [rows.index(b"\n", len(rows) // part) + 1 for part in (2, 3)]
    data = rows[: places[1]] + other + rows[places[1] : places[0]] + other + rows[places[0] :]
    file = upload(aws, "a.csv", data)
    plan, event = convert_ranges(file)
    assert len(plan["ranges"]) > 3 and [part["other_header"] for part in event["parts"] if "other_header" in part]
    answer = ask("complete", file, **event)
    assert answer["valid"] is False and f"at byte {places[1]}:" in answer["reason"]
    assert (keys(aws, "processed/"), aws.s3.uploads) == ([], {})


def test_rejects_of_one_range_may_exceed_the_ratio(aws):
    """E5c, E12: 20 of 2,000 are not above 1 %, though they are many of the first range's."""
    file = upload(aws, "a.csv", body(bad=range(20)))
    _, event = convert_ranges(file)
    assert ask("complete", file, **event)["valid"] is True


def test_superseded_ranges(aws):
    """E4c, E12: a newer output stays; the upload is aborted, the original removed."""
    file = upload(aws, "a.csv", body())
    aws.s3.add("processed/a.csv", b"newer", Metadata={"source-version-id": "v-new", "source-sequencer": "0B"})
    _, event = convert_ranges(file)
    result = ask("complete", file, **event)
    assert (result["valid"], result["superseded_by"]) == (True, "v-new") and "output_key" not in result
    assert (aws.s3.body("processed/a.csv"), aws.s3.uploads) == (b"newer", {})
    assert aws.s3.body("raw/a.csv") is None


def test_older_output_is_replaced_on_condition(aws):
    """E4c, E12: If-Match of the one that was seen; who comes in between is looked at again."""
    file = upload(aws, "a.csv", body())
    aws.s3.add("processed/a.csv", b"older", Metadata={"source-version-id": "v-old", "source-sequencer": "01"})
    _, event = convert_ranges(file)
    newer = {"source-version-id": "v-new", "source-sequencer": "0B"}
    aws.s3.hook("before", "complete_multipart_upload", lambda: aws.s3.add("processed/a.csv", b"newer", Metadata=newer))
    assert ask("complete", file, **event)["superseded_by"] == "v-new"
    assert (aws.s3.body("processed/a.csv"), aws.s3.uploads) == (b"newer", {})


def test_withdrawn_ranges_are_not_published(aws):
    """E7b, E12: the execution was given up, and the file set aside."""
    file = upload(aws, "a.csv", body())
    _, event = convert_ranges(file)
    storage.withdraw(aws.s3, transformation.File.from_payload(file), "e")
    with pytest.raises(storage.Withdrawn):
        ask("complete", file, **event)
    assert aws.s3.body("processed/a.csv") is None


@pytest.mark.parametrize("lost", ["complete_multipart_upload", "delete_object"])
def test_complete_twice(aws, lost):
    """E4b, E12: published, then killed: the retry finds its own output, finishes the job and gives the same answer."""
    file = upload(aws, "a.csv", body(bad={7}))
    _, event = convert_ranges(file)
    aws.s3.hook("after", lost, client_error("Killed"))
    if lost == "delete_object":
        with pytest.raises(storage.ClientError):
            ask("complete", file, **event)
    first = ask("complete", file, **event)
    assert first["output_key"] == "processed/a.csv"
    assert ask("complete", file, **event) == first
    assert len(aws.s3.versions["processed/a.csv"]) == 1 and aws.s3.body("raw/a.csv") is None


# --- abandon, and what is too large ----------------------------------------------------------------------------------


def test_abandon(aws):
    """E12, E4b: no upload stays behind; twice, or after all was published, does no harm."""
    file = upload(aws, "a.csv", body())
    plan, event = convert_ranges(file)
    for _ in range(2):
        assert ask("abandon", file, upload_id=plan["upload_id"]) == {}
        assert aws.s3.uploads == {}
    with pytest.raises(storage.ClientError, match="NoSuchUpload"):  # a range that still runs
        ask_range(file, plan, 0)
    plan, event = convert_ranges(file)
    ask("complete", file, **event)
    assert ask("abandon", file, upload_id=plan["upload_id"]) == {}
    assert aws.s3.body("processed/a.csv")


@pytest.mark.parametrize(
    ("discarded", "why"),
    [("", "too few places were found where it can be cut"), ("range 3 ends at byte 7", "range 3 ends at byte 7")],
)
def test_too_large_for_one_piece(aws, monkeypatch, discarded, why):
    """E12: INVALID, unread, with the reason, rather than minutes of work that cannot end in time."""
    file = upload(aws, "a.csv", body())
    monkeypatch.setenv(contract.ENV_MAX_PIECE_BYTES, str(file["size"] - 1))
    whole = {"index": 0, "start": 0, "end": file["size"]}
    answer = ask("convert", file, range=whole, discarded=discarded)
    assert answer["valid"] is False and answer["rows_read"] == answer["rows_rejected"] == 0
    assert f"{file['size']} bytes and cannot be converted in ranges ({why}" in answer["reason"]
    assert f"at most {file['size'] - 1} can" in answer["reason"]
    assert aws.s3.keys() == ["raw/a.csv"]
    monkeypatch.setenv(contract.ENV_MAX_PIECE_BYTES, str(file["size"]))
    assert ask("convert", file, range=whole, discarded=discarded)["valid"] is True


# --- payloads and logs -----------------------------------------------------------------------------------------------


def test_payloads_may_grow(aws):
    """C15, E12: unknown keys are ignored in every action."""
    file = upload(aws, "a.csv", body()) | {"new": 1}
    plan = ask("plan", file, new=1)
    plan["ranges"] = [each | {"new": 1} for each in plan["ranges"]]
    parts = [ask_range(file, plan, number, new=1) | {"new": 1} for number in range(len(plan["ranges"]))]
    given = {name: plan[name] for name in ("upload_id", "header_length")}
    assert ask("complete", file, **given, parts=parts, new=1)["valid"] is True
    assert ask("abandon", file, upload_id=plan["upload_id"], new=1) == {}


def test_logs_are_brief(aws, capsys):
    """C9, E12: one line for each action, with the execution; a list is told by its length."""
    file = upload(aws, "a.csv", body())
    plan, event = convert_ranges(file)
    ask("complete", file, **event)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["action"] for line in lines] == ["plan", *["convert_range"] * len(plan["ranges"]), "complete"]
    assert lines[0]["ranges"] == len(plan["ranges"])
    assert {(line["message"], line["execution"], line["file_name"]) for line in lines} == {("done", "e", "a.csv")}
    assert max(len(json.dumps(line)) for line in lines) < 1000


def test_plan_leaves_no_gap(aws):
    """E12: what the machine hands to the ranges is what the plan said, whatever order they end in."""
    file = upload(aws, "a.csv", body())
    plan, event = convert_ranges(file)
    assert all(before["end"] == after["start"] for before, after in pairwise(plan["ranges"]))
    event["parts"].reverse()
    assert ask("complete", file, **event)["valid"] is True
    assert aws.s3.body("processed/a.csv") == in_one_piece(body())[0]
