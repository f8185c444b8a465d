"""What becomes of hostile CSV files: the ETL, pandas and polars on the corpus of ``hostile_files`` (C13).

Each contestant converts every file, in a process of its own, and what it accepted is compared with what a careful human reads.
Amounts may be written in any way that means the same number, timestamps in any way that means the same moment, and what our
rules reject may be accepted if a human can tell what it means. Writes the table in docs/reliability.md; exits with 1 if the ETL
is not right everywhere.

    python -m bench.hostile                     needs the peers' environment: make bench
    python -m bench.hostile NAME FOLDER         one contestant, on the files of a folder
"""

# pyright: reportMissingImports=false
# The peers live in an environment of their own.

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

from bench import hostile_files, ours, peers
from bench.hostile_files import Case

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
PEERS_PYTHON = ROOT / ".tools" / "bench" / ".venv" / "bin" / "python"
BEGIN, END = "<!-- python -m bench.hostile writes from here -->", "<!-- to here -->"

# --- the contestants -------------------------------------------------------------------------------------------------


def pandas_as_usual(source: str, accepted: str, rejects: str) -> None:
    """As tutorials have it: types are guessed, rows that cannot be converted are put aside."""
    import pandas as pd

    frame = pd.read_csv(source)
    amount = pd.to_numeric(frame["amount"].astype(str).str.replace(r"[$,]", "", regex=True), errors="coerce")
    moment = pd.to_datetime(frame["timestamp"], utc=True, errors="coerce", format="mixed")
    bad = amount.isna() | moment.isna() | frame["transaction_id"].isna() | frame["customer_id"].isna()
    frame[bad].to_csv(rejects, index=False)
    frame.assign(amount=amount, timestamp=moment)[~bad].to_csv(accepted, index=False)


def polars_as_usual(source: str, accepted: str, rejects: str) -> None:
    """Likewise."""
    import polars as pl

    frame = pl.read_csv(source, try_parse_dates=True)
    amount = pl.col("amount").cast(pl.String).str.replace_all(r"[$,]", "").cast(pl.Float64, strict=False)
    moment = pl.col("timestamp")
    if frame["timestamp"].dtype == pl.String:
        moment = moment.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    done = frame.with_columns(amount=amount, timestamp=moment)
    bad = pl.any_horizontal(pl.col("transaction_id", "customer_id", "amount", "timestamp").is_null())
    frame.filter(done.select(bad).to_series()).write_csv(rejects)
    done.filter(~bad).write_csv(accepted)


CONTESTANTS: Mapping[str, tuple[str, Callable[[str, str, str], None]]] = {
    "ours": ("this ETL", ours.etl),
    "pandas": ("pandas, as usual", pandas_as_usual),
    "pandas-text": ("pandas, all text, strict rules", peers.with_pandas_map),
    "pandas-arrow": ("the same, engine pyarrow", peers.with_pandas),
    "polars": ("polars, as usual", polars_as_usual),
    "polars-text": ("polars, all text, strict rules", peers.with_polars),
    "dictreader": ("`csv.DictReader`, strict rules", peers.with_dictreader),
}


def convert_all(name: str, folder: Path) -> None:
    """Each file NUMBER.csv that has no answer yet: NUMBER.NAME.answer holds "" or the error."""
    _, convert = CONTESTANTS[name]
    for source in sorted(folder.glob("*.csv")):
        answer, accepted, rejects = (source.with_suffix(f".{name}.{kind}") for kind in ("answer", "accepted", "rejects"))
        if answer.exists():
            continue
        answer.write_text("crash", encoding="utf-8")  # unless it comes back
        try:
            convert(str(source), str(accepted), str(rejects))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # polars' PanicException is no Exception
            answer.write_text(f"{type(error).__name__}: {error}"[:500], encoding="utf-8", errors="replace")
        else:
            answer.write_text("", encoding="utf-8")


def run(name: str, folder: Path) -> None:
    """All files; a process that dies leaves a crash, and another goes on behind it."""
    python = sys.executable if name == "ours" else str(PEERS_PYTHON)
    settings = {**os.environ, "PYTHONWARNINGS": "ignore", "POLARS_MAX_THREADS": "1"}
    ended = 0
    while subprocess.run([python, "-m", "bench.hostile", name, str(folder)], cwd=ROOT, env=settings, check=False).returncode:
        ended += 1
        if ended > 20:
            raise RuntimeError(f"{CONTESTANTS[name][0]} ends too often")


# --- the verdict -----------------------------------------------------------------------------------------------------

RIGHT, REFUSED, TOO_MUCH, WRONG, CRASHED = "right", "file refused", "good rows rejected", "silently wrong", "crashed"
VERDICTS = (RIGHT, REFUSED, TOO_MUCH, WRONG, CRASHED)
_FRACTION = re.compile(r"\.([0-9]+)")


