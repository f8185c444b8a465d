"""Indexing Lambda, called by the state machine: one fetched ``metadata.json`` becomes one document of the index (M3b, M4)."""

import functools
from typing import Any

import botocore.session
from botocore.exceptions import NoCredentialsError

from ..common import log
from . import document, environment
from .index import DocumentRefused, Index


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A payload → its result; shapes and the names of exceptions in ``contract``."""
    settings = environment.indexing()
    log.start(context, **event["object"], execution=event["execution_id"])
    metadata = document.from_payload(event)
    reason = _store(metadata, _index(settings))
    result = {"ingest_id": metadata.ingest["id"], "indexed": reason is None, **({"reason": reason} if reason else {})}
    log.info("stored", **result)
    return result


def _store(metadata: document.Document, index: Index) -> str | None:
    """Store the document; returns why it is not searchable by its own fields, or None if it is."""
    if metadata.has_too_many_fields():
        reason = f"the file has more than {document.MAX_FIELDS:,} fields"
        index.store(metadata.unindexed(reason))
        return reason
    try:
        index.store(metadata.searchable())
    except DocumentRefused as refusal:
        if refusal.status != 400:
            raise
        return _store_refused(metadata, index, refusal)
    return None


def _store_refused(metadata: document.Document, index: Index, refusal: DocumentRefused) -> str:
    """The index's mapping cannot take the document: a text where others have an object, say."""
    reason = str(refusal)
    try:
        index.store(metadata.unindexed(reason))
    except DocumentRefused as second:
        raise DocumentRefused(f"{reason}; and without indexing its fields: {second}", refusal.status) from second
    return reason


def _index(settings: environment.IndexingEnvironment) -> Index:
    return Index(settings.collection_endpoint, settings.index_name, settings.region, _credentials)


def _credentials() -> Any:
    """As they are now: a rotation between two lines must not mix two sets."""
    credentials = _session().get_credentials()
    if credentials is None:
        raise NoCredentialsError
    return credentials.get_frozen_credentials()


@functools.cache
def _session() -> botocore.session.Session:
    return botocore.session.Session()
