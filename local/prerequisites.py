"""What this machine must have: Python, Node.js and Terraform. Runs on any Python, before anything is installed.

    python3 local/prerequisites.py           exit code 2, and one line each, if something is missing or too old
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable


def prerequisites(path: str | None = None, python: tuple[int, ...] = sys.version_info[:3]) -> list[str]:
    """What is missing or too old on this machine, one sentence with its remedy each; empty if all is well.

    path: where to look for programs, as in PATH (default: that of this process). python: the version that runs the project.
    """
    faults = []
    if python < (3, 11):
        faults.append(f"Python {_dotted(python)} is too old, 3.11 or newer is needed. Remedy: https://www.python.org/downloads/")
    for program, name, least, command, remedy in (
        ("terraform", "Terraform", (1, 9), "version", "https://developer.hashicorp.com/terraform/install"),
        ("node", "Node.js", (20,), "--version", "https://nodejs.org/en/download"),
    ):
        executable = shutil.which(program, path=path)
        version = _version_of(executable, command) if executable else None
        if executable is None:
            faults.append(f"{name} is missing, {_dotted(least)} or newer is needed. Remedy: {remedy}")
        elif version is None:
            faults.append(f"{name} ({executable}) doesn't tell its version. Remedy: install it anew, {remedy}")
        elif version < least:
            faults.append(f"{name} {_dotted(version)} ({executable}) is too old, {_dotted(least)} or newer is needed. "
                          f"Remedy: {remedy}")
    return faults


def _version_of(executable: str, command: str) -> tuple[int, ...] | None:
    try:
        # Without checkpoint, `terraform version` asks nobody whether there is a newer one.
        told = subprocess.run([executable, command], check=False, capture_output=True, text=True, timeout=30,
                              env={**os.environ, "CHECKPOINT_DISABLE": "1"}).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", told)
    return tuple(map(int, found.groups())) if found else None


def _dotted(version: Iterable[int]) -> str:
    return ".".join(map(str, version))


if __name__ == "__main__":
    faults = prerequisites()
    print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
    sys.exit(2 if faults else 0)
