"""The API's function (P1): hands out uploads, and shows what became of them. It has no part in recognition."""

import functools
import json
import uuid
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, CORSConfig, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from botocore.exceptions import ClientError

from ..common import aws, log
from . import contract, environment, links, listing, requests, uploads
from .records import Records

_CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png"}
_FAILED = "the image could not be processed, through no fault of its own; it is kept and will be looked at"


class ApiError(Exception):
    """An answer other than the one hoped for; ``code`` is stable, the message is for a person."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request from API Gateway (proxy integration) → the response. Every error becomes a response, save for a bad set-up."""
    settings = environment.api()
    log.start(context, api_request_id=_request_id(event), method=event.get("httpMethod"), resource=event.get("resource"))
    response = _resolver(settings).resolve(event, context)
    log.info("done", status=response["statusCode"])
    return response


@functools.cache
def _resolver(settings: environment.ApiEnvironment) -> APIGatewayRestResolver:
    app = APIGatewayRestResolver(
        cors=CORSConfig(allow_origin=settings.allowed_origin, expose_headers=["Location"], max_age=600)
    )

    @app.post("/upload")
    def upload() -> Response:
        return _upload(settings, app.current_event)

    @app.get("/images/<image_id>")
    def get(image_id: str) -> Response:
        return _get(settings, image_id)

    @app.get("/images")
    def list_() -> Response:
        raw = app.current_event.raw_event
        return _list(settings, raw.get("multiValueQueryStringParameters") or {})

    @app.exception_handler(Exception)
    def failed(error: Exception) -> Response:
        return _failure(error, _request_id(app.current_event.raw_event))

    return app


# --- the endpoints ---------------------------------------------------------------------------------------------------


def _upload(settings: environment.ApiEnvironment, event: APIGatewayProxyEvent) -> Response:
    content_type = event.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "unsupported_media_type", "the body must be JSON, with the header Content-Type: application/json")
    wanted = requests.upload(_body(event), settings.max_image_bytes)
    image_id = str(uuid.uuid4())
    log.add(image_id=image_id)
    key = uploads.upload_key(image_id, wanted.file_name)
    answer: dict[str, Any] = {"id": image_id, "status_path": f"/images/{image_id}"}
    if wanted.image is None:
        answer["upload"] = links.upload(
            links.client(), settings.bucket_name, key, wanted.content_type, wanted.size, settings.link_seconds
        )
    else:
        _store(settings.bucket_name, key, wanted.content_type, wanted.image)
    # Relative to the address of this request, since a function does not know under which name and stage it is called.
    return _json(201, answer, {"Location": f"images/{image_id}"})


def _body(event: APIGatewayProxyEvent) -> str | None:
    try:
        return event.decoded_body
    except ValueError:
        raise requests.InvalidRequest("the body is not JSON in UTF-8") from None


def _store(bucket: str, key: str, content_type: str, image: bytes) -> None:
    try:
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=image, ContentType=content_type, IfNoneMatch="*")
    except ClientError as error:
        # The key is new: if it exists, then by an attempt of ours whose answer was lost.
        if aws.error_code(error) not in aws.CONDITION_FAILED - aws.MISSING:
            raise


def _get(settings: environment.ApiEnvironment, image_id: str) -> Response:
    log.add(image_id=image_id)
    record = _records(settings).get(image_id) if uploads.is_image_id(image_id) else None
    if not record:
        raise ApiError(404, "image_not_found", "no image with this id has arrived")
    return _json(200, _shown(record, settings))


def _list(settings: environment.ApiEnvironment, parameters: Mapping[str, Any]) -> Response:
    wanted = requests.listing(parameters)
    found, cursor = listing.page(wanted.animals, wanted.cursor, wanted.limit, _records(settings).newest)
    answer: dict[str, Any] = {"images": [_shown(record, settings) for record in found]}
    if cursor:
        answer["next_cursor"] = cursor
    return _json(200, answer)


def _records(settings: environment.ApiEnvironment) -> Records:
    return Records(aws.client("dynamodb"), settings.table_name)


# --- what a caller sees ----------------------------------------------------------------------------------------------

_SHOWN = {
    "id": contract.IMAGE_ID,
    "status": contract.STATUS,
    "animal": contract.ANIMAL,
    "confidence": contract.CONFIDENCE,
    "size": contract.FILE_SIZE,
    "format": contract.FORMAT,
    "uploaded_at": contract.TIMESTAMP,
    "location": contract.LOCATION,
}


def _shown(record: Mapping[str, Any], settings: environment.ApiEnvironment) -> dict[str, Any]:
    """The image of a record. What an operator reads of a failure stays with the operator; a refusal is for the caller."""
    image = {name: record[attribute] for name, attribute in _SHOWN.items() if attribute in record}
    image["filename"] = uploads.file_name(record[contract.SOURCE_KEY])
    if contract.LOCATION in record and contract.LOCATION_VERSION in record:
        image["download"] = links.download(
            links.client(),
            record[contract.LOCATION],
            record[contract.LOCATION_VERSION],
            image["filename"],
            _CONTENT_TYPES.get(record.get(contract.FORMAT, ""), "application/octet-stream"),
            settings.link_seconds,
        )
    if record[contract.STATUS] == contract.FAILED:
        refused = record.get(contract.FAILURE_CODE) in contract.REFUSALS
        image["failure"] = {
            "code": record[contract.FAILURE_CODE] if refused else contract.PROCESSING_FAILED,
            "message": record.get(contract.FAILURE_REASON, _FAILED) if refused else _FAILED,
        }
    return image


def _failure(error: Exception, request_id: str) -> Response:
    """The one place where exceptions become answers."""
    match error:
        case ApiError():
            status, code, message = error.status, error.code, str(error)
        case requests.InvalidRequest():
            status, code, message = 400, "invalid_request", str(error)
        case listing.InvalidCursor():
            status, code, message = 400, "invalid_cursor", str(error)
        case NotFoundError():
            status, code, message = 404, "no_such_endpoint", "there is no such endpoint"
        case _:
            log.error("failed")
            status, code, message = 500, "internal_error", "something went wrong on our side: try again later"
    return _json(status, {"code": code, "message": message, "request_id": request_id})


def _json(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Never kept by anybody on the way: links in it work for whoever has them."""
    own = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return Response(status, "application/json", json.dumps(content), own)


def _request_id(event: Mapping[str, Any]) -> str:
    """API Gateway's, which its access log names too."""
    return (event.get("requestContext") or {}).get("requestId", "")
