"""Imports the dashboard *Release metadata* into OpenSearch Dashboards (M5b), over what an earlier import left there.

python -m dashboards --url "$(cd cdktf.out/stacks/tap && terraform output -raw metadata_dashboard_url)"

A collection of OpenSearch Serverless gets a request that is signed with your AWS credentials (profile or environment); any other
Dashboards, such as http://localhost:5601, an unsigned one, with a login if the URL has one (https://user:password@host).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError, SSLError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from urllib3 import encode_multipart_formdata

from dashboards.saved_objects import ndjson, saved_objects
from settings import INDEX, PATTERNS

TIMEOUT_SECONDS = 30
SERVERLESS = re.compile(r"[a-z0-9-]+\.([a-z0-9-]+)\.aoss\.amazonaws\.com(?:\.cn)?")
"""Hosts of collections; the group is the region."""

NOT_ALLOWED = (
    "Your AWS identity may not use this dashboard. `aws sts get-caller-identity` tells who you are. That role or user must be\n"
    "in METADATA_DASHBOARD_PRINCIPALS (by default only who deployed is; after a deployment wait a minute), and its own policies\n"
    "must allow aoss:DashboardsAccessAll on arn:aws:aoss:REGION:ACCOUNT:dashboards/default.")
LOG_IN = "Log in again (such as `aws sso login`) or export fresh ones, then repeat."
GIVE_LOGIN = (
    "This Dashboards wants a login that may keep saved objects: --url https://user:password@host\n"
    "(in them write %40 for @, %3A for : and %2F for /).")
NOT_THERE = "OpenSearch Dashboards is not there. --url is the stack's output metadata_dashboard_url."
CORRECT = "Correct that, then repeat; importing twice does no harm."
AGAIN = "Repeat in a minute; importing twice does no harm."


class ImportFailed(Exception):
    """What went wrong and what to do about it, for a person to read."""


@dataclass(frozen=True)
class Target:
    """A Dashboards: its address without login and /app, the region to sign for (none: unsigned), and the login."""

    address: str
    region: str | None = None
    login: str | None = None


def target(url: str, region: str | None = None) -> Target:
    """The Dashboards that a person means by this URL; ``ValueError`` says what is wrong with it."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be https://HOST or http://HOST, such as the stack's output metadata_dashboard_url")
    serverless = SERVERLESS.fullmatch(parts.hostname)
    if serverless and parts.scheme == "http":
        raise ValueError("a collection is reached by https:// only")
    if serverless:
        return Target(f"https://{parts.hostname}/_dashboards", region or serverless[1])
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    path = re.sub(r"/app(/.*)?$", "", parts.path).rstrip("/")
    return Target(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}", login=login)


def request(where: Target, objects: list[dict[str, Any]]) -> AWSPreparedRequest:
    """The request that imports the objects."""
    body, content_type = encode_multipart_formdata({"file": ("metadata.ndjson", ndjson(objects), "application/x-ndjson")})
    found = AWSRequest("POST", f"{where.address}/api/saved_objects/_import?overwrite=true",
                       headers={"Content-Type": content_type, "osd-xsrf": "true"}, data=body)
    if where.region:
        found.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
        SigV4Auth(_credentials(), "aoss", where.region).add_auth(found)  # Content-Length comes later: aoss forbids signing it
    elif where.login:
        found.headers["Authorization"] = f"Basic {base64.b64encode(where.login.encode()).decode()}"
    return found.prepare()


def _credentials() -> ReadOnlyCredentials:
    try:
        found = botocore.session.get_session().get_credentials()
        if found:
            return found.get_frozen_credentials()
    except (BotoCoreError, ClientError, RuntimeError) as error:  # the latter two from a role that cannot be assumed any more
        raise ImportFailed(f"The AWS credentials cannot be used: {error}\n{LOG_IN}") from error
    raise ImportFailed("There are no AWS credentials. Set AWS_PROFILE, or export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")


def send(prepared: AWSPreparedRequest) -> AWSResponse:
    """Over the network, once."""
    authorities: Any = os.environ.get("AWS_CA_BUNDLE") or True
    return URLLib3Session(verify=authorities, proxies=get_environ_proxies(prepared.url), timeout=TIMEOUT_SECONDS).send(prepared)


