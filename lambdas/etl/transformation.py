"""Transformation Lambda, called by the state machine: converts one uploaded version and publishes the result (E4, E5)."""

from typing import Any

from ..common import log
from . import contract, environment, header, storage
from .files import File, rejects_part
from .rows import Conversion


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"action": "convert", …}`` → its result; shapes in ``contract``. An exception is an outage or a bug: try again."""
    settings = environment.transformation()
    if event.get("action") != contract.ACTION_CONVERT:
        raise ValueError(f"the transformation function knows no action {event.get('action')!r}")
    file = File.from_payload(event["file"])
    log.start(context, file_name=file.file_name, version_id=file.version_id, execution=event["execution_name"])
    if (event["range"]["start"], event["range"]["end"]) != (0, file.size):
        raise ValueError(f"the transformation function converts whole files, not the range {event['range']!r}")
    result = _convert(storage.client("s3"), file, event["execution_name"], event["range"]["index"], settings)
    log.info("converted" if result["valid"] else "not converted", **result)
    return result


def _convert(
    s3: Any, file: File, execution_name: str, index: int, settings: environment.TransformationEnvironment
) -> dict[str, Any]:
    try:
        head = storage.read(s3, file, 0, header.HEAD_BYTES)
        found = header.read(head, complete=file.size <= header.HEAD_BYTES)
    except header.InvalidFile as reason:  # validation saw it first, unless it runs another release
        return {"valid": False, "reason": str(reason), "rows_read": 0, "rows_written": 0, "rows_rejected": 0}

    rejects_prefix = file.rejects_prefix(execution_name)
    with (
        storage.rejects_upload(s3, file, rejects_part(rejects_prefix, index)) as rejects,
        storage.output_upload(s3, file, execution_name) as output,
    ):
        conversion = Conversion(found, rejects.write, offset=found.length)
        output.write(found.text)
        for rows in conversion.convert(storage.blocks(s3, file, found.length, file.size)):
            output.write(rows)

        counts: dict[str, Any] = {"rows_read": conversion.rows_read, "rows_rejected": conversion.rows_rejected}
        if conversion.rows_rejected:
            rejects.complete()
            counts["rejects_prefix"] = rejects_prefix
        if conversion.rows_rejected > settings.max_reject_ratio * conversion.rows_read:
            return {"valid": False, "reason": _too_many(conversion, settings), "rows_written": 0, **counts}

        superseded_by = storage.publish(s3, file, output, execution_name)
    storage.remove(s3, file)
    outcome = {"superseded_by": superseded_by} if superseded_by else {"output_key": file.processed_key}
    return {"valid": True, "rows_written": conversion.rows_written, **counts, **outcome}


def _too_many(conversion: Conversion, settings: environment.TransformationEnvironment) -> str:
    return (
        f"{conversion.rows_rejected} of {conversion.rows_read} rows cannot be converted;"
        f" at most {float(settings.max_reject_ratio) * 100:g} % may be rejected"
    )
