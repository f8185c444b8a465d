"""The environment variables of the indexing function as one typed object."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..common.environment import read, region
from . import contract


@dataclass(frozen=True)
class IndexingEnvironment:
    collection_endpoint: str
    index_name: str
    region: str


def indexing(environ: Mapping[str, str] = os.environ) -> IndexingEnvironment:
    """The indexing function's variables. Raises BadEnvironment."""
    variables = {
        contract.ENV_COLLECTION_ENDPOINT: _endpoint,
        contract.ENV_INDEX_NAME: _index_name,
        "AWS_REGION": region,  # set by Lambda itself
    }
    return IndexingEnvironment(*read(environ, variables))


def _endpoint(text: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", text):
        raise ValueError("the address of a collection, https://HOST without a trailing slash")
    return text


def _index_name(text: str) -> str:
    """Only what needs no escaping in a path, so that the path that is signed is the one that is sent."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,254}", text):
        raise ValueError("an index name of at most 255 characters a-z, 0-9, '.', '_', '-', a letter or digit first")
    return text
