"""Runs every check of the project: ``python -m checks``. One line each with its time, details of what failed, exit code 1 then.

``python -m checks ruff iam`` runs those alone. Programs come from beside this Python, from ``node_modules`` and from
``.tools/checkov``, where `make` puts them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from checks import asl, iam, imports

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
CHECKOV = ROOT / ".tools" / "checkov" / ".venv" / "bin" / "checkov"
ENVIRONMENT = {
    **os.environ,
    "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",  # else it asks whether there is a newer one
    "NO_COLOR": "1",
}


@dataclass(frozen=True)
class Check:
    """A check's name and what finds its faults; ``reads_stacks`` waits for the synthesis."""

    name: str
    faults: Callable[[], list[str]]
    reads_stacks: bool = False


def command(*words: str | Path, environment: dict[str, str] = ENVIRONMENT) -> list[str]:
    """What a program says against the project; nothing if it exits with 0."""
    try:
        run = subprocess.run(
            [str(word) for word in words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return [f"{words[0]} is not installed; run `make lint`, which installs it"]
    return [run.stdout.strip() or f"{words[0]}: exit code {run.returncode}"] if run.returncode else []


def synthesise() -> list[str]:
    return command(sys.executable, "main.py")


def checkov() -> list[str]:
    stacks = sorted((ROOT / "cdktf.out" / "stacks").glob("*/cdk.tf.json"))
    files = [word for path in stacks for word in ("-f", path.relative_to(ROOT))]
    return command(CHECKOV, "--config-file", "checks/checkov/config.yaml", *files)


def permissions() -> list[str]:
    return [fault for name, stack in iam.stacks() for fault in iam.faults(stack, name)]


CHECKS = (
    Check("pyright", lambda: command(TOOLS / "pyright", "--pythonpath", sys.executable)),
    Check("ruff", lambda: command(TOOLS / "ruff", "check", "--quiet", "--output-format", "concise", ".")),
    Check("imports", lambda: imports.faults(ROOT)),
    Check("state machines", lambda: asl.faults(sorted(asl.WORKFLOWS.glob("*.asl.json")))),
    Check("synth", synthesise),
    Check("permissions", permissions, reads_stacks=True),
    Check("checkov", checkov, reads_stacks=True),
)


def run(checks: Sequence[Check], report: Callable[[str], None] = print) -> int:
    """Run the checks, the slow ones side by side. Returns how many failed; what reads a stack needs the synthesis to pass."""
    failed: dict[str, list[str]] = {}

    def timed(check: Check) -> None:
        start = time.monotonic()
        try:
            found = check.faults()
        except Exception:
            found = [f"the check itself broke:\n{traceback.format_exc()}"]
        if found:
            failed[check.name] = found
        report(f"{'✗' if found else '✓'} {check.name:<15} {time.monotonic() - start:5.1f} s")

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(timed, (check for check in checks if not check.reads_stacks)))
        if "synth" not in failed:
            list(pool.map(timed, (check for check in checks if check.reads_stacks)))
    for name, found in failed.items():
        report(f"\n{name}:")
        for fault in found:
            report("\n".join(f"  {line}" for line in fault.splitlines()))
    return len(failed)


def main(words: Sequence[str]) -> int:
    names = {check.name.replace(" ", "-"): check for check in CHECKS}
    if unknown := [word for word in words if word not in names]:
        print(f"no such check: {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    wanted = [names[word] for word in words] or list(CHECKS)
    if any(check.reads_stacks for check in wanted) and names["synth"] not in wanted:
        wanted.insert(0, names["synth"])
    return 1 if run(wanted) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