def import_objects(where: Target, objects: list[dict[str, Any]], sender: Callable[[AWSPreparedRequest], AWSResponse]) -> None:
    """Have them imported, all of them, or raise `ImportFailed`."""
    prepared = request(where, objects)
    try:
        response = sender(prepared)
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise ImportFailed(f"{where.address} gave no answer within {TIMEOUT_SECONDS} seconds. {AGAIN}") from error
    except SSLError as error:
        raise ImportFailed(f"{error}\nAWS_CA_BUNDLE can name a file with the certificate of an authority of your own.") from error
    except BotoCoreError as error:
        raise ImportFailed(f"{error}\nIs the URL right, does the collection still exist, is a VPN or proxy between?") from error
    text = response.content.decode(errors="replace")
    if response.status_code != 200:
        raise ImportFailed(f"{where.address} answered {response.status_code}: {_plain(text)}\n{_remedy(response, text, where)}")
    answer = _answer(text)
    if "success" not in answer:
        raise ImportFailed(f"{where.address} did not answer as OpenSearch Dashboards does: {_plain(text)}\n{NOT_THERE}")
    if not answer["success"]:
        faults = "".join(f"\n  {_fault(error)}" for error in answer.get("errors", []))
        raise ImportFailed(f"Not everything could be imported:{faults}\nThe others may be there. {CORRECT}")


def _remedy(response: AWSResponse, text: str, where: Target) -> str:
    status = response.status_code
    refused = status in (401, 403) or 300 <= status < 400  # Dashboards sends a stranger to its login page
    if refused and where.region and "expired" in text.lower():
        return f"The AWS credentials have expired, or this machine's clock is wrong. {LOG_IN}"
    if refused and where.region:
        return NOT_ALLOWED
    if refused and status < 400:
        return f"It sends you to {_plain(response.headers.get('Location', 'nowhere'))}. If that is a login page: {GIVE_LOGIN}"
    if refused:
        return GIVE_LOGIN
    if status in (404, 405):
        return NOT_THERE
    if status == 429 or status >= 500:
        return AGAIN
    return "Is this OpenSearch Dashboards 2 or newer? To import by hand: python -m dashboards --print"


def _answer(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _fault(error: dict[str, Any]) -> str:
    """Why one object was not imported, in a line."""
    why = error.get("error", {})
    missing = "".join(f" {found.get('type')} {found.get('id')}" for found in why.get("references", []))
    reason = why.get("message") or f"{str(why.get('type')).replace('_', ' ')}{missing}"
    return _plain(f"{error.get('type')} {error.get('meta', {}).get('title') or error.get('id')}: {reason}")


def _plain(text: str) -> str:
    """One line that cannot command a terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:300]


def _table(objects: list[dict[str, Any]]) -> Table:
    table = Table(title="Imported", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
    for name in ("type", "title"):
        table.add_column(name)
    for found in objects:
        table.add_row(found["type"], Text(found["attributes"]["title"]))
    return table


def main(arguments: Sequence[str] | None = None, sender: Callable[[AWSPreparedRequest], AWSResponse] = send) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dashboards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--url", help="of OpenSearch Dashboards: the stack's output metadata_dashboard_url")
    what.add_argument("--print", action="store_true", help="import nothing; print the NDJSON, to be imported by hand")
    parser.add_argument("--region", help="of the collection; default: the one in the URL")
    parser.add_argument("--index", help="index to search, if METADATA_INDEX_NAME was set; default: release-metadata")
    given = parser.parse_args(arguments)
    if given.index is not None and not re.fullmatch(INDEX, given.index):
        parser.error(f"--index: {given.index!r} {PATTERNS[INDEX]}")
    objects = saved_objects(given.index)
    if given.print:
        print(ndjson(objects), end="")
        return 0
    try:
        where = target(given.url, given.region)
    except ValueError as error:
        parser.error(f"--url: {error}")
    try:
        import_objects(where, objects, sender)
    except ImportFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    console.print(_table(objects))
    console.print(Text(f"Open {where.address}/app/dashboards#/view/release-metadata-dashboard"), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
