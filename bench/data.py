"""CSV files of transactions to measure with, in three kinds, the same bytes each time.

clean
    canonical values: the output is the input.
messy
    what customers send: every form of amounts and timestamps of docs/etl.md, mixed row by row, quoted fields, some over two
    lines, and one row in 112 that must be rejected for a value (0.9 %: below the share at which a whole file is INVALID).
harsh
    messy, and one row in 150 is broken as CSV: too few or too many columns, bare quotes, quotes that never close, bytes that
    are not UTF-8.

    python bench/data.py KIND ROWS > FILE
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from random import Random

KINDS = ("clean", "messy", "harsh")
HEADER = b"transaction_id,customer_id,amount,timestamp,currency,description\n"
BLOCK_ROWS = 10_000
REJECTED_EVERY = 112
BROKEN_EVERY = 150

# --- amounts: each form of a whole number of cents -------------------------------------------------------------------

Form = Callable[[int], str]


def _canonical(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


AMOUNTS: tuple[tuple[int, Form], ...] = (  # share in percent, form
    (30, _canonical),
    (10, lambda cents: f"{cents // 100}"),
    (5, lambda cents: f"{cents // 100}.{cents % 10}"),
    (16, lambda cents: f"${cents // 100:,}.{cents % 100:02}"),
    (6, lambda cents: f"{cents // 100:,}.{cents % 100:02}"),
    (5, lambda cents: f"({cents // 100}.{cents % 100:02})"),
    (3, lambda cents: f"(${cents // 100:,}.{cents % 100:02})"),
    (4, lambda cents: f"-${cents // 100}.{cents % 100:02}"),
    (4, lambda cents: f"-{cents // 100 + 1}.{cents % 100:02}"),
    (2, lambda cents: f"+{cents // 100}.{cents % 100:02}"),
    (8, lambda cents: f" {cents // 100}.{cents % 100:02} "),
    (2, lambda cents: f"{cents // 1000}.{cents % 1000:03}"),
    (2, lambda cents: f"00{cents // 100}.{cents % 100:02}"),
    (1, lambda cents: f".{cents % 100:02}"),
    (1, lambda cents: f"{cents % 9 + 1}e{cents % 7}"),
    (1, lambda cents: f"{cents % 100}.5E-{cents % 4}"),
)
BAD_AMOUNTS = ("", "  ", "n/a", "twelve", "12,50", "1.234,50", "1,23,4.5", "€5", "USD 5", "(-5)", "5-", "NaN", "1e400", "0x10",
               "1234567890123456789.00", "--5", "1.2.3", "$ 5")

# --- timestamps: each form of a day and a second of it ---------------------------------------------------------------

_DAYS = [date(2022, 1, 1) + timedelta(days=number) for number in range(1400)]
_CLOCKS = [f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}" for second in range(86_400)]
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ISO = [day.isoformat() for day in _DAYS]
_AMERICAN = [f"{day.month:02}/{day.day:02}/{day.year}" for day in _DAYS]
_NAMED = [f"{day.day:02}-{_NAMES[day.month - 1]}-{day.year}" for day in _DAYS]
_EPOCH = [int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in _DAYS]
_OFFSETS = ("+05:30", "-08:00", "+01:00", "+02:00", "-0500", "+0000", "+09")

Stamp = Callable[[int, int], str]

TIMESTAMPS: tuple[tuple[int, Stamp], ...] = (
    (20, lambda day, second: f"{_ISO[day]}T{_CLOCKS[second]}Z"),
    (5, lambda day, second: f"{_ISO[day]}T{_CLOCKS[second]}.{second % 1000:03}Z"),
    (2, lambda day, second: f"{_ISO[day]}T{_CLOCKS[second]}.{second * 997 % 1_000_000:06}Z"),
    (8, lambda day, second: f"{_ISO[day]}T{_CLOCKS[second]}{_OFFSETS[second % 7]}"),
    (3, lambda day, second: f"{_ISO[day]}T{_CLOCKS[second]}.{second % 1000:03}{_OFFSETS[second % 7]}"),
    (4, lambda day, second: f"{_ISO[day]}T{_CLOCKS[second]}"),
    (9, lambda day, second: f"{_ISO[day]} {_CLOCKS[second]}"),
    (3, lambda day, second: f"{_ISO[day]} {_CLOCKS[second]}{_OFFSETS[second % 7]}"),
    (3, lambda day, second: f"{_ISO[day]} {_CLOCKS[second][:5]}"),
    (2, lambda day, second: f"{_ISO[day]}T{_CLOCKS[second][:5]}Z"),
    (6, lambda day, second: _ISO[day]),
    (5, lambda day, second: _AMERICAN[day]),
    (5, lambda day, second: f"{_AMERICAN[day]} {_CLOCKS[second][:5]}"),
    (5, lambda day, second: f"{_AMERICAN[day]} {_CLOCKS[second]}"),
    (6, lambda day, second: f"{_NAMED[day]} {_CLOCKS[second]}"),
    (7, lambda day, second: str(_EPOCH[day] + second)),
    (4, lambda day, second: f"{_EPOCH[day] + second}{second % 1000:03}"),
    (3, lambda day, second: f" {_ISO[day]}T{_CLOCKS[second]}Z "),
)
BAD_TIMESTAMPS = ("", "now", "2023-02-29T12:00:00Z", "2024-13-01", "31/12/2024 10:00", "2024-01-01T24:00:00Z", "12345",
                  "2024-01-01T23:59:60Z", "3/5/2024 10:11", "05-Foo-2024 10:11:12", "2024-03-05 10:11:12 UTC", "20240305T101112Z",
                  "03/05/2024 10:11 PM", "2024-03-05T10:11:12+25:00", "31-Jun-2024 00:00:00", "02/30/2024", "1709633472.5")

# --- descriptions ----------------------------------------------------------------------------------------------------

_WORDS = ("coffee", "books", "train ticket", "groceries", "café crème", "subscription", "hardware", "lunch", "shoes", "fuel",
          "rent", "phone", "medicine", "cinema", "garden")
_CURRENCIES = ("USD", "EUR", "GBP", "CHF")


def _described(number: int, word: str) -> str:
    """One in ten needs quotes, one in a thousand goes over two lines."""
    if number % 1000 == 77:
        return f'"{word}\nsecond line, ""{number % 97}"""'
    if number % 10 == 3:
        return f'"{word}, {number % 89}"'
    if number % 100 == 8:
        return f'"{word} ""{number % 83}"""'
    return f"{word} {number % 10_000}"


