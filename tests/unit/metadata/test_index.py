"""The client of the collection: what it sends, and what it makes of answers (M4, M5b, M6)."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from lambdas.metadata import index as module
from lambdas.metadata.index import INDEX, DocumentRefused, Index, IndexForbidden, IndexThrottled, IndexUnavailable

ENDPOINT = "https://abc.eu-west-1.aoss.amazonaws.com"
CREDENTIALS = ReadOnlyCredentials("AKID", "the-secret-key", "the-session-token")
CREATED = (200, {"acknowledged": True})
STORED = (201, {"result": "created"})
ABSENT, EXISTS = (404, b""), (200, b"")
FASTER = (400, {"error": {"type": "resource_already_exists_exception", "reason": "index [x] already exists"}, "status": 400})
MISSING = (404, {"error": {"type": "index_not_found_exception", "reason": "no such index [x]"}, "status": 404})
UNKNOWN_SETTING = (400, {"error": {"type": "illegal_argument_exception", "reason": "unknown setting"}, "status": 400})


class FakeSession:
    """Answers requests from a list: a status and a body, or an exception. Keeps the requests."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []

    def send(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return SimpleNamespace(status_code=status, content=body if isinstance(body, bytes) else json.dumps(body).encode())

    @property
    def sent(self):
        return [f"{request.method} {urlsplit(request.url).path}" for request in self.requests]


def an_index(*answers):
    session = FakeSession(*answers)
    return Index(ENDPOINT, "release-metadata", "eu-west-1", lambda: CREDENTIALS, session), session


LOOK, CREATE, STORE = "HEAD /release-metadata", "PUT /release-metadata", "POST /release-metadata/_doc"


# --- requests --------------------------------------------------------------------------------------------------------


def test_index_is_made_once():
    """M5b: before the first document; the unindexed form of a document needs no second look."""
    index, session = an_index(ABSENT, CREATED, STORED, STORED)
    index.store('{"a":1}')
    index.store('{"a":2}')
    assert session.sent == [LOOK, CREATE, STORE, STORE]
    assert json.loads(session.requests[1].body) == INDEX
    assert [request.body for request in session.requests[2:]] == [b'{"a":1}', b'{"a":2}']


def test_documents_have_no_ids():
    """M4: a time-series collection refuses them."""
    index, session = an_index(EXISTS, (200, {}))
    index.store("{}")
    assert session.requests[1].method == "POST" and session.requests[1].url == f"{ENDPOINT}/release-metadata/_doc"


def test_text_is_sent_as_it_is():
    """M3b: UTF-8, digit by digit."""
    index, session = an_index(EXISTS, STORED)
    index.store('{"ß😀":1.10}')
    assert session.requests[1].body == '{"ß😀":1.10}'.encode()
    assert session.requests[1].headers["Content-Type"] == "application/json"
    assert session.requests[1].headers["Content-Length"] == str(len('{"ß😀":1.10}'.encode()))


def test_signature(monkeypatch):
    """M4: signed for aoss with the hash of the body among the signed headers; computed here once more, step by step."""
    now = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: now)
    index, session = an_index(EXISTS, STORED)
    index.store('{"ß":1}')

    hashed = hashlib.sha256('{"ß":1}'.encode()).hexdigest()
    signed = {
        "content-type": "application/json",
        "host": "abc.eu-west-1.aoss.amazonaws.com",
        "x-amz-content-sha256": hashed,
        "x-amz-date": "20260131T235959Z",
        "x-amz-security-token": "the-session-token",
    }
    headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = "\n".join(["POST", "/release-metadata/_doc", "", headers, ";".join(signed), hashed])
    scope = "20260131/eu-west-1/aoss/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n20260131T235959Z\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4the-secret-key"
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()

    headers = session.requests[1].headers
    assert headers["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    )
    assert {name: headers[name] for name in signed if name != "host"} == {k: v for k, v in signed.items() if k != "host"}


def test_credentials_are_asked_for_before_each_request():
    """M4: they rotate."""
    given = iter([CREDENTIALS._replace(access_key="first"), CREDENTIALS._replace(access_key="second")])
    session = FakeSession(EXISTS, STORED)
    Index(ENDPOINT, "x", "eu-west-1", lambda: next(given), session).store("{}")
    for request, key in zip(session.requests, ["first", "second"], strict=True):
        assert f"Credential={key}/" in request.headers["Authorization"]


def test_real_session_waits_briefly_and_uses_no_proxy(monkeypatch):
    """M6: an answer that never comes must not use up the function's time."""
    made = {}
    monkeypatch.setattr(module, "URLLib3Session", lambda **arguments: made.update(arguments))
    Index(ENDPOINT, "x", "eu-west-1", lambda: CREDENTIALS)
    assert made == {"timeout": (5, 25)}


# --- the index -------------------------------------------------------------------------------------------------------


def test_mapping():
    """M5b: explicit types for the stamp, no guessing, nothing malformed refused, a limit on fields."""
    mappings = INDEX["mappings"]
    assert INDEX["settings"] == {"index.mapping.total_fields.limit": 10_000}
    assert mappings["date_detection"] is False and mappings["numeric_detection"] is False
    assert mappings["properties"]["@timestamp"] == {"type": "date", "format": "strict_date_optional_time"}
    assert mappings["properties"]["unindexed"] == {"type": "object", "enabled": False}
    ingest = mappings["properties"]["ingest"]
    assert ingest["dynamic"] is False
    assert {name: field["type"] for name, field in ingest["properties"].items()} == dict.fromkeys(
        ["id", "bucket", "key", "version_id", "execution_id", "unindexed_reason"], "keyword"
    )
    templates = [template for entry in mappings["dynamic_templates"] for template in entry.values()]
    assert {template["match_mapping_type"]: template["mapping"] for template in templates} == {
        "long": {"type": "double", "ignore_malformed": True},
        "double": {"type": "double", "ignore_malformed": True},
        "boolean": {"type": "keyword"},
        "string": {"type": "keyword", "ignore_above": 1024},
    }


def test_index_that_exists():
    """M5b: its mapping is left as it is."""
    index, session = an_index(EXISTS, STORED)
    index.store("{}")
    assert session.sent == [LOOK, STORE]


def test_index_that_another_process_has_just_made():
    """M5b."""
    index, session = an_index(ABSENT, FASTER, STORED)
    index.store("{}")
    assert session.sent == [LOOK, CREATE, STORE]


def test_index_without_settings(capsys):
    """M5b: if the service does not take the setting, the index is made without, and that is said."""
    index, session = an_index(ABSENT, UNKNOWN_SETTING, CREATED, STORED)
    index.store("{}")
    assert session.sent == [LOOK, CREATE, CREATE, STORE]
    assert json.loads(session.requests[2].body) == {"mappings": INDEX["mappings"]}
    line = json.loads(capsys.readouterr().out)
    assert line["level"] == "WARNING" and "unknown setting" in line["reason"]


def test_index_that_cannot_be_made():
    """M6: no document is blamed for it."""
    index, session = an_index(ABSENT, UNKNOWN_SETTING, UNKNOWN_SETTING)
    with pytest.raises(IndexUnavailable, match="creating the index release-metadata: OpenSearch says 400: illegal_argument"):
        index.store("{}")
    assert session.sent == [LOOK, CREATE, CREATE]


def test_a_failure_to_make_the_index_is_forgotten():
    """M6: the next attempt tries again."""
    index, session = an_index(ABSENT, (403, {}), ABSENT, CREATED, STORED)
    with pytest.raises(IndexForbidden):
        index.store("{}")
    index.store("{}")
    assert session.sent == [LOOK, CREATE, LOOK, CREATE, STORE]


def test_index_that_disappears():
    """M6: the document is not at fault, so it is tried again later."""
    index, session = an_index(EXISTS, MISSING)
    with pytest.raises(IndexUnavailable, match="404: index_not_found_exception"):
        index.store("{}")
    assert session.sent == [LOOK, STORE]


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "exception"),
    [(401, IndexForbidden), (403, IndexForbidden), (429, IndexThrottled), (400, DocumentRefused), (409, DocumentRefused),
     (413, DocumentRefused), (408, IndexUnavailable), (500, IndexUnavailable), (502, IndexUnavailable), (503, IndexUnavailable),
     (504, IndexUnavailable), (301, IndexUnavailable), (307, IndexUnavailable), (204, IndexUnavailable), (202, IndexUnavailable)],
)  # fmt: skip
def test_what_answers_mean(status, exception):
    """M6: the name of the exception decides whether the state machine tries again."""
    index, session = an_index(EXISTS, (status, {"error": {"type": "t", "reason": "r"}}))
    with pytest.raises(exception, match=f"storing the document: OpenSearch says {status}: t: r") as caught:
        index.store("{}")
    assert type(caught.value) is exception
    assert getattr(caught.value, "status", status) == status
    assert session.sent == [LOOK, STORE]


