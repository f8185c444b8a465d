"""The conversion of the ETL on a local file, and the floor below it: what copying and splitting alone cost.

    python -m bench.ours (etl | copy | parse | nothing) SOURCE ACCEPTED REJECTS

It prints its peak memory in bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from bench.peak import peak

BLOCK_BYTES = 8 << 20
"""As the function reads from S3."""


def blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def etl(source: str, accepted: str, rejects: str) -> None:
    """What the transformation function does with a file, save for S3."""
    from lambdas.etl import header
    from lambdas.etl.rows import Conversion, several_tables

    with open(source, "rb") as file, open(accepted, "wb") as output, open(rejects, "wb") as rejected:
        found = header.read(file.read(header.HEAD_BYTES), complete=os.path.getsize(source) <= header.HEAD_BYTES)
        file.seek(found.length)
        conversion = Conversion(found, rejected.write, offset=found.length)
        output.write(found.text)
        for rows in conversion.convert(blocks(file)):
            output.write(rows)
        if conversion.other_header is not None:
            raise header.InvalidFile(several_tables(conversion.other_header))


def copy(source: str, accepted: str, _: str) -> None:
    """Every byte read and written."""
    with open(source, "rb") as file, open(accepted, "wb") as output:
        for block in blocks(file):
            output.write(block)


def parse(source: str, *_: str) -> None:
    """Every record split by the csv module, and thrown away."""
    import csv

    with open(source, newline="", encoding="utf-8") as file:
        for _row in csv.reader(file):
            pass


def nothing(*_: str) -> None:
    """The bare interpreter."""


if __name__ == "__main__":
    {"etl": etl, "copy": copy, "parse": parse, "nothing": nothing}[sys.argv[1]](*sys.argv[2:])
    print(peak())
