"""Plans one synthesised stack for those who approve it: ``plan.py STACK [--read-only] [--approved DIGEST]``.

Leaves ``plan.tfplan`` in the stack's folder, and its text in the job's summary. Job outputs ``digest``, of what would change,
and ``report``, its text as Markdown. With ``--approved``, exit code 3 if that is no longer what was approved. A plan file holds
secrets of the state, so none leaves the runner: the same plan is made twice, and compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STACKS = Path(__file__).resolve().parents[2] / "cdktf.out" / "stacks"
REPORT_CHARACTERS = 50_000
"""Of the plan's text: a comment on GitHub holds 65,536 characters."""
CHANGED = 3


def digest(plan: Mapping[str, Any]) -> str:
    """A SHA-256 over what a plan (``terraform show -json``) would change: which resources and outputs, how, to what.

    What data sources read counts only through what it changes.
    """
    changes = [
        [each["address"], each.get("deposed"), _effect(each["change"])]
        for each in plan.get("resource_changes", [])
        if each["mode"] == "managed" and each["change"]["actions"] != ["no-op"]
    ]
    outputs = [
        [name, _effect(change)]
        for name, change in plan.get("output_changes", {}).items()
        if change["actions"] != ["no-op"]
    ]
    text = json.dumps([sorted(changes, key=json.dumps), sorted(outputs, key=json.dumps)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _effect(change: Mapping[str, Any]) -> list[Any]:
    return [change["actions"], change.get("after"), change.get("after_unknown")]


def report(stack: str, environment: str, text: str) -> str:
    """The plan's text (``terraform show``, which hides what is sensitive) as Markdown, cut off where it would be too long."""
    fence = "`" * max(3, 1 + max((len(run) for run in text.split() if set(run) == {"`"}), default=0))
    cut = "" if len(text) <= REPORT_CHARACTERS else "\n\nThe rest is in the job's log."
    return f"Plan of `{stack}` for `{environment}`\n\n{fence}text\n{text[:REPORT_CHARACTERS].strip()}\n{fence}{cut}\n"


def terraform(folder: Path, *words: str) -> str:
    """What Terraform says. Raises CalledProcessError; Terraform has told why on stderr."""
    environment = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    run = subprocess.run(["terraform", *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout


def put(variable: str, text: str) -> None:
    """Append to a file that GitHub Actions names, if this runs there."""
    if name := os.environ.get(variable):
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(text)


def output(name: str, value: str) -> None:
    """A job output of several lines, whose end no value can guess."""
    end = secrets.token_hex(16)
    put("GITHUB_OUTPUT", f"{name}<<{end}\n{value}\n{end}\n")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="plan.py")
    parser.add_argument("stack")
    parser.add_argument("--read-only", action="store_true", help="for a role that may not lock the state")
    parser.add_argument("--approved", metavar="DIGEST")
    arguments = parser.parse_args(words)
    folder = STACKS / arguments.stack
    if not folder.is_dir():
        print(f"{arguments.stack} is not synthesised; run `make synth`", file=sys.stderr)
        return 2
    try:
        terraform(folder, "init", "-input=false", "-no-color")
        lock = "false" if arguments.read_only else "true"
        terraform(folder, "plan", "-input=false", "-no-color", f"-lock={lock}", "-lock-timeout=5m", "-out=plan.tfplan")
        text = terraform(folder, "show", "-no-color", "plan.tfplan")
        found = digest(json.loads(terraform(folder, "show", "-json", "plan.tfplan")))
    except subprocess.CalledProcessError as error:
        print(f"terraform {error.cmd[1]} failed, see above", file=sys.stderr)
        return 1
    print(text)
    written = report(arguments.stack, os.environ.get("ENVIRONMENT_SUFFIX", "prod"), text)
    put("GITHUB_STEP_SUMMARY", written)
    output("report", written)
    output("digest", found)
    if arguments.approved is not None and arguments.approved != found:
        print("This is not the plan that was approved: something has changed since. Start the workflow again.", file=sys.stderr)
        return CHANGED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