@pytest.mark.parametrize(
    ("answer", "exception"),
    [((429, {}), IndexThrottled), ((401, {}), IndexForbidden), ((413, {}), IndexUnavailable), ((503, b""), IndexUnavailable)],
)
def test_what_answers_mean_while_making_the_index(answer, exception):
    """M6: looking for it is a part of that."""
    for answers in ([answer], [ABSENT, answer]):
        index, _ = an_index(*answers)
        with pytest.raises(exception, match="creating the index"):
            index.store("{}")


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=ENDPOINT),
        ConnectTimeoutError(endpoint_url=ENDPOINT),
        ReadTimeoutError(endpoint_url=ENDPOINT),
        NoCredentialsError(),
    ],
)
def test_no_answer(error):
    """M6: retried."""
    index, _ = an_index(EXISTS, error)
    with pytest.raises(IndexUnavailable, match="POST https://.*/release-metadata/_doc: no answer"):
        index.store("{}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": {"type": "a", "reason": "b", "caused_by": {"type": "c", "reason": "d"}}}, "a: b: d"),
        ({"error": {"type": "a", "reason": None, "caused_by": "odd"}}, "a"),
        ({"error": "in words"}, "in words"),
        ({"message": "from a gateway"}, '{"message": "from a gateway"}'),
        (b"<html>Bad Gateway</html>\n", "<html>Bad Gateway</html>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[1]", "[1]"),
        (b'"error"', '"error"'),
        (b"null", "null"),
        (b"[" * 100_000, "[" * 900),
        (b"", "no reason"),
    ],
)
def test_reasons(body, reason):
    """M6: OpenSearch's own words, whatever else may answer in its place."""
    index, _ = an_index(EXISTS, (400, body))
    with pytest.raises(DocumentRefused) as caught:
        index.store("{}")
    assert str(caught.value).startswith(f"storing the document: OpenSearch says 400: {reason}")


def test_messages_are_short_and_keep_secrets():
    """M6: they stand in the table of failures, and in a field of the index that ignores longer texts."""
    long = "x" * 5_000
    for answer in [(400, long.encode()), (503, {"error": {"reason": long}}), EndpointConnectionError(endpoint_url=long)]:
        index, _ = an_index(EXISTS, answer)
        with pytest.raises((DocumentRefused, IndexUnavailable)) as caught:
            index.store("{}")
        assert len(str(caught.value)) == 1_000 and str(caught.value).endswith("…")
        assert "the-secret-key" not in str(caught.value) and "the-session-token" not in str(caught.value)
