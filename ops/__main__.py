"""Commands for those who operate the pipelines: `python -m ops cost`."""

from __future__ import annotations

import argparse
import sys

from ops import cost


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("cost", help="what files and an idle month cost, from measured CPU time and published prices")
    parser.parse_args()
    print(cost.page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
