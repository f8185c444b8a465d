"""Transformation Lambda, called by the state machine: converts an uploaded version and publishes the result (E4, E5, E12).

A file is converted in one piece, or in ranges: planned by one invocation, converted by one each, put together by one more.
"""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

from ..common import log
from . import contract, environment, header, ranges, storage
from .files import File, rejects_part
from .ranges import Range
from .rows import LOOK_AHEAD_BYTES, Conversion, several_tables


class _Job(NamedTuple):
    """What every action is given."""

    s3: Any
    file: File
    event: dict[str, Any]
    settings: environment.TransformationEnvironment

    @property
    def execution_name(self) -> str:
        return self.event["execution_name"]

    @property
    def upload(self) -> storage.BegunUpload:
        return storage.BegunUpload(self.s3, self.file, self.event["upload_id"])

    @property
    def rejects_prefix(self) -> str:
        """Where rejects go: in a folder of their own after ranges were given up, whose rejects nobody may delete."""
        return self.file.rejects_prefix(self.execution_name) + (contract.WHOLE if self.event.get("discarded") else "")

    def read_header(self, length: int = header.HEAD_BYTES) -> header.Header:
        """The file's header, of which at most ``length`` bytes need to be read."""
        return header.read(storage.read(self.s3, self.file, 0, length), complete=self.file.size <= length)


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An action of ``contract`` → its result. An exception is an outage or a bug: try again."""
    settings = environment.transformation()
    action = _ACTIONS.get(event.get("action", ""))
    if action is None:
        raise ValueError(f"the transformation function knows no action {event.get('action')!r}")
    file = File.from_payload(event["file"])
    log.start(context, action=event["action"], file_name=file.file_name, version_id=file.version_id)
    result = action(_Job(storage.client("s3"), file, event, settings))
    log.info("done", execution=event.get("execution_name"), **_brief(result))
    return result


def _brief(result: dict[str, Any]) -> dict[str, Any]:
    return {key: len(value) if isinstance(value, list) else value for key, value in result.items()}


# --- in one piece ----------------------------------------------------------------------------------------------------


def _convert(job: _Job) -> dict[str, Any]:
    file, event = job.file, job.event
    if (event["range"]["start"], event["range"]["end"]) != (0, file.size):
        raise ValueError(f"only whole files are converted in one piece, not the range {event['range']!r}")
    try:
        found = job.read_header()
        if file.size > job.settings.max_piece_bytes:
            raise header.InvalidFile(_too_large(job))
    except header.InvalidFile as reason:  # validation saw a bad header first, unless it runs another release
        return {"valid": False, "reason": str(reason), "rows_read": 0, "rows_written": 0, "rows_rejected": 0}

    with (
        storage.rejects_upload(job.s3, file, rejects_part(job.rejects_prefix, 0)) as rejects,
        storage.output_upload(job.s3, file, job.execution_name) as output,
    ):
        conversion = Conversion(found, rejects.write, offset=found.length)
        output.write(found.text)
        for rows in conversion.convert(storage.blocks(job.s3, file, found.length, file.size)):
            output.write(rows)
        if conversion.rows_rejected:
            rejects.complete()
        return _publish(job, output, conversion.rows_written, conversion.rows_rejected, conversion.other_header)


def _too_large(job: _Job) -> str:
    why = job.event.get("discarded") or "too few places were found where it can be cut between two records"
    return (
        f"the file has {job.file.size} bytes and cannot be converted in ranges ({why}); in one piece at most"
        f" {job.settings.max_piece_bytes} can be converted in time: split it, or raise the limit"
    )


def _publish(
    job: _Job, output: storage.Upload | storage.BegunUpload, written: int, rejected: int, other_header: int | None
) -> dict[str, Any]:
    """The end of either way: the decision about rejects (E5c), the output made visible (E4c), the original removed (E4d)."""
    read = written + rejected
    counts: dict[str, Any] = {"rows_read": read, "rows_rejected": rejected}
    if rejected:
        counts["rejects_prefix"] = job.rejects_prefix
    if other_header is not None:
        return {"valid": False, "reason": several_tables(other_header), "rows_written": 0, **counts}
    if rejected > job.settings.max_reject_ratio * read:
        return {"valid": False, "reason": _too_many(rejected, read, job.settings), "rows_written": 0, **counts}
    superseded_by = storage.publish(job.s3, job.file, output, job.execution_name)
    storage.remove(job.s3, job.file)
    outcome = {"superseded_by": superseded_by} if superseded_by else {"output_key": job.file.processed_key}
    return {"valid": True, "rows_written": written, **counts, **outcome}


def _too_many(rejected: int, read: int, settings: environment.TransformationEnvironment) -> str:
    return (
        f"{rejected} of {read} rows cannot be converted;"
        f" at most {float(settings.max_reject_ratio) * 100:g} % may be rejected"
    )


# --- in ranges -------------------------------------------------------------------------------------------------------


def _plan(job: _Job) -> dict[str, Any]:
    """Whatever is wrong with the file is left to the conversion in one piece, which says it."""
    try:
        found = job.read_header()
    except header.InvalidFile:
        return {"ranges": []}
    planned = ranges.plan(job.file.size, found, lambda start, end: storage.read(job.s3, job.file, start, end))
    if len(planned) == 1 or max(each.end - each.start for each in planned) > job.settings.max_piece_bytes:
        return {"ranges": []}
    upload = storage.BegunUpload.begin(job.s3, job.file, job.execution_name)
    return {"ranges": [asdict(each) for each in planned], "upload_id": upload.id, "header_length": found.length}


def _convert_range(job: _Job) -> dict[str, Any]:
    file, part = job.file, Range(*(job.event["range"][name] for name in ("index", "start", "end")))
    found = job.read_header(job.event["header_length"])
    end_of_look_ahead = min(part.end + LOOK_AHEAD_BYTES, file.size)
    with (
        storage.rejects_upload(job.s3, file, rejects_part(job.rejects_prefix, part.index)) as rejects,
        tempfile.TemporaryFile() as spool,  # the part, of a size that no memory needs to hold
    ):
        conversion = Conversion(found, rejects.write, offset=part.start, end=part.end)
        if part.index == 0:
            spool.write(found.text)
        for rows in conversion.convert(storage.blocks(job.s3, file, part.start, end_of_look_ahead)):
            spool.write(rows)
        if conversion.rows_rejected:
            rejects.complete()
        size = spool.tell()
        spool.seek(0)
        return {
            **asdict(part),
            "reached": conversion.offset,
            "bytes": size,
            "rows_read": conversion.rows_read,
            "rows_written": conversion.rows_written,
            "rows_rejected": conversion.rows_rejected,
            "stored": job.upload.put_part(part.index, spool),
            **({} if conversion.other_header is None else {"other_header": conversion.other_header}),
        }


def _complete(job: _Job) -> dict[str, Any]:
    parts = sorted(job.event["parts"], key=lambda part: part["index"])
    output = storage.BegunUpload(job.s3, job.file, job.event["upload_id"], [part["stored"] for part in parts])
    if fault := ranges.fault(job.file.size, job.event["header_length"], parts):
        output.abort()
        return {"discarded": fault}
    other_headers = [part["other_header"] for part in parts if "other_header" in part]
    result = _publish(
        job, output, _sum(parts, "rows_written"), _sum(parts, "rows_rejected"), min(other_headers, default=None)
    )
    if "output_key" not in result:
        output.abort()
    return result


def _sum(parts: Iterable[dict[str, Any]], count: str) -> int:
    return sum(part[count] for part in parts)


def _abandon(job: _Job) -> dict[str, Any]:
    job.upload.abort()
    return {}


_ACTIONS: dict[str, Callable[[_Job], dict[str, Any]]] = {
    contract.ACTION_CONVERT: _convert,
    contract.ACTION_PLAN: _plan,
    contract.ACTION_CONVERT_RANGE: _convert_range,
    contract.ACTION_COMPLETE: _complete,
    contract.ACTION_ABANDON: _abandon,
}
