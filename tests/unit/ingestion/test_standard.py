"""One schema, one standard record, a key from content alone (R3a)."""

import hashlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.common.environment import BadEnvironment
from lambdas.ingestion import contract, environment, json_text, reading
from lambdas.ingestion.reading import Place, Raw
from lambdas.ingestion.standard import MAX_DATA_BYTES, standard

TIME = "2024-03-05T10:11:12Z"


def record(text, suffix=".json"):
    """The standard record of a file's only one."""
    body = text.encode(errors="surrogatepass")
    (raw,) = reading.records(lambda start: iter([body[start:]]), len(body), suffix)
    return standard(raw)


def of(**values):
    return record(json.dumps(values, ensure_ascii=False))


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_valid():
    """R3a: own id and time; the data with sorted keys, without white space, its numbers as they were written."""
    found = record('{"timestamp": "2024-03-05T10:11:12Z", "recordId": 7, "é": [1.50, 1E5, -0], "a": {"z": true, "b": null}}')
    data = '{"a":{"b":null,"z":true},"recordId":7,"timestamp":"2024-03-05T10:11:12Z","é":[1.50,1E5,-0]}'
    assert found == ("7", TIME, data, sha(data), None) and found.status == contract.VALID


def test_csv_values_are_texts():
    """R3a"""
    found = record('recordId,timestamp,n\n7,1709633472,"1.0"', ".csv")
    assert (found.record_id, found.timestamp, found.status) == ("7", TIME, contract.VALID)
    assert found.data == '{"n":"1.0","recordId":"7","timestamp":"1709633472"}'


@pytest.mark.parametrize("text", [f'{{"timestamp":"{TIME}"}}', f'{{"recordId":null,"timestamp":"{TIME}"}}'])
def test_without_an_id(text):
    """R3a: the hash of the content, so that a file that comes twice changes nothing."""
    assert record(text).record_id == sha(text) and record(text).status == contract.VALID


def test_layout_does_not_matter():
    """R3a: the same record, however it is written, has the same key; other content has another."""
    one, same, other = (
        record(f'{{"timestamp": "{TIME}", {rest}}}') for rest in ('"a": 1, "b": "\\u00e9"', '"b":"é","a":1', '"a": 1.0, "b": "é"')
    )
    assert one == same and other.record_id != one.record_id


@pytest.mark.parametrize("id_", [True, [], {}, " ", "\t", "x" * 513, "checkpoint#1", "heartbeat#us-east-1"])
def test_unusable_ids(id_):
    """R3a: stored under the hash, as invalid, with the reason; the time stays."""
    found = of(recordId=id_, timestamp=TIME)
    assert found.status == contract.INVALID and found.reason.startswith("recordId ")
    assert found.record_id == found.checksum and found.timestamp == TIME


def test_longest_id():
    """R3a, R4: 512 characters are at most the 2,048 bytes that DynamoDB takes."""
    found = of(recordId="😀" * 512, timestamp=TIME)
    assert found.status == contract.VALID and len(found.record_id.encode()) == 2048


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TIME, TIME), ("2024-03-05t10:11:12z", TIME), ("2024-03-05 10:11:12", TIME), (" 2024-03-05T11:11:12+01:00 ", TIME),
        ("2024-03-05T04:41:12-0530", TIME), ("2024-03-05T10:11:12.000Z", TIME), ("2024-03-05T12:11:12 +02", TIME),
        ("2024-03-05T10:11:12,1200Z", "2024-03-05T10:11:12.12Z"),
        ("2024-03-05T10:11:12.123456789Z", "2024-03-05T10:11:12.123456789Z"),
        ("2024-03-05", "2024-03-05T00:00:00Z"), ("2024-03-05T10:11", "2024-03-05T10:11:00Z"), (1709633472, TIME),
        ("1709633472", TIME), (1709633472000, TIME), (1709633472120, "2024-03-05T10:11:12.12Z"),
        (100000000, "1973-03-03T09:46:40Z"),
        (1709633472.25, "2024-03-05T10:11:12.25Z"), ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00Z"),
        ("2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00Z"),
    ],
)  # fmt: skip
def test_timestamps(value, expected):
    """R3a: one moment, one text."""
    found = of(timestamp=value)
    assert (found.timestamp, found.status) == (expected, contract.VALID)
    assert of(timestamp=expected).timestamp == expected


