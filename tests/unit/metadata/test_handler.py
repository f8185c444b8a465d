"""The function as the state machine calls it: payloads in, results and named exceptions out (M3b, M4, M6)."""

import hashlib
import json
from types import SimpleNamespace

import botocore.session
import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError

from lambdas.common.environment import BadEnvironment
from lambdas.metadata import contract, document, environment, index, indexing

CONTEXT = SimpleNamespace(function_name="metadata-indexing", aws_request_id="request-1")
ENVIRONMENT = {
    contract.ENV_COLLECTION_ENDPOINT: "https://abc.eu-west-1.aoss.amazonaws.com",
    contract.ENV_INDEX_NAME: "release-metadata",
    "AWS_REGION": "eu-west-1",
}
KEY = "releases/1.0/metadata.json"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:metadata:e"
REFUSED = index.DocumentRefused("object mapping for [a] tried to parse field [a] as object", 400)


class FakeIndex:
    """Keeps the texts of documents; raises what stands in `failures` first, one a document."""

    def __init__(self):
        self.stored, self.failures = [], []

    def store(self, text):
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        self.stored.append(text)


@pytest.fixture
def opensearch(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    fake = FakeIndex()
    monkeypatch.setattr(indexing, "_index", lambda settings: fake)
    return fake


def call(body='{"a":1.10}', **other):
    raw = body.encode()
    payload = {
        "body": body,
        "content_length": len(raw),
        "etag": f'"{hashlib.md5(raw).hexdigest()}"',
        "timestamp": "2026-01-31T23:59:59Z",
        "object": {"bucket": "release", "key": KEY, "version_id": "v1"},
        "execution_id": EXECUTION,
        **other,
    }
    return indexing.handler(payload, CONTEXT)


ID = document.ingest_id("release", KEY, "v1")


def test_indexed(opensearch):
    """M3b: one document, and the result that `contract` describes."""
    assert call() == {"ingest_id": ID, "indexed": True}
    (text,) = opensearch.stored
    assert text.startswith(f'{{"@timestamp":"2026-01-31T23:59:59Z","ingest":{{"id":"{ID}",') and text.endswith('"a":1.10}')


def test_invalid(opensearch):
    """M6: nothing is sent."""
    with pytest.raises(document.InvalidMetadata, match="cut off"):
        call('{"a":')
    assert not opensearch.stored


def test_too_many_fields(opensearch):
    """M5b: kept whole, without adding a field to the index."""
    content = {f"field-{number}": number for number in range(document.MAX_FIELDS + 1)}
    reason = "the file has more than 1,000 fields"
    assert call(json.dumps(content)) == {"ingest_id": ID, "indexed": False, "reason": reason}
    (text,) = opensearch.stored
    assert json.loads(text)["unindexed"] == content and json.loads(text)["ingest"]["unindexed_reason"] == reason


def test_mapping_cannot_take_it(opensearch):
    """M5b: kept, with OpenSearch's reason, instead of lost."""
    opensearch.failures = [REFUSED]
    assert call('{"a":9007199254740993}') == {"ingest_id": ID, "indexed": False, "reason": str(REFUSED)}
    (text,) = opensearch.stored
    assert text.endswith('"unindexed":{"a":9007199254740993}}')
    assert json.loads(text)["ingest"]["unindexed_reason"] == str(REFUSED)


def test_refused_in_both_forms(opensearch):
    """M6: the first refusal, with both reasons."""
    opensearch.failures = [REFUSED, index.DocumentRefused("second reason", 413)]
    with pytest.raises(index.DocumentRefused) as caught:
        call()
    assert str(REFUSED) in str(caught.value) and "second reason" in str(caught.value)
    assert caught.value.status == 400 and not opensearch.stored


@pytest.mark.parametrize(
    "failures",
    [
        [index.DocumentRefused("too large", 413)],
        [index.IndexThrottled("429")],
        [index.IndexForbidden("403")],
        [REFUSED, index.IndexUnavailable("503")],
    ],
)
def test_failures_reach_the_state_machine(opensearch, failures):
    """M6: as they are, for it to decide; only a 400 is worth the other form."""
    opensearch.failures = [*failures]
    with pytest.raises(type(failures[-1])) as caught:
        call()
    assert caught.value is failures[-1]
    assert not opensearch.failures and not opensearch.stored


def test_too_many_fields_refused(opensearch):
    """M6: there is no third form."""
    opensearch.failures = [REFUSED]
    with pytest.raises(index.DocumentRefused):
        call(json.dumps({str(number): 1 for number in range(document.MAX_FIELDS + 1)}))
    assert not opensearch.stored


def test_names_of_exceptions():
    """M6: what the state machine retries and catches by."""
    assert document.InvalidMetadata.__name__ == contract.ERROR_INVALID
    assert index.DocumentRefused.__name__ == contract.ERROR_REFUSED
    assert index.IndexForbidden.__name__ == contract.ERROR_FORBIDDEN
    assert index.IndexThrottled.__name__ == contract.ERROR_THROTTLED
    assert index.IndexUnavailable.__name__ == contract.ERROR_UNAVAILABLE


def test_handler_is_where_the_contract_says():
    """M4."""
    assert f"{indexing.__name__}.{indexing.handler.__name__}" == contract.HANDLER


# --- logs ------------------------------------------------------------------------------------------------------------


def test_logs(opensearch, capsys):
    """C9: one JSON line with the object, the execution and the request, on success and on failure."""
    call()
    with pytest.raises(document.InvalidMetadata):
        call("", object={"bucket": "release", "key": 'x"\n/metadata.json', "version_id": "v2"})
    success, failure = map(json.loads, capsys.readouterr().out.splitlines())
    assert (success["level"], success["message"], success["ingest_id"], success["indexed"]) == ("INFO", "stored", ID, True)
    assert (success["bucket"], success["key"], success["version_id"]) == ("release", KEY, "v1")
    assert (success["execution"], success["function"], success["request_id"]) == (EXECUTION, "metadata-indexing", "request-1")
    assert (failure["level"], failure["key"], failure["version_id"]) == ("ERROR", 'x"\n/metadata.json', "v2")
    assert "InvalidMetadata: the file is empty" in failure["exception"]


# --- environment and credentials -------------------------------------------------------------------------------------


def test_environment():
    """M4."""
    assert environment.indexing(ENVIRONMENT) == environment.IndexingEnvironment(
        "https://abc.eu-west-1.aoss.amazonaws.com", "release-metadata", "eu-west-1"
    )
    assert environment.indexing({**ENVIRONMENT, "COLLECTION_ENDPOINT": "http://127.0.0.1:9200"}).collection_endpoint


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("COLLECTION_ENDPOINT", bad) for bad in ["", "abc.aoss", "ftp://a", "https://a/", "https://", "https://a b", "https://u@a"]),
        *(("INDEX_NAME", bad) for bad in ["", "Upper", "_x", "-x", ".x", "a/b", "a b", "a*", "ä", "x" * 256, "x\n"]),
        *(("AWS_REGION", bad) for bad in ["", "eu west"]),
    ],
)
def test_bad_environment(name, bad):
    """M4: the fault names the variable."""
    with pytest.raises(BadEnvironment, match=f"^{name} is "):
        environment.indexing({**ENVIRONMENT, name: bad})


def test_every_call_looks_for_the_index_anew():
    """M5b: it may have been deleted while Lambda kept the process frozen, and the connection with it."""
    settings = environment.indexing(ENVIRONMENT)
    assert indexing._index(settings) is not indexing._index(settings)


def test_credentials(monkeypatch):
    """M4: those of the function, as one set."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    session = botocore.session.Session()
    monkeypatch.setattr(indexing, "_session", lambda: session)
    assert indexing._credentials() == ReadOnlyCredentials("id", "secret", "token")


def test_no_credentials(monkeypatch):
    """M6: an exception of botocore's, which the index counts as no answer."""
    monkeypatch.setattr(indexing, "_session", lambda: SimpleNamespace(get_credentials=lambda: None))
    with pytest.raises(NoCredentialsError):
        indexing._credentials()
