"""Is this a file we can convert? The decision about its header, from its first MiB (E3b)."""

from dataclasses import dataclass

from . import records

HEAD_BYTES = 1 << 20  # how much of a file is looked at
REQUIRED_COLUMNS = ("transaction_id", "customer_id", "amount", "timestamp")

_REQUIRED = frozenset(name.encode() for name in REQUIRED_COLUMNS)
_BOM = b"\xef\xbb\xbf"
_FORMATS = {
    b"\xff\xfe\0\0": "UTF-32 text; save it as UTF-8",
    b"\0\0\xfe\xff": "UTF-32 text; save it as UTF-8",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a zip archive or an Excel workbook; export it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; export it as CSV",
    b"\x1f\x8b": "gzip; upload it uncompressed",
    b"PAR1": "Parquet; export it as CSV",
}
_OTHER_DELIMITERS = {";": "';'", "\t": "a tab", "|": "'|'"}
_LINES_LOOKED_AT = 100  # for a header that something else stands before


class InvalidFile(Exception):
    """The file cannot be converted; the message is the reason, for the person who sent it."""


@dataclass(frozen=True)
class Header:
    """The first record of a file."""

    columns: tuple[str, ...]  # trimmed
    text: bytes  # verbatim with its line end (none if the file ends here), without BOM and leading empty lines
    line_end: bytes  # b"\n" or b"\r\n": how every row of the output ends
    length: int  # bytes from the start of the file to the first row: BOM, leading empty lines, header, line end


def read(head: bytes, *, complete: bool) -> Header:
    """The header at the beginning of ``head``, the first MiB of a file or (``complete``) the whole of it.

    Empty lines before the header are skipped, as they are between rows. A quoted column name may contain line ends.
    Only the header is judged here: what is wrong with a row rejects that row. Raises InvalidFile.
    """
    if not head:
        raise InvalidFile("the file is empty (0 bytes)")
    for magic, description in _FORMATS.items():
        if head.startswith(magic):
            raise InvalidFile(f"the file is not CSV text: it looks like {description}")
    start = _skip_empty_lines(head, len(_BOM) if head.startswith(_BOM) else 0)
    if start == len(head):
        raise InvalidFile(
            "the file has no header: it contains nothing but empty lines"
            if complete
            else "there is no header within the first MiB: it contains nothing but empty lines"
        )
    text = _first_record(head, start, complete=complete)
    line_end = b"\r\n" if text.endswith(b"\r\n") else b"\n"
    names = _names(text.removesuffix(b"\n").removesuffix(b"\r") if text.endswith(b"\n") else text)
    _check(names, head)
    return Header(columns=tuple(names), text=text, line_end=line_end, length=start + len(text))


def _skip_empty_lines(head: bytes, start: int) -> int:
    while True:
        if head.startswith(b"\n", start):
            start += 1
        elif head.startswith(b"\r\n", start):
            start += 2
        else:
            return start


def _first_record(head: bytes, start: int, *, complete: bool) -> bytes:
    line_feed = head.find(b"\n", start)
    if line_feed < 0:
        if not complete:
            raise InvalidFile("there is no header within the first MiB: its first line does not end there")
        return head[start:]
    line = head[start:line_feed].removesuffix(b"\r")
    _, quote = records.split(line)
    if quote >= 0 and not records.closes(line, quote):
        data = head if head.endswith(b"\n") or not complete else head + b"\n"
        span = records.OpenQuotes(HEAD_BYTES).follow(data, 0, start, start + quote)
        if isinstance(span, records.Span):
            return head[start : span.following]
        if span != records.MALFORMED and not complete:
            raise InvalidFile("there is no header within the first MiB: a quote in its first line does not close there")
    return head[start : line_feed + 1]


def _names(record: bytes) -> list[str]:
    if b"\0" in record:
        hint = "; it looks like UTF-16, save it as UTF-8" if record.count(b"\0") * 3 >= len(record) else ""
        raise InvalidFile(f"the header is not text: it contains NUL bytes{hint}")
    try:
        record.decode()
    except UnicodeDecodeError as error:
        raise InvalidFile(
            f"the header is not UTF-8 text: byte 0x{record[error.start]:02X} at its position {error.start};"
            " save the file as UTF-8"
        ) from None
    fields, fault = records.split(record)
    if b"\r" in record and (fault >= 0 or b'"' not in record):
        raise InvalidFile("the lines of the file end in CR alone; save it with LF or CRLF line ends")
    if fault >= 0:
        found = [shown for delimiter, shown in _OTHER_DELIMITERS.items() if f'"{delimiter}"'.encode() in record]
        hint = f"; is the delimiter {found[0]}?" if found else ""
        raise InvalidFile(f"a quote in the header does not close properly{hint}")
    return [field.strip().decode() for field in fields]


def _check(names: list[str], head: bytes) -> None:
    """The required columns are there, each once. What the other columns are called is their business."""
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    twice = [name for name in REQUIRED_COLUMNS if names.count(name) > 1]
    if not missing and not twice:
        return
    if missing and (line := _line_of_header(head)):
        raise InvalidFile(f"the file does not begin with its header, which is in line {line}: remove what is before it")
    if len(names) == 1:
        found = [shown for delimiter, shown in _OTHER_DELIMITERS.items() if delimiter in names[0]]
        raise InvalidFile(
            f"the header has 1 column; is the delimiter {found[0]}?"
            if found
            else f"the header has 1 column, {_listed(names)}; it needs {_listed([*REQUIRED_COLUMNS])}"
        )
    faults = []
    if missing:
        faults.append(f"the header lacks {_listed(missing)} (exactly so, upper and lower case too)")
    if twice:
        faults.append(f"the header has {_listed(twice)} more than once")
    raise InvalidFile(f"{' and '.join(faults)}; its columns are {_listed(names)}")


def _line_of_header(head: bytes) -> int | None:
    """The first line, counted from 1, that has the required columns: behind a title, say, or behind Excel's ``sep=,``."""
    for number, line in enumerate(head.split(b"\n", _LINES_LOOKED_AT)[:_LINES_LOOKED_AT], start=1):
        if is_header(records.split(line)[0]):
            return number
    return None


def is_header(fields: list[bytes]) -> bool:
    """Whether these fields of a record name the required columns."""
    return _REQUIRED.issubset(field.strip() for field in fields)


def _listed(names: list[str], most: int = 12) -> str:
    shown = [repr(name if len(name) <= 60 else name[:59] + "…") for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
