"""What CDKTF's fork, CDK Terrain, makes of this project: ``python -m checks.cdktn``, in the environment of `make check-cdktn`.

The modules of the root are copied with the two packages renamed, synthesised with the fork and its bindings of the AWS provider,
and the Terraform JSON of every stack is compared with ours, value by value. Prints the differences; exit code 1 if one of them is
not expected.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".tools" / "cdktn" / ".venv" / "bin" / "python"

RENAMES = (
    (re.compile(r"\bcdktf_cdktf_provider_aws\b"), "cdktn_provider_aws"),
    (re.compile(r"^( *)(from|import) cdktf\b", re.MULTILINE), r"\1\2 cdktn"),
    (re.compile(r'"@cdktf"'), '"@cdktn"'),  # where aws_provider.cjs looks
)
RESET = "reset_on_delete=True, "
"""Beside the names, all that has to change: provider 6 has dropped this argument (its upgrade guide, aws_api_gateway_account)."""

EXPECTED = (
    (r"//\.metadata\.version", "the version of the tool"),
    (r"terraform\.required_providers\.aws\.(source|version)", "the bindings' provider, under its full name"),
    (r"resource\.aws_api_gateway_account\.\w+\.reset_on_delete", "dropped in provider 6, whose destroy always resets"),
)
"""Where the JSON may differ, as expressions, and why."""

# What the fork's environment does not have comes from the project's, which goes last.
PROGRAM = """
import runpy, site, sys
source, project = sys.argv[1:]
site.addsitedir(project)
sys.path.insert(0, source)
runpy.run_path(f"{source}/main.py", run_name="__main__")
"""


class CannotCompare(Exception):
    """One of the two does not synthesise; the message says which, and why."""


class Difference(NamedTuple):
    """A value that one has otherwise, or not at all (None)."""

    path: str
    ours: Any
    theirs: Any

    @property
    def reason(self) -> str | None:
        """Why it is expected, if it is."""
        return next((why for pattern, why in EXPECTED if re.fullmatch(pattern, self.path)), None)


def renamed(text: str) -> str:
    """A source file for the fork."""
    for pattern, name in RENAMES:
        text = pattern.sub(name, text)
    return text.replace(RESET, "")


def copy(target: Path) -> None:
    """The project in a new folder: its modules renamed, everything else linked."""
    target.mkdir()
    for each in ROOT.iterdir():
        if each.suffix in (".py", ".cjs"):
            (target / each.name).write_text(renamed(each.read_text(encoding="utf-8")), encoding="utf-8")
        elif not each.name.startswith("."):
            (target / each.name).symlink_to(each)


def synthesise(python: Path, source: Path, folder: Path, name: str) -> dict[str, dict]:
    """Stack → its JSON, written below `folder`, in which it runs. Raises CannotCompare."""
    output = folder / name
    done = subprocess.run(
        [python, "-c", PROGRAM, source, sysconfig.get_path("purelib")],
        check=False,
        cwd=folder,
        env={**os.environ, "CDKTF_OUTDIR": str(output), "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CannotCompare(f"{name} does not synthesise the project:\n{done.stderr.strip()}")
    files = sorted(output.glob("stacks/*/cdk.tf.json"))
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def values(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a JSON document, by its path."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    empty = True
    for key, value in inner:
        empty = False
        yield from values(value, f"{path}.{key}" if path else str(key))
    if empty:
        yield path, node


def differences(ours: Mapping, theirs: Mapping) -> list[Difference]:
    """Where two documents differ, sorted by path."""
    left, right = dict(values(ours)), dict(values(theirs))
    found = (Difference(path, left.get(path), right.get(path)) for path in sorted(left.keys() | right.keys()))
    return [each for each in found if each.ours != each.theirs]


def main() -> int:
    if not PYTHON.exists():
        print(f"{PYTHON.relative_to(ROOT)} is not there; run `make check-cdktn`, which makes it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as threads:
        folder = Path(name)
        copy(folder / "source")
        running = [
            threads.submit(synthesise, Path(sys.executable), ROOT, folder, "cdktf"),
            threads.submit(synthesise, PYTHON, folder / "source", folder, "cdktn"),
        ]
        try:
            ours, theirs = (each.result() for each in running)
        except CannotCompare as error:
            print(error, file=sys.stderr)
            return 1
    unexpected = 0
    for stack in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(stack, {}), theirs.get(stack, {})
        found = differences(here, there)
        print(f"{stack}: {len(dict(values(here))):,} values, {len(found)} of them other")
        for each in found:
            unexpected += each.reason is None
            mark, why = ("·", each.reason) if each.reason else ("✗", "not expected")
            print(f"  {mark} {each.path}: {each.ours!r} → {each.theirs!r}  ({why})")
    print(f"{unexpected} differences are not expected" if unexpected else "✓ the same but for what is expected")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
