"""Checks which part of the project imports which: dependencies run one way only.

A check of our own, since import-linter reads packages and refuses the root's single modules.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FROM_OUTSIDE = frozenset({"local", "tests", "bench", "checks", "dashboards", "ops"})
"""Look in from outside: they may import everything, nobody else imports them."""
CDK = frozenset({"cdktf", "constructs", "jsii"})
PROVIDER = "cdktf_cdktf_provider_aws"

ROOT_LAYERS: Mapping[str, frozenset[str]] = {
    "main": frozenset({"aws_provider", "settings", "ingestion_stack", "pet_detector_stack", "state_backend_stack", "tap_stack"}),
    "state_backend_stack": frozenset({"modules", "modules_api", "settings"}),
    "tap_stack": frozenset({"modules", "lambda_packaging", "settings"}),
    "pet_detector_stack": frozenset(
        {"modules", "modules_api", "modules_guard", "modules_release", "lambda_packaging", "settings"}
    ),
    "ingestion_stack": frozenset({"modules", "lambda_packaging", "settings"}),
    "modules_api": frozenset({"aws_provider", "modules", "settings"}),
    "modules_guard": frozenset({"aws_provider", "modules", "settings"}),
    "modules_release": frozenset({"aws_provider", "modules", "settings"}),
    "modules": frozenset({"aws_provider", "lambda_packaging", "settings"}),
    "aws_provider": frozenset(),
    "lambda_packaging": frozenset(),
    "settings": frozenset(),
}
"""What each module of the root may import from the root: ``main`` → stacks → ``modules*`` → ``modules`` → provider."""

KNOW_PROVIDER = frozenset(module for module in ROOT_LAYERS if module.startswith("modules"))
MAY_IMPORT_CDK = KNOW_PROVIDER | {"main", "ingestion_stack", "pet_detector_stack", "state_backend_stack", "tap_stack"}
"""Few files know CDKTF, so that its fork stays a rename away; the provider is known to ``modules*.py`` alone."""


def faults(root: Path) -> list[str]:
    """Imports that go the wrong way: file and line, what is imported, remedy."""
    found = []
    for path in sorted([*root.glob("*.py"), *root.glob("lambdas/**/*.py")]):
        relative = path.relative_to(root)
        for line, imported in _imports(path):
            fault = _in_lambdas(imported) if relative.parts[0] == "lambdas" else _in_root(relative.stem, imported)
            if fault:
                found.append(f"{relative}:{line}: imports {imported}; {fault}")
        if len(relative.parts) == 1 and relative.stem not in ROOT_LAYERS:
            found.append(f"{relative}: has no place among the layers; give it one in checks/imports.py, ROOT_LAYERS")
    return found


def _in_lambdas(imported: str) -> str | None:
    top = imported.partition(".")[0]
    if top in ROOT_LAYERS or top in FROM_OUTSIDE or top in CDK or top == PROVIDER:
        return "what runs in Lambda knows nothing of the infrastructure: move what both need into the system's contract.py"
    return None


def _in_root(module: str, imported: str) -> str | None:
    top, *rest = imported.split(".")
    fault = None
    if top in FROM_OUTSIDE:
        fault = f"{top} looks in from outside: turn the dependency round"
    elif top == "lambdas" and rest[1:2] != ["contract"]:
        fault = "the root knows of the Lambdas only what both must agree on: import lambdas.SYSTEM.contract"
    elif top in CDK and module not in MAY_IMPORT_CDK:
        fault = "only the app, the stacks and modules*.py know CDKTF: put it there"
    elif top == PROVIDER and module not in KNOW_PROVIDER:
        fault = "only modules*.py knows the provider: make a construct there"
    elif top in ROOT_LAYERS and top not in ROOT_LAYERS.get(module, frozenset()):
        fault = "that is the wrong way: main → stacks → modules → provider"
    return fault


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports; ``from a import b`` counts as ``a.b``. Relative imports stay inside."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def main() -> int:
    found = faults(ROOT)
    print("".join(f"{fault}\n" for fault in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