# --- rows ------------------------------------------------------------------------------------------------------------


def file(kind: str, rows: int, seed: int = 1) -> Iterator[bytes]:
    """The file in pieces of about 1 MB: the header, then this many records. A shorter file is the beginning of a longer one."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    yield HEADER
    for first in range(0, rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, rows - first)
        lines = _block(kind, first, Random(f"{kind}-{seed}-{first}"))[:count]
        yield b"".join(lines)


def _block(kind: str, first: int, random: Random) -> list[bytes]:
    """The records from number ``first`` on, as many as a block has."""
    fractions = [random.random() for _ in range(BLOCK_ROWS)]
    cents = [int(fraction**4 * 3_000_000) + 1 for fraction in fractions]  # many small ones, up to 30,000.00
    days = random.choices(range(len(_DAYS)), k=BLOCK_ROWS)
    seconds = random.choices(range(len(_CLOCKS)), k=BLOCK_ROWS)
    customers = random.choices(range(100_000), k=BLOCK_ROWS)
    words = random.choices(_WORDS, k=BLOCK_ROWS)
    currencies = random.choices(_CURRENCIES, weights=(70, 20, 5, 5), k=BLOCK_ROWS)
    numbers = range(first, first + BLOCK_ROWS)
    if kind == "clean":
        written, stamped = AMOUNTS[0][1], TIMESTAMPS[0][1]
        return [
            f"T{number:09},C{customer:05},{written(amount)},{stamped(day, second)},{currency},{word} {number % 10_000}\n".encode()
            for number, customer, amount, day, second, currency, word
            in zip(numbers, customers, cents, days, seconds, currencies, words, strict=True)
        ]
    amounts = random.choices([form for _, form in AMOUNTS], [share for share, _ in AMOUNTS], k=BLOCK_ROWS)
    stamps = random.choices([form for _, form in TIMESTAMPS], [share for share, _ in TIMESTAMPS], k=BLOCK_ROWS)
    lines = []
    for number, customer, amount, form, day, second, stamp, currency, word in zip(
        numbers, customers, cents, amounts, days, seconds, stamps, currencies, words, strict=True
    ):
        fields = [f"T{number:09}", f"C{customer:05}", form(amount), stamp(day, second)]
        if number % REJECTED_EVERY == REJECTED_EVERY - 1:
            _spoil(fields, number // REJECTED_EVERY)
        if "," in fields[2]:
            fields[2] = f'"{fields[2]}"'
        line = f"{','.join(fields)},{currency},{_described(number, word)}\n".encode()
        if kind == "harsh" and number % BROKEN_EVERY == BROKEN_EVERY - 1:
            line = BREAKS[number // BROKEN_EVERY % len(BREAKS)](line)
        lines.append(line)
    return lines


def _spoil(fields: list[str], turn: int) -> None:
    """Give one of the four fields, in turns, a value that cannot be converted."""
    what, index = turn % 20, turn // 20
    if what == 0:
        fields[0] = " "
    elif what == 1:
        fields[1] = ""
    elif what % 2:
        fields[2] = BAD_AMOUNTS[index % len(BAD_AMOUNTS)]
    else:
        fields[3] = BAD_TIMESTAMPS[index % len(BAD_TIMESTAMPS)]


BREAKS: tuple[Callable[[bytes], bytes], ...] = (
    lambda line: line.rsplit(b",", 1)[0] + b"\n",  # a column short
    lambda line: line[:-1] + b",one more,and one more\n",
    lambda line: line[:-1] + b' 5" pipe\n',  # data, by the rules of CSV, unless the field is quoted
    lambda line: line[:10] + b',"never closes' + line[10:],
    lambda line: line[:10] + b',"closed" too early' + line[16:],
    lambda line: line[:-1] + b" caf\xe9\n",  # Latin-1
)


def repeated(kind: str, size: int) -> Iterator[bytes]:
    """A file of at least this many bytes, in pieces: the same 100,000 records again and again, for what takes any size."""
    header, *blocks = file(kind, 10 * BLOCK_ROWS)
    yield header
    written = len(header)
    for block in cycle(blocks):
        if written >= size:
            return
        yield block
        written += len(block)


def main(kind: str, rows: str) -> None:
    for piece in file(kind, int(rows)):
        sys.stdout.buffer.write(piece)


if __name__ == "__main__":
    main(*sys.argv[1:])
