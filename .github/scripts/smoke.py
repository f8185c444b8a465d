"""Asks the deployed API the least that must work: ``smoke.py OUTPUTS_JSON``, the file of ``terraform output -json``.

With its key, the list of images and an image that is not there; without, the refusal. The key is fetched here and shown nowhere.
Exit code 1 with what was expected and what came.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

TRIES, SECONDS_BETWEEN = 6, 10
"""A new stage and a new key reach every part of API Gateway within a minute."""

Answer = tuple[int, dict[str, Any]]


def ask(url: str, key: str | None) -> Answer:
    """Status and JSON body; an answer that is no JSON object counts as an empty one. Raises OSError if none comes."""
    if not url.startswith("https://"):
        raise OSError(f"{url} is not https")
    headers = {"User-Agent": "smoke-check", **({"x-api-key": key} if key else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:  # noqa: S310
            status, body = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    return status, document if isinstance(document, dict) else {}


def faults(url: str, key: str, ask: Callable[[str, str | None], Answer]) -> list[str]:
    """What the API does not answer as it must: expected and found, without the key."""
    images = f"{url.rstrip('/')}/images"
    missing = f"{images}/{uuid.UUID(int=0)}"
    found = []
    for what, address, sent, status, code in (
        ("GET /images", images, key, 200, None),
        ("GET /images/{id} of no image", missing, key, 404, "image_not_found"),
        ("GET /images without a key", images, None, 403, "invalid_api_key"),
    ):
        try:
            came, body = ask(address, sent)
        except (OSError, http.client.HTTPException) as error:
            found.append(f"{what}: no answer: {error}")
            continue
        if (came, body.get("code")) != (status, code):
            found.append(f"{what}: expected {status} {code or ''}, came {came} {body.get('code', '')}")
    return found


def main(words: list[str]) -> int:
    if len(words) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    outputs = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    url, key_id = outputs["pet_api_url"]["value"], outputs["pet_api_key_id"]["value"]
    try:
        key = boto3.client("apigateway").get_api_key(apiKey=key_id, includeValue=True)["value"]
    except (BotoCoreError, ClientError) as error:
        print(f"The API key cannot be read: {error}", file=sys.stderr)
        return 1
    found: list[str] = []
    for number in range(TRIES):
        if number:
            time.sleep(SECONDS_BETWEEN)
        found = faults(url, key, ask)
        if not found:
            print(f"{url} answers as it must")
            return 0
    print("\n".join(found), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
