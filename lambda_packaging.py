"""A system's Lambda folder in, a deterministic zip out.

The same files give the same bytes on every machine and at every time: entries are sorted, their times and modes fixed, and
what only this machine made (caches, hidden files) is left out. Terraform's plan is therefore empty until a file changes.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

COMMON = "common"
"""What the systems share."""

_LEFT_OUT = {"__pycache__"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can carry
_UNIX = 3
_READABLE = 0o100644 << 16


@dataclass(frozen=True)
class LambdaPackage:
    """A zip on disk and what Terraform compares it by."""

    path: Path
    source_code_hash: str
    """Base64 of the zip's SHA-256, as Lambda reports it (``CodeSha256``)."""


def package(system: str, lambdas: Path, build_directory: Path) -> LambdaPackage:
    """Zip a system's folder of ``lambdas`` and ``lambdas/common`` into ``build_directory``, as ``lambdas/etl/…`` and so on.

    The file is named by its content, so that it is written once. Raises FileNotFoundError if the system has no code.
    """
    code = _files(lambdas / system)
    if not code:
        raise FileNotFoundError(f"{lambdas / system}: no code to package")
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: compressed bytes differ from one build of zlib to the next
        for path in (*_files(lambdas / COMMON), *code):
            entry = zipfile.ZipInfo(path.relative_to(lambdas.parent).as_posix(), _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _READABLE
            archive.writestr(entry, path.read_bytes())
    content = buffer.getvalue()
    digest = hashlib.sha256(content)
    target = build_directory / f"{system}-{digest.hexdigest()[:16]}.zip"
    if not target.exists():
        build_directory.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{id(buffer)}.tmp")
        temporary.write_bytes(content)
        temporary.replace(target)  # atomic: another synth may be packaging the same folder
    return LambdaPackage(target, base64.b64encode(digest.digest()).decode())


def _files(folder: Path) -> list[Path]:
    """What belongs into a zip, in an order that is the same everywhere."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part in _LEFT_OUT or part.startswith(".") for part in path.relative_to(folder).parts)
    ]
