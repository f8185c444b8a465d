"""The index in the OpenSearch Serverless collection: made if it is missing, then written to, one document a request (M4, M5b).

What surprises, and where AWS says so (Amazon OpenSearch Service Developer Guide, chapters on OpenSearch Serverless):

* Requests are signed for the service ``aoss`` and carry ``x-amz-content-sha256``, which is signed too ("Troubleshooting",
  "Ingesting data": signing requests of other clients).
* A time-series collection takes no document ids, so a document that is sent twice is stored twice ("Choosing a collection
  type"; "Supported operations": ``POST index/_doc`` without an id). Panels count distinct ``ingest.id`` instead (M3b).
* A new data policy takes about a minute to apply; until then everything is answered with 403 ("Data access control").
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session

from ..common import log

_CONNECT_SECONDS, _READ_SECONDS = 5, 25
_MAX_MESSAGE_CHARACTERS = 1_000  # fits into unindexed_reason

_KEYWORD = {"type": "keyword"}
_SHORT_KEYWORD = {"type": "keyword", "ignore_above": 1024}  # Lucene refuses a term above 32,766 bytes
_NUMBER = {"type": "double", "ignore_malformed": True}

# A field gets its type from its first value, and later ones may differ. With these types no scalar is ever refused: a keyword
# takes every number and boolean, and what a number cannot take is ignored. Doubles are for searching; the exact numbers
# stand in _source. One field a name, no sub-fields: the limit counts them too.
_DYNAMIC_TEMPLATES = [
    {"whole_numbers": {"match_mapping_type": "long", "mapping": _NUMBER}},
    {"numbers": {"match_mapping_type": "double", "mapping": _NUMBER}},
    {"booleans": {"match_mapping_type": "boolean", "mapping": _KEYWORD}},
    {"texts": {"match_mapping_type": "string", "mapping": _SHORT_KEYWORD}},
]

INDEX = {
    "settings": {"index.mapping.total_fields.limit": 10_000},
    "mappings": {
        "date_detection": False,
        "numeric_detection": False,
        "dynamic_templates": _DYNAMIC_TEMPLATES,
        "properties": {
            "@timestamp": {"type": "date", "format": "strict_date_optional_time"},
            "ingest": {
                "dynamic": False,
                "properties": {
                    "id": _KEYWORD,
                    "bucket": _KEYWORD,
                    "key": _KEYWORD,
                    "version_id": _KEYWORD,
                    "execution_id": _KEYWORD,
                    "unindexed_reason": _SHORT_KEYWORD,
                },
            },
            "unindexed": {"type": "object", "enabled": False},
        },
    },
}
"""The body of the request that makes the index."""


class IndexForbidden(Exception):
    """OpenSearch says 401 or 403: the data policy does not let this function in, or not yet."""


class IndexThrottled(Exception):
    """OpenSearch says 429."""


class IndexUnavailable(Exception):
    """Nothing is wrong with the document: no answer, or one that is no answer to a document."""


class DocumentRefused(Exception):
    """OpenSearch says 4xx to a document; sending it again will not help."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class Index:
    """One index of one collection, for one call of the function: in the minutes between two calls, for which Lambda freezes
    the process, a connection dies and the index may be deleted. ``credentials`` is asked before each request, since they rotate.
    """

    def __init__(self, endpoint: str, name: str, region: str, credentials: Callable[[], Any], session: Any = None):
        self._url = f"{endpoint}/{name}"
        self._name = name
        self._region = region
        self._credentials = credentials
        self._session = session or URLLib3Session(timeout=(_CONNECT_SECONDS, _READ_SECONDS))  # which knows no proxies
        self._is_there = False

    def store(self, document: str) -> None:
        """Write one document, whose text this is. Raises the exceptions above."""
        if not self._is_there:
            self._ensure()
        answer = self._send("POST", "/_doc", document)
        if not answer.is_success:
            raise _failure(answer, "storing the document")

    def _ensure(self) -> None:
        """Make the index if it is not there: a document would make one without our mapping. Others may be doing the same."""
        answer = self._send("HEAD", "")
        if answer.status == 404:
            answer = self._create()
        if not (answer.is_success or answer.says_exists):
            raise _failure(answer, f"creating the index {self._name}", is_document=False)
        self._is_there = True

    def _create(self) -> "_Answer":
        answer = self._send("PUT", "", json.dumps(INDEX))
        if answer.status == 400 and not answer.says_exists:
            # Whether OpenSearch Serverless takes this setting is not documented. Without it the limit is the default of 1,000.
            log.warning("the index is made without its settings", index=self._name, reason=_cut(answer.reason))
            answer = self._send("PUT", "", json.dumps({key: value for key, value in INDEX.items() if key != "settings"}))
        return answer

    def _send(self, method: str, path: str, text: str = "") -> "_Answer":
        body = text.encode()
        request = AWSRequest(
            method=method,
            url=self._url + path,
            data=body,
            headers={"Content-Type": "application/json", "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()},
        )
        try:
            SigV4Auth(self._credentials(), "aoss", self._region).add_auth(request)
            answer = self._session.send(request.prepare())
        except BotoCoreError as error:
            raise IndexUnavailable(_cut(f"{method} {self._url + path}: no answer: {error}")) from error
        return _Answer(answer.status_code, answer.content)


class _Answer:
    """A status, and OpenSearch's own reason if it is an error."""

    def __init__(self, status: int, content: bytes):
        self.status = status
        self.is_success = status in (200, 201)
        error = _error(content)
        self.says_exists = status == 400 and error.get("type") == "resource_already_exists_exception"
        cause = error.get("caused_by")
        parts = (error.get("type"), error.get("reason"), cause.get("reason") if isinstance(cause, dict) else None)
        self.reason = ": ".join(str(part) for part in parts if part) or content.decode(errors="replace").strip() or "no reason"


def _error(content: bytes) -> dict[str, Any]:
    """The ``error`` of an answer, which may come from a proxy on the way and be anything."""
    try:
        error = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {"reason": error}


def _failure(answer: _Answer, doing: str, *, is_document: bool = True) -> Exception:
    message = _cut(f"{doing}: OpenSearch says {answer.status}: {answer.reason}")
    if answer.status in (401, 403):
        return IndexForbidden(message)
    if answer.status == 429:
        return IndexThrottled(message)
    if is_document and 400 <= answer.status < 500 and answer.status not in (404, 408):
        return DocumentRefused(message, answer.status)
    return IndexUnavailable(message)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE_CHARACTERS else text[: _MAX_MESSAGE_CHARACTERS - 1] + "…"
