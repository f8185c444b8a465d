"""What a user does with a deployed pet detector: ask its API, upload pictures, wait, look.

    pets = Pets(aws, deployment.outputs["pet-detector"])
    image_id = pets.upload("rex.jpg", picture)     # or pets.send(…), inline, or pets.drop(…), without the API
    record = pets.wait([image_id])[image_id]
    record["DetectedAnimal"]                       # "dog"
"""

from __future__ import annotations

import base64
import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import urllib3

from lambdas.pets import contract
from local.emulator import Emulator
from local.executions import POLL_SECONDS, WAIT_SECONDS, Pipeline, PipelineTimeout, items

ENDED = (contract.COMPLETED, contract.UNCERTAIN, contract.FAILED)
_REQUEST_SECONDS = 60
_PATIENCE_SECONDS = 30  # with an API that says 429


class ApiError(Exception):
    """The API, or S3, answered otherwise than hoped for; the message tells how."""


class Answer(NamedTuple):
    """Of the API, or of S3."""

    status: int
    headers: Mapping[str, str]
    """Names as they are compared: without regard to case."""
    body: Any
    """JSON, if it is; bytes otherwise."""


class Uploaded(NamedTuple):
    """An object below input/."""

    key: str
    version: str


class Pets(Pipeline):
    """A deployed pet detector, through its outputs and nothing else."""

    def __init__(self, aws: Emulator, outputs: Mapping[str, str]):
        super().__init__(aws, outputs["pet_state_machine_arn"])
        self.bucket = outputs["pet_bucket_name"]
        self.table = outputs["pet_table_name"]
        self.topic_arn = outputs["pet_alert_topic_arn"]
        self.url = outputs["pet_api_url"]
        self._key_id = outputs["pet_api_key_id"]
        self._http = urllib3.PoolManager(retries=False, timeout=_REQUEST_SECONDS, maxsize=16)

    @functools.cached_property
    def key(self) -> str:
        """Value of the API key."""
        return self.aws.client("apigateway").get_api_key(apiKey=self._key_id, includeValue=True)["value"]

    # --- the API ---

    def request(
        self, method: str, path: str, body: Any = None, *, key: str | None = "", patient: bool = True, **headers: str
    ) -> Answer:
        """The answer to a request: the body as JSON unless it is bytes; with the API key unless there is another, or None. In
        names of headers, `_` stands for `-`. A patient one waits while there are too many requests.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("content-type", "application/json")
        if key is not None:
            sent["x-api-key"] = key or self.key
        deadline = time.monotonic() + (_PATIENCE_SECONDS if patient else 0)
        while True:
            answer = _answer(self._http.request(method, self.url + path, body=content, headers=sent, redirect=False))
            if answer.status != 429 or time.monotonic() > deadline:
                return answer
            time.sleep(POLL_SECONDS)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises ApiError."""
        answer = self.request(method, path, body)
        if answer.status >= 300:
            raise ApiError(f"{method} {path}: the API says {answer.status}: {answer.body}")
        return answer.body

    def form(self, file_name: str, size: int, content_type: str | None = None) -> dict:
        """What the API answers to a promised upload: `id`, and `upload` with the form's `url` and `fields`. Raises ApiError."""
        return self.ask("POST", "/upload", {
            "filename": file_name, "content_type": content_type or type_of(file_name), "size": size})

    def post(self, upload: Mapping[str, Any], body: bytes, **fields: str | None) -> Answer:
        """Fill in a form and send it to S3; `fields` change the form's own, None removes one, `_` stands for `-`."""
        changed = {name.replace("_", "-"): value for name, value in fields.items()}
        told = {name: value for name, value in {**upload["fields"], **changed}.items() if value is not None}
        return _answer(self._http.request("POST", upload["url"], fields={**told, "file": ("picture", body)}, redirect=False))

    def upload(self, file_name: str, body: bytes, content_type: str | None = None) -> str:
        """Upload a picture in two steps; its id. Raises ApiError."""
        promised = self.form(file_name, len(body), content_type)
        answer = self.post(promised["upload"], body)
        if answer.status >= 300:
            raise ApiError(f"{file_name}: S3 says {answer.status}: {answer.body!r}")
        return promised["id"]

    def send(self, file_name: str, body: bytes, content_type: str | None = None) -> str:
        """Upload a small picture inside of the request; its id. Raises ApiError."""
        return self.ask("POST", "/upload", {
            "filename": file_name, "content_type": content_type or type_of(file_name),
            "image": base64.b64encode(body).decode()})["id"]

    def image(self, image_id: str) -> dict:
        """What the API tells of an image. Raises ApiError."""
        return self.ask("GET", f"/images/{image_id}")

    def images(self, **parameters: str | int) -> dict:
        """A page: `images`, and `next_cursor` if there are more. Raises ApiError."""
        return self.ask("GET", f"/images?{urlencode(parameters)}")

    def fetch(self, url: str) -> Answer:
        """What lies behind a link."""
        return _answer(self._http.request("GET", url, redirect=False))

    # --- the bucket ---

    def drop(self, path: str, body: bytes) -> Uploaded:
        """Put an object below input/, without the API."""
        key = contract.INPUT + path
        return Uploaded(key, self.aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)["VersionId"])

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of current objects, sorted."""
        pages = self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def filed(self, record: Mapping[str, Any]) -> bytes:
        """The picture that a record points to."""
        key = place_of(record)
        return self.aws.client("s3").get_object(
            Bucket=self.bucket, Key=key, VersionId=record[contract.LOCATION_VERSION])["Body"].read()

    # --- records ---

    def records(self) -> list[dict]:
        """Every record."""
        return items(self.aws, self.table)

    def record(self, image_id: str) -> dict | None:
        """The record of an image, if there is one."""
        return next((each for each in self.records() if each[contract.IMAGE_ID] == image_id), None)

    def records_of(self, uploaded: Uploaded) -> list[dict]:
        """The records of an uploaded version: one, if all is well."""
        return [each for each in self.records()
                if (each[contract.SOURCE_KEY], each[contract.SOURCE_VERSION]) == uploaded]

    def wait(self, images: Iterable[str | Uploaded], *, seconds: float = WAIT_SECONDS) -> dict[str | Uploaded, dict]:
        """The record of each image, by its id or its version, once all are at an end. Raises PipelineTimeout."""
        found: dict[str | Uploaded, dict] = {}
        if lost := self.follow(images, found.__setitem__, seconds):
            raise PipelineTimeout(f"after {seconds} s not at an end: {sorted(map(str, lost))}; "
                                  f"running: {[each['name'] for each in self.executions('RUNNING')]}")
        return found

    def follow(
        self, images: Iterable[str | Uploaded], ended: Callable[[str | Uploaded, dict], None], seconds: float
    ) -> set[str | Uploaded]:
        """Tell `ended` of each image as soon as its record is at an end; which ones never were."""
        waiting, deadline = set(images), time.monotonic() + seconds
        while True:
            for record in self.records():
                if record[contract.STATUS] in ENDED:
                    names = record[contract.IMAGE_ID], Uploaded(record[contract.SOURCE_KEY], record[contract.SOURCE_VERSION])
                    for name in waiting.intersection(names):
                        waiting.remove(name)
                        ended(name, record)
            if not waiting or time.monotonic() > deadline:
                return waiting
            time.sleep(POLL_SECONDS)


def place_of(record: Mapping[str, Any]) -> str:
    """The key at which a record's image lies: where it was filed, or still below input/."""
    if contract.LOCATION in record:
        return record[contract.LOCATION].removeprefix("s3://").partition("/")[2]
    return record[contract.SOURCE_KEY]


def type_of(file_name: str) -> str:
    """The content type that a file's name promises."""
    return "image/png" if file_name.lower().endswith(".png") else "image/jpeg"


def _answer(response: urllib3.BaseHTTPResponse) -> Answer:
    is_json = response.headers.get("content-type", "").startswith("application/json")
    return Answer(response.status, response.headers, json.loads(response.data) if is_json and response.data else response.data)
