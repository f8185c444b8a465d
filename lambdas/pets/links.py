"""Links that carry a signature: whoever has one may upload just this image, or download just that one, for a while (P1b)."""

import functools
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import boto3
from botocore.config import Config

_MAX_NAME_CHARACTERS = 255


@functools.cache
def client() -> Any:
    """Signs without calling S3. Its addresses name the region: S3 redirects others for hours after a bucket was made, which a
    browser's upload does not survive."""
    return boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))


def upload(s3: Any, bucket: str, key: str, content_type: str, size: int, seconds: int) -> dict[str, Any]:
    """A POST policy for just this key, type and size."""
    post = s3.generate_presigned_post(
        bucket,
        key,
        Fields={"Content-Type": content_type},
        Conditions=[{"Content-Type": content_type}, ["content-length-range", size, size]],
        ExpiresIn=seconds,
    )
    return {"url": post["url"], "fields": post["fields"], "expires_at": _expiry(seconds)}


def download(s3: Any, location: str, version_id: str, name: str, content_type: str, seconds: int) -> dict[str, str]:
    """A link to one version of ``s3://BUCKET/KEY``, which a browser saves under this name and never shows."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    url = s3.generate_presigned_url(
        "get_object",
        {
            "Bucket": bucket,
            "Key": key,
            "VersionId": version_id,
            "ResponseContentDisposition": content_disposition(name),
            "ResponseContentType": content_type,
        },
        ExpiresIn=seconds,
    )
    return {"url": url, "expires_at": _expiry(seconds)}


def content_disposition(name: str) -> str:
    """To save a file under this name, which may be anything (RFC 6266, RFC 8187)."""
    name = name[-_MAX_NAME_CHARACTERS:] or "image"
    plain = "".join(character if " " <= character <= "~" and character not in '"\\%/' else "_" for character in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _expiry(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
