"""The dashboard's saved objects: the readable ``metadata.json`` in, the NDJSON that OpenSearch Dashboards imports out.

Dashboards keeps half of every object as JSON inside strings, which nobody can review or edit. So `metadata.json` spells that JSON
out and is the one source; the strings are made here, whenever the objects are imported or printed, and no NDJSON is kept.
The summary line that ends an export is left out, since an import skips it. ``fields`` lists what every document has, so that
the dashboard opens before the first file came; what files bring along appears after *Refresh field list*.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("metadata.json")

STRINGS = frozenset({"fields", "json", "optionsJSON", "panelsJSON", "searchSourceJSON", "uiStateJSON", "visState"})
"""Members that Dashboards wants as JSON in a string."""


def saved_objects(index: str | None = None) -> list[dict[str, Any]]:
    """The objects as Dashboards stores them; ``index`` is searched instead of the one that the index pattern names."""
    objects = _with_strings(json.loads(SOURCE.read_text(encoding="utf-8")))
    for found in objects:
        if index and found["type"] == "index-pattern":
            found["attributes"]["title"] = index
    return objects


def ndjson(objects: list[dict[str, Any]]) -> str:
    """One object a line."""
    return "".join(f"{json.dumps(found)}\n" for found in objects)


def _with_strings(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_strings(item) for item in value]
    if isinstance(value, dict):
        return {name: json.dumps(_with_strings(item)) if name in STRINGS else _with_strings(item) for name, item in value.items()}
    return value