def verdict(case: Case, folder: Path, number: int, name: str) -> str:
    """What became of a file: the worst that happened in it."""
    answer, accepted, rejects = (folder / f"{number:04}.{name}.{kind}" for kind in ("answer", "accepted", "rejects"))
    said = answer.read_text(encoding="utf-8", errors="replace")
    if said == "crash":
        return CRASHED
    if said:
        return RIGHT if isinstance(case.truth, str) or not case.rows else REFUSED
    header = next(csv.reader(io.StringIO(case.data.decode(errors="replace").lstrip("\ufeff\r\n"), newline="")), [])
    kinds = [column.strip() for column in header]
    wanted = Counter(_meaning(row, kinds) for row in case.rows)
    found = Counter(_meaning(row, kinds) for row in _rows(accepted))
    other = found - wanted
    if other - Counter(_meaning(row, kinds) for row in case.tolerated):
        return WRONG
    missing = (wanted - found).total() - other.total()
    if missing <= 0:
        return RIGHT
    # A row that is in neither file has been swallowed.
    set_aside = _lines(rejects) if name == "ours" else len(_rows(rejects))
    return TOO_MUCH if set_aside >= missing else WRONG


def _rows(path: Path) -> list[list[str]]:
    """Those behind the header."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [*csv.reader(file)][1:]


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _meaning(row: Sequence[str], kinds: Sequence[str]) -> tuple[object, ...]:
    """The row, its amount as a number and its timestamp as a moment, however they are written."""
    meanings = {"amount": _number, "timestamp": _moment}
    return tuple(meanings.get(kind, str)(text) for kind, text in zip(kinds, row, strict=False)) + tuple(row[len(kinds):])


def _number(text: str) -> object:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _moment(text: str) -> object:
    if text.isdecimal() and len(text) < 14:  # left as it was
        return datetime(1970, 1, 1) + timedelta(milliseconds=int(text) * (1 if len(text) > 10 else 1_000)), Decimal(0)
    fraction, whole = _FRACTION.search(text), _FRACTION.sub("", text).replace(" ", "T")
    whole = re.sub(r"(?:Z|\+00:?00)$", "", whole)
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        return whole.lstrip("+")  # before the year 1 or after 9999
    return moment, Decimal(f"0.{fraction[1]}") if fraction else Decimal(0)


# --- the page --------------------------------------------------------------------------------------------------------


def verdicts(names: Iterable[str], cases: Sequence[Case]) -> dict[str, list[str]]:
    """Of each contestant, case by case."""
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases):
            (Path(folder) / f"{number:04}.csv").write_bytes(case.data)
        found = {}
        for name in names:
            run(name, Path(folder))
            print(CONTESTANTS[name][0], flush=True)
            found[name] = [verdict(case, Path(folder), number, name) for number, case in enumerate(cases)]
        return found


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in (head, ["---"] * len(head), *rows))


def introduction(cases: Sequence[Case]) -> str:
    """What the ETL has to do with them."""
    refused = sum(isinstance(case.truth, str) for case in cases)
    good, bad = (sum(map(len, of)) for of in ([case.rows for case in cases], [case.rejects for case in cases]))
    return (f"{len(cases)} files: {refused} must be refused as a whole, the others hold {good:,} good rows and {bad:,} that must "
            "be rejected.")


def ours_row(cases: Sequence[Case]) -> str:
    """The ETL's line of the table, with nothing to complain of."""
    return f"| {CONTESTANTS['ours'][0]} | {len(cases)} | 0 | 0 | 0 | 0 |"


def page(found: Mapping[str, Sequence[str]], cases: Sequence[Case], versions: str) -> str:
    """What stands between the marks."""
    groups = list(dict.fromkeys(case.group for case in cases))
    counts = {name: Counter(each) for name, each in found.items()}
    wrong = {name: Counter(case.group for case, each in zip(cases, said, strict=True) if each == WRONG)
             for name, said in found.items()}
    return "\n".join((
        f"{introduction(cases)} Compared with {versions}.\n",
        table(("files", *VERDICTS), [(CONTESTANTS[name][0], *(counts[name][each] for each in VERDICTS)) for name in found]),
        "Silently wrong, by what is hostile:\n",
        table(("", "files", *(CONTESTANTS[name][0] for name in found)),
              [(group, sum(case.group == group for case in cases), *(wrong[name][group] for name in found)) for group in groups]),
    ))


def main() -> int:
    if not PEERS_PYTHON.exists():
        print(f"{PEERS_PYTHON.relative_to(ROOT)} is missing. Remedy: make bench", file=sys.stderr)
        return 2
    cases = hostile_files.cases()
    found = verdicts(CONTESTANTS, cases)
    program = "import pandas, polars; print('pandas', pandas.__version__ + ', polars', polars.__version__)"
    versions = subprocess.run([PEERS_PYTHON, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
    written = page(found, cases, versions)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{written}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(written)
    for case, each in zip(cases, found["ours"], strict=True):
        if each != RIGHT:
            print(f"this ETL, {case.group}: {case.name}: {each}", file=sys.stderr)
    return 0 if {*found["ours"]} == {RIGHT} else 1


if __name__ == "__main__":
    csv.field_size_limit(1 << 30)
    if len(sys.argv) == 3:
        convert_all(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.exit(main())
