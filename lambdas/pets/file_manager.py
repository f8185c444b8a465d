"""File manager, called by the state machine: moves a classified image from ``input/`` into its folder (P2, P6)."""

from typing import Any

from ..common import aws, log
from . import contract
from .uploads import Upload

_IMAGE_ID, _SOURCE_VERSION = "image-id", "source-version-id"  # metadata of a filed image


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``contract``'s payload → its result. May be called again after any failure."""
    upload, folder = Upload.from_payload(event["object"]), event["folder"]
    if folder not in contract.FOLDERS.values():
        raise ValueError(f"no folder for images: {folder!r}")
    log.start(context, image_id=event["image_id"], folder=folder, **event["object"])
    version_id = _file(aws.client("s3"), upload, folder, event["image_id"])
    result = {"location": f"s3://{upload.bucket}/{upload.filed_key(folder)}", "version_id": version_id}
    log.info("done", **result)
    return result


def _file(s3: Any, upload: Upload, folder: str, image_id: str) -> str:
    """Copy the image unless it is there already, then hide it from ``input/``; returns the copy's version id.

    The copy says what it is a copy of. Two uploads of one name share a key: each copies its own version.
    """
    key = upload.filed_key(folder)
    made_from = {_IMAGE_ID: image_id, _SOURCE_VERSION: upload.version_id}
    filed = aws.head(s3, upload.bucket, key)
    if not filed or filed["Metadata"] != made_from:
        source = {"Bucket": upload.bucket, "Key": upload.key, "VersionId": upload.version_id}
        filed = s3.copy_object(
            Bucket=upload.bucket,
            Key=key,
            CopySource=source,
            MetadataDirective="REPLACE",
            Metadata=made_from,
            ContentType=s3.head_object(**source)["ContentType"],
            TaggingDirective="REPLACE",  # copying tags would need tagging rights
        )
    aws.remove_if_current(s3, upload.bucket, upload.key, upload.version_id)
    return filed["VersionId"]