@pytest.mark.parametrize(
    "value",
    [
        None, "", "soon", "2023-02-29", "2024-03-05T24:00:00Z", "2024-03-05T10:11:60Z", "2024-03-05T10:11:12.1234567890Z",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-00:01", "2024-03-05+01:00",
        "2024-03-05T10:11.5", "0000-01-01", True, [TIME],
        17, 17096334721, 1.7e9 * 10, -1709633472, "２024-03-05", "2024-3-5", "2024-03-05T10:11:12Z\n2024", "+1709633472", {},
    ],
)  # fmt: skip
def test_unreadable_timestamps(value):
    """R3a: invalid, with the fixed sentinel; the id stays."""
    found = of(recordId="a", timestamp=value)
    assert (found.record_id, found.timestamp, found.status) == ("a", contract.NO_TIMESTAMP, contract.INVALID)
    assert found.reason.startswith("timestamp ") and len(found.reason) < 200


def test_all_faults_are_named():
    """R3a"""
    found = of(recordId=" ", timestamp="soon")
    assert found.reason == "recordId is blank; timestamp 'soon' is neither ISO 8601 nor seconds or milliseconds since 1970"


DEEP = '{"a":' + "[" * 101 + "]" * 101 + "}"


@pytest.mark.parametrize("text", ['{"a": nope}', '{"a": "\\ud800"}', '{"recordId": "\\udfff"}', DEEP])
def test_unread_records_are_kept(text):
    """R3a: with their own text, its hash as the id, and the reason."""
    found = record(text + "\n")
    assert found[:4] == (sha(text), contract.NO_TIMESTAMP, text, sha(text)) and found.reason


@pytest.mark.parametrize("body", ["x" * MAX_DATA_BYTES, "é" * (MAX_DATA_BYTES // 2)])
def test_too_large_for_an_item(body):
    """R3a: the beginning is kept under the record's own key; the checksum is the whole record's."""
    one, other = (of(recordId="a", timestamp=TIME, body=body + end) for end in "12")
    assert (one.record_id, one.timestamp, one.status) == ("a", TIME, contract.INVALID)
    assert one.data == other.data and len(one.data.encode()) < 20_000 and one.checksum != other.checksum
    assert "an item holds 400,000" in one.reason


def test_cut_records_differ_by_length():
    """R3a: of what is too large to be read there is but the beginning and the length; both make the key."""
    one, other = (standard(Raw(Place(), Place(9), b"{" * 99, length, None, "too large")) for length in (10**7, 10**8))
    assert one.data == other.data and one.record_id != other.record_id


def test_bytes_that_are_no_text_fit_too():
    """R3a: each takes three bytes as the sign that stands for it."""
    found = standard(Raw(Place(), Place(9), b"\xff" * 300_000, 300_000, None, "not UTF-8"))
    assert len(found.data.encode()) <= MAX_DATA_BYTES


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_canonical(value):
    """R3a: canonical text says what the record said, digit by digit, and is its own canonical text."""
    text = json.dumps(value, default=float) if not _has_decimals(value) else _with_decimals(value)
    canonical = json_text.canonical(json_text.parse(text.encode()))
    assert json.loads(canonical, parse_float=Decimal) == json.loads(text, parse_float=Decimal)
    assert json_text.canonical(json_text.parse(canonical.encode())) == canonical


def _has_decimals(value):
    return "Decimal(" in repr(value)


def _with_decimals(value):
    """JSON with decimals in full."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list):
        return f"[{', '.join(map(_with_decimals, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)}: {_with_decimals(one)}' for key, one in value.items())}}}"
    return json.dumps(value)


def test_environment():
    """R2: a fault names the variable and what it should be."""
    good = {"TABLE_NAME": "t", "REGION": "us-east-1", "OTHER_REGION": "us-west-2", "METRICS_NAMESPACE": "n"}
    assert environment.heartbeat(good).other_region == "us-west-2"
    assert environment.processor(good).table_name == "t" and environment.consumer(good).region == "us-east-1"
    with pytest.raises(BadEnvironment, match="TABLE_NAME is missing.*; REGION is 'east', should be an AWS region"):
        environment.processor({"REGION": "east", "METRICS_NAMESPACE": "n"})
