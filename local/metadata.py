"""What a user does with a deployed metadata pipeline: upload, wait, search.

    metadata = Metadata(aws, deployment.outputs["tap"])
    version = metadata.upload("releases/1.4/metadata.json", b'{"version": "1.4"}')
    result = metadata.wait("releases/1.4/metadata.json", version)
    result.document                                # {"@timestamp": …, "ingest": {…}, "version": "1.4"}; None if it failed
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from local.emulator import Emulator
from local.executions import POLL_SECONDS, WAIT_SECONDS, Pipeline, PipelineTimeout, items

_MOST_HITS = 10_000
_REQUEST_SECONDS = 60

Version = tuple[str, str]
"""Key and version id."""


class SearchError(Exception):
    """The collection answered with an error; the message is its own."""


class Number(str):
    """A number of a JSON text, digit by digit as it stands there."""

    __slots__ = ()


@dataclass(frozen=True)
class Ended:
    """What became of one uploaded version: one of the two."""

    document: dict | None
    """As stored, its numbers as Number."""
    failure: dict | None
    """An item of the table of failures."""

    @property
    def execution_arn(self) -> str:
        """Which execution came to this end."""
        return self.document["ingest"]["execution_id"] if self.document else (self.failure or {})["execution_id"]


class Metadata(Pipeline):
    """A deployed metadata pipeline, through its outputs (M8) and nothing else."""

    def __init__(self, aws: Emulator, outputs: Mapping[str, str]):
        super().__init__(aws, outputs["metadata_state_machine_arn"])
        self.bucket = outputs["metadata_bucket_name"]
        self.table = outputs["metadata_failures_table_name"]
        self.endpoint = outputs["metadata_collection_endpoint"]
        self.index = outputs["metadata_index_name"]

    def upload(self, key: str, body: bytes) -> str:
        """Put an object; its version id."""
        return self.aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)["VersionId"]

    # --- the collection ---

    def request(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        """Status and text of the collection's answer to a signed request."""
        content = body.encode()
        request = AWSRequest(method, self.endpoint + path, data=content, headers={
            "Content-Type": "application/json", "X-Amz-Content-SHA256": hashlib.sha256(content).hexdigest()})
        SigV4Auth(self.aws.session().get_credentials(), "aoss", self.aws.region).add_auth(request)
        # The endpoint's name is one of this machine's only to those who ask the emulator.
        connection = http.client.HTTPConnection("127.0.0.1", self.aws.port, timeout=_REQUEST_SECONDS)
        try:
            connection.request(method, path, content, {"Host": urlsplit(self.endpoint).netloc, **dict(request.headers)})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def search(self, query: Mapping[str, Any]) -> list[dict]:
        """The hits of a search in the index (`{"query": …, "size": …}`), numbers as Number; none if there is no index yet.

        Raises SearchError.
        """
        status, text = self.request("POST", f"/{self.index}/_search", json.dumps(query))
        if status == 404:
            return []
        if status != 200:
            raise SearchError(f"OpenSearch says {status}: {text}")
        return parsed(text)["hits"]["hits"]

    def documents(self, key: str, version: str | None = None) -> list[dict]:
        """What is stored of a key, or of one version of it."""
        terms = {"ingest.key": key, **({"ingest.version_id": version} if version else {})}
        hits = self.search({"size": _MOST_HITS, "query": {"bool": {"filter": [{"term": {name: terms[name]}} for name in terms]}}})
        return [hit["_source"] for hit in hits]

    def newest(self, count: int, query: Mapping[str, Any]) -> list[dict]:
        """The newest documents that the query finds, newest first."""
        return [hit["_source"] for hit in self.search({"size": count, "query": query, "sort": [{"@timestamp": "desc"}]})]

    def count(self) -> int:
        """How many documents there are."""
        status, text = self.request("GET", f"/{self.index}/_count")
        return json.loads(text)["count"] if status == 200 else 0

    # --- failures ---

    def failures(self) -> list[dict]:
        """Every item of the table of failures."""
        return items(self.aws, self.table)

    def failures_of(self, key: str, version: str | None = None) -> list[dict]:
        """The items of a key, or of one version of it."""
        return [item for item in self.failures()
                if item["object_key"] == key and version in (None, version_in(item["input"])[1])]

    # --- versions ---

    def executed(self, earlier: Container[str] = ()) -> list[Version]:
        """The version of every execution except those with an earlier ARN."""
        arns = [each["executionArn"] for each in self.executions() if each["executionArn"] not in earlier]
        return [version_in(self.execution(arn).input) for arn in arns]

    def wait(self, key: str, version: str, *, seconds: float = WAIT_SECONDS) -> Ended:
        """Wait until this version is a document or a failure. Raises PipelineTimeout."""
        return self.wait_for_all([(key, version)], seconds=seconds)[key, version]

    def wait_for_all(self, versions: Iterable[Version], *, seconds: float = WAIT_SECONDS) -> dict[Version, Ended]:
        """Wait until each version is a document or a failure. Raises PipelineTimeout."""
        wanted, found = set(versions), {}

        def told(version: Version, ended: Ended) -> None:
            found[version] = ended

        if lost := self.follow(wanted, told, seconds):
            raise PipelineTimeout(f"after {seconds} s neither indexed nor failed: {sorted(lost)}; "
                                  f"running: {[each['name'] for each in self.executions('RUNNING')]}")
        return found

    def follow(self, versions: Iterable[Version], ended: Callable[[Version, Ended], None], seconds: float) -> set[Version]:
        """Tell `ended` of each version as soon as it is a document or a failure; which ones never were."""
        waiting, deadline = set(versions), time.monotonic() + seconds
        while True:
            for version, end in self._ends(waiting).items():
                waiting.remove(version)
                ended(version, end)
            if not waiting or time.monotonic() > deadline:
                return waiting
            time.sleep(POLL_SECONDS)

    def _ends(self, versions: Iterable[Version]) -> dict[Version, Ended]:
        """Those of the versions that are at an end: one search and one scan for all."""
        ids = {ingest_id(self.bucket, *version): version for version in versions}
        if not ids:
            return {}
        hits = self.search({"size": _MOST_HITS, "query": {"terms": {"ingest.id": list(ids)}}})
        found = {ids[hit["_source"]["ingest"]["id"]]: Ended(hit["_source"], None) for hit in hits}
        for item in self.failures():
            if (version := version_in(item["input"])) in ids.values():
                found.setdefault(version, Ended(None, item))
        return found


def ingest_id(bucket: str, key: str, version: str) -> str:
    """The `ingest.id` of a version's documents (M3b)."""
    return hashlib.sha256(f"{bucket}\n{key}\n{version}".encode()).hexdigest()


def version_in(execution_input: str) -> Version:
    """Key and version id in an execution's input; empty if there are none, as in a forged event."""
    told = json.loads(execution_input or "{}").get("detail", {}).get("object", {})
    return told.get("key", ""), told.get("version-id", "")


def parsed(text: str) -> Any:
    """JSON with its numbers as Number."""
    return json.loads(text, parse_int=Number, parse_float=Number)


def pretty(value: Any, indent: str = "") -> str:
    """JSON for people, every number as it is stored."""
    inner = indent + "  "
    match value:
        case Number():
            return str(value)
        case dict() if value:
            members = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {pretty(item, inner)}" for key, item in value.items()]
            return "{\n" + ",\n".join(members) + f"\n{indent}}}"
        case list() if value:
            return "[\n" + ",\n".join(inner + pretty(item, inner) for item in value) + f"\n{indent}]"
        case _:
            return json.dumps(value, ensure_ascii=False)
