"""`python -m ops`, whose commands are in commands.py, with the packages of this checkout: whoever is called at night types what
the alarm says, whichever Python that finds."""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN_PYTHON = ROOT / ".venv" / "bin" / "python"


LEAST_PYTHON = (3, 11)
PACKAGES = ("boto3", "pydantic", "rich")


def main() -> int:
    if OWN_PYTHON.exists() and Path(sys.prefix) != OWN_PYTHON.parent.parent:
        os.execv(OWN_PYTHON, [str(OWN_PYTHON), "-m", "ops", *sys.argv[1:]])  # noqa: S606  there is nothing to come back to
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing or sys.version_info < LEAST_PYTHON:
        lacks = f"has no {' and no '.join(missing)}" if missing else "is too old"
        print(f"{sys.executable} {lacks}.\nRemedy: make setup, once, in {ROOT}", file=sys.stderr)
        return 2
    from ops import commands  # noqa: PLC0415  whose imports need them

    return commands.main()


if __name__ == "__main__":
    sys.exit(main())
