"""A system's Lambda folder in, a deterministic zip out.

The same files give the same bytes on every machine and at every time: entries are sorted, their times and modes fixed, and
what only this machine made (caches, hidden files) is left out. Terraform's plan is therefore empty until a file changes.

A system may name distributions that its functions import. They come from the environment that synthesises, which holds what
``Pipfile.lock`` pins, and only if they are pure Python: the same zip runs on Lambda's processors and on this machine's.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from io import BytesIO
from pathlib import Path

COMMON = "common"
"""What the systems share."""

IN_THE_RUNTIME = frozenset({"boto3", "botocore", "s3transfer"})
"""Distributions that Lambda's Python runtime brings."""

_LEFT_OUT = {"__pycache__"}
_OF_THE_INSTALLATION = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
_COMPILED = {".so", ".pyd", ".dylib", ".dll"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can carry
_UNIX = 3
_READABLE = 0o100644 << 16


@dataclass(frozen=True)
class LambdaPackage:
    """A zip on disk and what Terraform compares it by."""

    path: Path
    source_code_hash: str
    """Base64 of the zip's SHA-256, as Lambda reports it (``CodeSha256``)."""


class CannotPackage(Exception):
    """A distribution cannot travel in the zip; the message says which, why, and what to do."""


def package(system: str, lambdas: Path, build_directory: Path, distributions: Iterable[str] = ()) -> LambdaPackage:
    """Zip a system's folder of ``lambdas`` and ``lambdas/common`` into ``build_directory``, as ``lambdas/etl/…`` and so on, and
    beside them these distributions with everything that they require.

    The file is named by its content, so that it is written once. Raises FileNotFoundError if the system has no code, and
    CannotPackage.
    """
    code = _files(lambdas / system)
    if not code:
        raise FileNotFoundError(f"{lambdas / system}: no code to package")
    buffer = BytesIO()
    own = ((path.relative_to(lambdas.parent).as_posix(), path) for path in (*_files(lambdas / COMMON), *code))
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: compressed bytes differ from one build of zlib to the next
        for name, path in (*own, *sorted(_files_of_distributions(distributions))):
            entry = zipfile.ZipInfo(name, _EPOCH)
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


# --- distributions ---------------------------------------------------------------------------------------------------


def _files_of_distributions(names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Name in the zip and place of each file, of the distributions and all that they require."""
    waiting, known = [(name, "the project") for name in names], set(IN_THE_RUNTIME)
    while waiting:
        name, wanted_by = waiting.pop()
        normal = re.sub(r"[-_.]+", "-", name).lower()
        if normal in known:
            continue
        known.add(normal)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise CannotPackage(f"{name} is not installed, but {wanted_by} needs it in Lambda: run `make .venv/ready`") from None
        yield from _files_of(distribution, name)
        waiting += [(required, name) for required in _requirements(distribution, name)]


def _requirements(distribution: metadata.Distribution, name: str) -> Iterator[str]:
    for requirement in distribution.requires or ():
        required, _, marker = requirement.partition(";")
        if re.search(r"\bextra\b", marker):
            continue
        if marker:  # what is true here may not be true in Lambda
            raise CannotPackage(f"{name} requires {requirement} on some machines only: decide for Lambda in lambda_packaging.py")
        yield re.split(r"[^A-Za-z0-9._-]", required.strip(), maxsplit=1)[0]


def _files_of(distribution: metadata.Distribution, name: str) -> Iterator[tuple[str, Path]]:
    if "Root-Is-Purelib: true" not in (distribution.read_text("WHEEL") or "") or not distribution.files:
        raise CannotPackage(f"{name} was not installed from a wheel of pure Python, which alone runs on every machine")
    for file in distribution.files:
        if file.suffix in _COMPILED:
            raise CannotPackage(f"{name} holds a compiled file, {file}, which runs on this machine alone")
        in_metadata = file.parts[0].endswith(".dist-info")
        is_of_this_machine = ".." in file.parts or "__pycache__" in file.parts or file.suffix == ".pyc"
        if not is_of_this_machine and not (in_metadata and file.name in _OF_THE_INSTALLATION):
            yield file.as_posix(), Path(str(file.locate()))
