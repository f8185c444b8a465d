"""Hostile CSV files, each with what a careful human reads in it: the same bytes each time (E3b, E4a, E5, C13).

The truth is written down by hand, from docs/etl.md and the norm of values; no code of the ETL takes part in it. Either the
whole file must be refused, for a reason that holds certain words; or each of its records is a row of exact values, or must be
rejected, verbatim. Most cases put their lines between two good rows, which must come through.

    python -m bench.hostile_files        lists the cases
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

HEADER = "transaction_id,customer_id,amount,timestamp,note"
TIME = "2024-03-05T10:11:12Z"
FIRST, LAST = ("t1", "c1", "1.00", TIME, "first"), ("t9", "c9", "9.00", TIME, "last")
MIB = 1 << 20

Row = tuple[str, ...]
Record = Row | bytes
"""Its values, or the line that must be rejected, without its line end."""


@dataclass(frozen=True)
class Case:
    """``truth`` is the records in their order, or words of the reason for which the whole file is refused."""

    group: str
    name: str
    data: bytes
    truth: tuple[Record, ...] | str
    tolerated: tuple[Row, ...] = ()
    """What a human can read where the rules reject, since a program would guess elsewhere: no corruption, if others do."""

    @property
    def rows(self) -> list[Row]:
        return [] if isinstance(self.truth, str) else [each for each in self.truth if isinstance(each, tuple)]

    @property
    def rejects(self) -> list[bytes]:
        return [] if isinstance(self.truth, str) else [each for each in self.truth if isinstance(each, bytes)]


def _line(values: Row) -> bytes:
    """Of values that need no quotes."""
    return ",".join(values).encode()


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _file(header: str, *lines: bytes) -> bytes:
    return b"\n".join((header.encode(), *lines, b""))


@dataclass(frozen=True)
class _Group:
    """Makes cases of one name."""

    name: str

    def case(self, name: str, data: str | bytes, truth: tuple[Record, ...] | str, *tolerated: Row) -> Case:
        """A whole file."""
        return Case(self.name, name, _bytes(data), truth, tolerated)

    def fine(self, name: str, text: str | bytes, *truth: Record, header: str = HEADER) -> Case:
        """These lines between two good rows; fine, or some of them are."""
        return self.case(name, _file(header, _line(FIRST), _bytes(text), _line(LAST)), (FIRST, *truth, LAST))

    def bad(self, name: str, text: str | bytes, *tolerated: Row) -> Case:
        """One line between two good rows, which alone is rejected."""
        return replace(self.fine(name, text, _bytes(text)), tolerated=tolerated)

    def throughout(self, name: str, line: str, row: Row) -> Case:
        """A file with this row, twice, and no other: who guesses types from what is there has nothing else."""
        return self.case(name, _file(HEADER, _bytes(line), _bytes(line)), (row, row))


def _field(text: str) -> str:
    """In quotes if need be."""
    return '"' + text.replace('"', '""') + '"' if {*text} & {*',"\r\n'} else text


# --- amounts ---------------------------------------------------------------------------------------------------------

AMOUNTS = {
    "1,234.56": "1234.56", "$1,234.50": "1234.50", "1,234,567.891": "1234567.891", "1234.5": "1234.50", "007.5": "7.50",
    "-0": "0.00", "-0.000": "0.000", "(0.00)": "0.00", "(12.30)": "-12.30", "($1,234.50)": "-1234.50", "1e3": "1000.00",
    "1E-30": f"0.{'0' * 29}1", "1.5e2": "150.00", "5.": "5.00", ".5": "0.50", "+5": "5.00", " 5 ": "5.00", "\t5\t": "5.00",
    "9007199254740993": "9007199254740993.00", "0.1": "0.10", "0.30000000000000004": "0.30000000000000004",
    "1.0000000000000001": "1.0000000000000001", "999999999999999999.99": "999999999999999999.99",
    "123456789012345678.12345678901234567890": "123456789012345678.12345678901234567890",
    "4.35": "4.35", "1.10": "1.10", "16777217": "16777217.00", "2.675": "2.675",
}  # fmt: skip
BAD_AMOUNTS = {  # what a human can read there, if only one thing
    "1.234,56": "1234.56", "1234,56": "1234.56", "12,50": "12.50", "0,123": "", "1,23": "1.23", "12,34,567.89": "1234567.89",
    "1,234,56": "", "1 234.56": "1234.56", "1\u00a0234.56": "1234.56", "1\u202f234,56": "1234.56", "1'234.56": "1234.56",
    "1_000": "1000", "\u0661\u0662\u0663": "123", "\u0967\u0968": "12", "１２": "12", "１２.５０": "12.5", "²": "", "½": "0.5",
    "Ⅷ": "8", "五": "5", "−5": "-5", "‐5": "-5", "NaN": "", "nan": "", "inf": "", "-Infinity": "", "1e400": "1e400",
    "1e31": "1e31", "1e-31": "1e-31", "1e": "", "e5": "", "1e5e5": "", "1e+": "", "0x1F": "31", "0b1": "1", "1.2.3": "",
    "--5": "", "+-5": "", "5-": "-5", "5 USD": "5", "USD 5": "5", "€5": "5", "£5": "5", "$ 5": "5", "$$5": "5", "5%": "0.05",
    "1/2": "0.5", "TRUE": "", "null": "", "None": "", "NA": "", "#REF!": "", "=1+1": "2", "'5": "5", "5d": "5", "1.0f": "1",
    "(5": "", "5)": "", "((5))": "-5", "(-5)": "-5", "-(5)": "-5", "1000000000000000000": "1e18", "1e18": "1e18", "": "",
    " ": "", "-": "", ".": "", "$": "", "1\u200b0": "10", "\u200e5": "5", "5\u0301": "", "\ufeff5": "5", "\u20035": "5",
    "5\x1b[31m": "", "１2": "12", "1.5.": "", "1..5": "", "1,234.5,6": "", ",5": "", "5,": "5",
}  # fmt: skip


def _amounts() -> Iterator[Case]:
    of = _Group("amounts")
    for text, value in AMOUNTS.items():
        yield of.fine(ascii(text), f"t2,c2,{_field(text)},{TIME},x", ("t2", "c2", value, TIME, "x"))
        yield of.throughout(f"{text!a} throughout", f"t2,c2,{_field(text)},{TIME},x", ("t2", "c2", value, TIME, "x"))
    for text, reading in BAD_AMOUNTS.items():
        tolerated = [("t2", "c2", reading, TIME, "x")] if reading else []
        yield of.bad(f"{text!a}, no amount", f"t2,c2,{_field(text)},{TIME},x", *tolerated)
    yield of.bad("100,000 digits", f"t2,c2,{'9' * 100_000},{TIME},x", ("t2", "c2", "9" * 100_000, TIME, "x"))
    precise = f"0.{'1' * 100_000}"
    yield of.fine("100,000 decimals", f"t2,c2,{precise},{TIME},x", ("t2", "c2", precise, TIME, "x"))
    yield of.fine("100,000 leading zeros", f"t2,c2,{'0' * 100_000}5,{TIME},x", ("t2", "c2", "5.00", TIME, "x"))


# --- timestamps ------------------------------------------------------------------------------------------------------

TIMESTAMPS = {
    "2024-03-05T10:11:12.123456789Z": "2024-03-05T10:11:12.123456789Z", "2024-03-05T10:11:12.120Z": "2024-03-05T10:11:12.120Z",
    "2024-03-05T10:11:12+05:30": "2024-03-05T04:41:12Z", "2024-03-05 10:11:12+0200": "2024-03-05T08:11:12Z",
    "2024-03-05T10:11:12-00:00": TIME, "2024-12-31T23:59:59-00:01": "2025-01-01T00:00:59Z",
    # A night that New York has not, and one hour that it has twice: without an offset, it is UTC, which has each once.
    "2024-03-10T02:30:00": "2024-03-10T02:30:00Z", "2024-11-03T01:30:00": "2024-11-03T01:30:00Z",
    "2024-11-03T01:30:00-04:00": "2024-11-03T05:30:00Z", "2024-11-03T01:30:00-05:00": "2024-11-03T06:30:00Z",
    "2024-03-05": "2024-03-05T00:00:00Z", "03/05/2024": "2024-03-05T00:00:00Z", "12/11/2024": "2024-12-11T00:00:00Z",
    "03/05/2024 10:11": "2024-03-05T10:11:00Z", "05-Mar-2024 10:11:12": TIME, "05-mAR-2024 10:11:12": TIME,
    "0001-01-01": "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z": "9999-12-31T23:59:59Z", "1500-01-01": "1500-01-01T00:00:00Z",
    "1677-09-20T00:00:00Z": "1677-09-20T00:00:00Z", "2262-04-12T00:00:00Z": "2262-04-12T00:00:00Z",
    "1900-02-28": "1900-02-28T00:00:00Z", "2000-02-29": "2000-02-29T00:00:00Z", "1709633472": TIME,
    "1709633472123": "2024-03-05T10:11:12.123Z", "999999999": "2001-09-09T01:46:39Z", "0000000000": "1970-01-01T00:00:00Z",
    " 2024-03-05T10:11:12Z ": TIME,
}  # fmt: skip
BAD_TIMESTAMPS = {  # what a human can read there, if only one thing
    "13/05/2024": "2024-05-13T00:00:00Z", "31/12/2024 10:00": "2024-12-31T10:00:00Z", "05.03.2024": "2024-03-05T00:00:00Z",
    "05/03/24": "", "24-03-05": "", "03-05-2024": "", "2024/03/05": "2024-03-05T00:00:00Z", "2016-12-31T23:59:60Z": "",
    "2024-01-01T24:00:00Z": "2024-01-02T00:00:00Z", "2023-02-29": "", "1900-02-29": "", "2024-02-30": "", "2024-04-31": "",
    "2024-13-01": "", "2024-00-10": "", "2024-01-00": "", "0000-01-01": "0000-01-01T00:00:00Z",
    "10000-01-01": "10000-01-01T00:00:00Z", "-0001-01-01": "", "+2024-03-05": "",
    "0001-01-01T00:00:00+05:00": "0000-12-31T19:00:00Z", "9999-12-31T23:59:59-05:00": "10000-01-01T04:59:59Z",
    "2024-W10-2": "2024-03-05T00:00:00Z", "2024-065": "2024-03-05T00:00:00Z", "20240305": "2024-03-05T00:00:00Z",
    "20240305T101112Z": "2024-03-05T10:11:12Z", "2024-03-05T10:11:12 Z": "2024-03-05T10:11:12Z",
    "2024-03-05t10:11:12z": "2024-03-05T10:11:12Z", "2024-03-05 10:11:12 UTC": "2024-03-05T10:11:12Z",
    "2024-03-05 10:11:12 EST": "2024-03-05T15:11:12Z", "2024-03-05T10:11:12+01:00[Europe/Berlin]": "2024-03-05T09:11:12Z",
    "2024-3-5": "2024-03-05T00:00:00Z", "3/5/2024": "2024-03-05T00:00:00Z", "03/05/2024 10:11 PM": "2024-03-05T22:11:00Z",
    "03/05/2024T10:11": "2024-03-05T10:11:00Z", "10:11:12": "", "now": "", "today": "", "45356": "", "45356.42": "",
    "1709633472.5": "2024-03-05T10:11:12.5Z", "17096334721": "", "1709633472123456": "2024-03-05T10:11:12.123456Z",
    "-1709633472": "1915-10-29T13:48:48Z", "1.709633472E+09": "2024-03-05T10:11:12Z", "２０２４-03-05": "2024-03-05T00:00:00Z",
    "\u0662\u0660\u0662\u0664-\u0660\u0663-\u0660\u0665": "2024-03-05T00:00:00Z", "2024\u201103\u201105": "2024-03-05T00:00:00Z",
    "2024-03-05T10:11:12\u200bZ": "2024-03-05T10:11:12Z", "2024-03-05T10:11:12.1234567890Z": "2024-03-05T10:11:12.123456789Z",
    "2024-03-05T10:11:12,5Z": "2024-03-05T10:11:12.5Z", "2024-03-05T10:11:12.Z": "2024-03-05T10:11:12Z",
    "2024-03-05T10:11:12+25:00": "", "2024-03-05T10:11:12+02:60": "", "2024-03-05T10": "2024-03-05T10:00:00Z",
    "2024-03-05T": "2024-03-05T00:00:00Z", "2024-03-05Z": "2024-03-05T00:00:00Z", "2024-03": "", "2024": "",
    "5-Mar-2024 10:11:12": "2024-03-05T10:11:12Z", "05-Mai-2024 10:11:12": "2024-05-05T10:11:12Z",
    "05-Mar-24 10:11:12": "2024-03-05T10:11:12Z", "05-Mar-2024": "2024-03-05T00:00:00Z", "Mar 5, 2024": "2024-03-05T00:00:00Z",
    "Tue, 05 Mar 2024 10:11:12 GMT": "2024-03-05T10:11:12Z", "": "", " ": "", "0": "", "NaT": "", "null": "",
    "2024-03-05T10:11:12Z2024-03-05T10:11:12Z": "", "2024-03-05  10:11": "2024-03-05T10:11:00Z",
    "2024-03-05\u00a010:11:12": "2024-03-05T10:11:12Z", "\ufeff2024-03-05": "2024-03-05T00:00:00Z", "2024-03-05T10:60:00Z": "",
    "2024-03-05T1O:11:12Z": "",
}  # fmt: skip


def _timestamps() -> Iterator[Case]:
    of = _Group("timestamps")
    for text, value in TIMESTAMPS.items():
        yield of.fine(ascii(text), f"t2,c2,2.00,{_field(text)},x", ("t2", "c2", "2.00", value, "x"))
        yield of.throughout(f"{text!a} throughout", f"t2,c2,2.00,{_field(text)},x", ("t2", "c2", "2.00", value, "x"))
    # A compact date would look the same; the norm says milliseconds.
    compact = of.fine("'202403051011'", "t2,c2,2.00,202403051011,x", ("t2", "c2", "2.00", "1976-05-31T15:04:11.011Z", "x"))
    yield replace(compact, tolerated=(("t2", "c2", "2.00", "2024-03-05T10:11:00Z", "x"),))
    for text, reading in BAD_TIMESTAMPS.items():
        tolerated = [("t2", "c2", "2.00", reading, "x")] if reading else []
        yield of.bad(f"{text!a}, no timestamp", f"t2,c2,2.00,{_field(text)},x", *tolerated)


# --- text that must stay as it is ------------------------------------------------------------------------------------

VERBATIM_IDS = (
    "007", "1e5", "12345678901234567890", "9007199254740993", "1.0", "1.10", "NA", "NaN", "null", "None", "TRUE", "inf", "0x1F",
    "1_000", "+5", "2024-03-05", "1,234", " padded ", "\u0661\u0662", "t\u200b2", "\ufefft2", "#5", "\\N", "n/a", "-",
)  # fmt: skip
VERBATIM_NOTES = (
    "=cmd|'/C calc'!A0", "@SUM(A1:A9)", "+1+1", "-2+3", '=HYPERLINK("http://x","y")', "<script>alert(1)</script>",
    "../../etc/passwd", "${jndi:ldap://x}", "'; DROP TABLE t; --", "{{7*7}}", "%s%n", "NULL", "nan", "", " ", "  two  ", "0.10",
    "1E3", "\u202egpj.exe", "cafe\u0301", "caf\u00e9", "👩‍👩‍👧", "a\u2028b", "a\u0085b", "a\x0bb\x0cc", "a\x1cb\x1dc\x1ed",
    "\x1b[2J", "a\x7fb", "+AKM-", "\ufffd", "\ufeff", "\uffff", "\U0010ffff", "it's 5\" wide", "a;b\tc|d", "\\", "\\n", "𝟓",
    "&amp;",
)  # fmt: skip


def _verbatim() -> Iterator[Case]:
    of = _Group("text kept verbatim")
    for text in VERBATIM_IDS:
        line = f"{_field(text)},{_field(text)},2.00,{TIME},x"
        yield of.fine(f"ids {text!a}", line, (text, text, "2.00", TIME, "x"))
        yield of.throughout(f"ids {text!a} throughout", line, (text, text, "2.00", TIME, "x"))
    for text in VERBATIM_NOTES:
        line = f"t2,c2,2.00,{TIME},{_field(text)}"
        yield of.fine(f"note {text!a}", line, ("t2", "c2", "2.00", TIME, text))
        yield of.throughout(f"note {text!a} throughout", line, ("t2", "c2", "2.00", TIME, text))
    for blank in ("", " ", "\t"):
        yield of.bad(f"transaction_id {blank!a}, blank", f"{blank},c2,2.00,{TIME},x", (blank, "c2", "2.00", TIME, "x"))
        yield of.bad(f"customer_id {blank!a}, blank", f"t2,{blank},2.00,{TIME},x", ("t2", blank, "2.00", TIME, "x"))


# --- delimiters and columns ------------------------------------------------------------------------------------------


def _columns() -> Iterator[Case]:
    of = _Group("delimiters and columns")
    whole = "\n".join((HEADER, ",".join(FIRST), ",".join(LAST), ""))
    yield of.case("semicolons", whole.replace(",", ";"), "is the delimiter ';'?")
    yield of.case("tabs", whole.replace(",", "\t"), "is the delimiter a tab?")
    yield of.case("pipes", whole.replace(",", "|"), "is the delimiter '|'?")
    quoted = whole.replace(",", '";"').replace("\n", '"\n"').removesuffix('"')
    yield of.case("semicolons between quotes", f'"{quoted}', "is the delimiter ';'?")
    yield of.case("semicolons and decimal commas", f"{HEADER.replace(',', ';')}\nt2;c2;2,50;{TIME};x\n", "delimiter ';'")
    yield of.bad("a row with semicolons", f"t2;c2;2.00;{TIME};x")
    yield of.bad("a row with semicolons and a decimal comma", f"t2;c2;2,00;{TIME};x")
    yield of.bad("a row with tabs", f"t2\tc2\t2.00\t{TIME}\tx")
    yield of.bad("a column too few", f"t2,c2,2.00,{TIME}", ("t2", "c2", "2.00", TIME, ""))
    yield of.bad("a column too many", f"t2,c2,2.00,{TIME},x,y")
    yield of.bad("an empty column too many", f"t2,c2,2.00,{TIME},x,")
    yield of.bad("an unquoted comma in the note", f"t2,c2,2.00,{TIME},a, b")
    yield of.bad("an unquoted thousands comma", f"t2,c2,1,234.00,{TIME},x")
    yield of.bad("a column missing in front", f"c2,2.00,{TIME},x")
    yield of.bad("nothing but commas", ",,,,")
    yield of.bad("nothing but 100,000 commas", "," * 100_000)
    yield of.bad("values shifted by one", f"t2,c2,{TIME},2.00,x")
    trailing = [b"%b," % _line(row) for row in (FIRST, LAST)]
    yield of.case("every row has a comma more than the header", _file(HEADER, *trailing), (*trailing,), FIRST, LAST)
    wide = [f"{number},{','.join(row)}".encode() for number, row in enumerate((FIRST, LAST))]
    yield of.case("every row has its number in front", _file(HEADER, *wide), (*wide,), FIRST, LAST)
    yield of.case("header and rows have a comma more", _file(HEADER + ",", *trailing), ((*FIRST, ""), (*LAST, "")))
    short = [_line(row) for row in (FIRST, LAST)]
    yield of.case("the header has a comma more than every row", _file(HEADER + ",", *short), (*short,), (*FIRST, ""), (*LAST, ""))
    for name, header in {
        "two more of one name": f"{HEADER},note,note", "two more without a name": f"{HEADER},,",
        "two more named like numbers": f"{HEADER},1,1.0",
        "two more named like what pandas makes up": f"{HEADER},note.1,Unnamed: 6",
    }.items():
        rows = [(*row, "p", "q") for row in (FIRST, LAST)]
        yield of.case(f"columns: {name}", _file(header, *map(_line, rows)), (*rows,))
    many = f"{HEADER},{','.join(f'c{number}' for number in range(9_995))}"
    rows = [(*row, *("v",) * 9_995) for row in (FIRST, LAST)]
    yield of.case("10,000 columns", _file(many, *map(_line, rows)), (*rows,))
    yield of.case("10,000 columns, rows of five", _file(many, *short), (*short,),
                  *((*row, *("",) * 9_995) for row in (FIRST, LAST)))
    order = "note,timestamp,customer_id,extra,amount,transaction_id"
    mixed = ("x", TIME, "c2", "e", "2.00", "t2")
    yield of.case("columns in another order", f"{order}\n{','.join(mixed)}\n", (mixed,))
    for name, header, says in (
        ("no header", ",".join(FIRST), "the header lacks"), ("a column missing", HEADER.replace("amount,", ""), "lacks 'amount'"),
        ("a column twice", f"{HEADER},amount", "'amount' more than once"),
        ("a column twice, once padded", f"{HEADER}, amount ", "once"),
        ("upper case", HEADER.upper(), "upper and lower case"), ("a space in a name", HEADER.replace("_", " "), "lacks"),
        ("a zero-width space in a name", HEADER.replace("amount", "amount\u200b"), r"amount\u200b"),
        ("a no-break space in a name", HEADER.replace("amount", "amount\u00a0"), r"amount\xa0"),
        ("a Cyrillic letter in a name", HEADER.replace("amount", "\u0430mount"), "lacks 'amount'"),
        ("a translated header", "Transaktion,Kunde,Betrag,Zeit,Notiz", "the header lacks"),
    ):
        more = ",7.00" * (header.count(",") - 4)
        yield of.case(f"header: {name}", f"{header}\n{','.join(FIRST)}{more}\n", says)
    padded = HEADER.replace(",", " ,\t")
    yield of.fine("header: padded names", f"t2,c2,2.00,{TIME},x", ("t2", "c2", "2.00", TIME, "x"), header=padded)
    yield of.fine("spaces behind the commas", f"t2, c2, 2.00, {TIME}, x", ("t2", " c2", "2.00", TIME, " x"))
    yield of.bad("a space before a quoted amount", f't2,c2, "2,000.00",{TIME},x')


# --- quotes ----------------------------------------------------------------------------------------------------------


def _quotes() -> Iterator[Case]:
    of = _Group("quotes")
    start = f"t2,c2,2.00,{TIME},"
    for name, text in (
        ("opens and never closes", f'{start}"x'), ("opens in the first column and never closes", f'"t2,c2,2.00,{TIME},x'),
        ("opens in the amount and never closes", f't2,c2,"2.00,{TIME},x'), ("text after it", f'{start}"x"y'),
        ("a space after it", f't2,c2,"2.00" ,{TIME},x'), ("escaped by a backslash", f'{start}"a \\"b\\" c"'),
        ("three open it", f'{start}"""x'), ("two, then text", f'{start}""x'), ("a lone one", '"'),
        ("a lone one as last field", f'{start}"'),
        ("single ones", f"{start}'a,b'"), ("typographic ones", f"t2,c2,“2,000.00”,{TIME},x"),
        ("grave accents", f"{start}`a,b`"), ("doubled outside", f'{start}""a,b""'),
    ):
        read = {"a space after it": ("2.00", "x"), "two, then text": ("2.00", "x")}.get(name)
        yield of.bad(f"quote: {name}", text, *([("t2", "c2", read[0], TIME, read[1])] if read else ()))
    for name, text, note in (
        ("within a field", f'{start}5" pipe', '5" pipe'), ("at a field's end", f'{start}pipe 5"', 'pipe 5"'),
        ("doubled", f'{start}"a ""b"" c"', 'a "b" c'), ("four", f'{start}""""', '"'), ("two", f'{start}""', ""),
        ("a backslash before it", f'{start}"a\\"', "a\\"), ("doubled in an unquoted field", f'{start}a""b', 'a""b'),
        ("around a comma", f'{start}"a,b"', "a,b"), ("around nothing that needs it", f'{start}"a"', "a"),
        ("single ones", f"{start}'a'", "'a'"), ("around white space", f'{start}" a "', " a "),
        ("around a line feed", f'{start}"a\nb"', "a\nb"), ("around CRLF", f'{start}"a\r\nb"', "a\r\nb"),
        ("around a carriage return", f'{start}"a\rb"', "a\rb"), ("around empty lines", f'{start}"a\n\n\nb"', "a\n\n\nb"),
        ("around what looks like a row", f'{start}"x\nt7,c7,7.00,{TIME},y"', f"x\nt7,c7,7.00,{TIME},y"),
        ("around what looks like a header", f'{start}"\n{HEADER}\n"', f"\n{HEADER}\n"),
        ("around 1,000 lines", f'{start}"{"x" * 9}{chr(10) * 1000}"', f"{'x' * 9}{chr(10) * 1000}"),
    ):
        yield of.fine(f"quote: {name}, which is fine", text, ("t2", "c2", "2.00", TIME, note))
    yield of.fine("every field quoted", f'"t2","c2","2.00","{TIME}","x"', ("t2", "c2", "2.00", TIME, "x"))
    yield of.fine("the header quoted", f"t2,c2,2.00,{TIME},x", ("t2", "c2", "2.00", TIME, "x"),
                  header=f'"{HEADER}"'.replace(",", '","'))
    yield of.fine("a column's name over two lines", f"t2,c2,2.00,{TIME},x", ("t2", "c2", "2.00", TIME, "x"),
                  header=HEADER.replace("note", '"no\nte"'))
    yield of.fine("ids with a comma and a quote", f'"t,2","c""2",2.00,{TIME},x', ("t,2", 'c"2', "2.00", TIME, "x"))
    third = f"t3,c3,3.00,{TIME},x"
    yield of.fine("two that never close, a good row between", f'{start}"x\n{third}\n{start}"y', f'{start}"x'.encode(),
                  ("t3", "c3", "3.00", TIME, "x"), f'{start}"y'.encode())
    yield of.fine("one that closes lines later, with other columns", f't2,c2,"2.00,{TIME},x\n{third}\nt4,c4,"4.00",{TIME},x',
                  f't2,c2,"2.00,{TIME},x'.encode(), ("t3", "c3", "3.00", TIME, "x"), ("t4", "c4", "4.00", TIME, "x"))
    yield of.fine("one that closes a line later, with the right columns", f'{start}"x\n{third}"',
                  ("t2", "c2", "2.00", TIME, f"x\n{third}"))
    for name, before, after in (("more", f'{start}"x', '",y'), ("fewer", '"x', '",y')):
        yield of.fine(f"one that closes lines later, with {name} columns", f"{before}\n{third}\n{after}",
                      before.encode(), ("t3", "c3", "3.00", TIME, "x"), after.encode())
    yield of.case("one that never closes, 2,000 good rows behind it",
                  "\n".join((HEADER, f'{start}"x', *[third] * 2_000, "")),
                  (f'{start}"x'.encode(), *[("t3", "c3", "3.00", TIME, "x")] * 2_000))
    opening = f'{start}"x'
    yield of.case("1,000 rows that each open one", "\n".join((HEADER, ",".join(FIRST), *[opening] * 1_000, "")),
                  (FIRST, *[opening.encode()] * 1_000))
    yield of.case("the header opens one that never closes", f'{HEADER},"x\n{third}\n', "a quote in the header")
    yield of.case("text after one in the header", f'{HEADER},"x"y\n{third},z\n', "a quote in the header",
                  ("t3", "c3", "3.00", TIME, "x", "z"))
    yield of.case("one that never closes, in a last line without line end", f"{HEADER}\n{opening}", (opening.encode(),))


# --- encodings -------------------------------------------------------------------------------------------------------

NOT_UTF8 = {
    "Latin-1": b"caf\xe9", "Windows-1252": b"\x80 5", "Mac Roman": b"caf\x8e", "Shift-JIS": b"\x83\x5c\x83\x65",
    "GBK": b"\xd6\xd0", "Big5 with a byte like a pipe": b"\xb5\x7c", "overlong slash": b"\xc0\xaf", "overlong NUL": b"\xc0\x80",
    "overlong, three bytes": b"\xe0\x80\xaf", "overlong quote": b"\xc0\xa2", "overlong comma": b"\xc0\xac",
    "surrogate": b"\xed\xa0\x80", "pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80", "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80", "cut character": b"x\xe2\x82", "lone continuation": b"\x80", "0xFF": b"\xff",
    "0xFE 0xFF": b"\xfe\xff",
    "cut character before a comma": b'"\xe2\x82,"',
}  # fmt: skip


def _encodings() -> Iterator[Case]:
    of = _Group("encodings")
    whole = "\n".join((HEADER, ",".join(FIRST), ",".join(LAST), ""))
    start = f"t2,c2,2.00,{TIME},".encode()
    for name, note in NOT_UTF8.items():
        yield of.bad(f"{name} in a row", start + note)
    yield of.bad("Latin-1 in an id", start.replace(b"t2", b"t\xe9") + b"x")
    yield of.bad("Latin-1 in an amount", start.replace(b"2.00", b"\xa32.00") + b"x")
    yield of.bad("a no-break space of Latin-1 in an amount", start.replace(b"2.00", b"2\xa0000") + b"x")
    yield of.case("byte-order mark", "\ufeff" + whole, (FIRST, LAST))
    yield of.case("byte-order mark, quoted header", "\ufeff" + whole.replace("transaction_id", '"transaction_id"'), (FIRST, LAST))
    yield of.case("byte-order mark, empty lines", "\ufeff\r\n\n" + whole, (FIRST, LAST))
    yield of.case("two byte-order marks", "\ufeff" * 2 + whole, r"\ufefftransaction_id", FIRST, LAST)
    marked = f"\ufeff{HEADER}".encode()
    yield of.fine("files joined, each with its byte-order mark", marked, marked)
    for encoding, says in (
        ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-32", "UTF-32"), ("utf-32-le", "NUL"),
        ("utf-32-be", "NUL"), ("cp037", "not UTF-8"),
    ):  # fmt: skip
        yield of.case(f"whole file {encoding}", whole.encode(encoding), says)
    yield of.case("whole file UTF-16, big end first, with its mark", b"\xfe\xff" + whole.encode("utf-16-be"), "UTF-16")
    yield of.case("whole file UTF-32, big end first, with its mark", b"\0\0\xfe\xff" + whole.encode("utf-32-be"), "UTF-32")
    yield of.case("Latin-1 in the header", HEADER.encode() + b",caf\xe9\n", "not UTF-8 text: byte 0xE9")
    rows = ("t2", "c2", "2.00", TIME, "é" * 5000)
    yield of.fine("one row of Latin-1 among long ones of UTF-8", b"\n".join((_line(rows), start + b"\xe9", _line(rows))), rows,
                  start + b"\xe9", rows)
    part = f"t2,c2,2.00,{TIME},".encode("utf-16-le") + b"x"
    yield of.bad("a row of UTF-16", part)


# --- line ends, NULs and what is no text -----------------------------------------------------------------------------


def _line_ends() -> Iterator[Case]:
    of = _Group("line ends")
    rows = [",".join(row) for row in (FIRST, LAST)]
    both = (FIRST, LAST)
    for name, data, truth in (
        ("CRLF", "\r\n".join((HEADER, *rows, "")), both), ("none at the end", "\n".join((HEADER, *rows)), both),
        ("CRLF, none at the end", "\r\n".join((HEADER, *rows)), both),
        ("half of one at the end", "\r\n".join((HEADER, *rows)) + "\r", both),
        ("CRLF after the header, then LF", f"{HEADER}\r\n{rows[0]}\n{rows[1]}\n", both),
        ("LF after the header, then CRLF", f"{HEADER}\n{rows[0]}\r\n{rows[1]}\r\n", both),
        ("mixed", f"{HEADER}\r\n{rows[0]}\n\r\n\n{rows[1]}\r\n", both), ("empty lines", "\n\n\n".join((HEADER, *rows, "")), both),
        ("header alone", HEADER, ()), ("header and line end alone", f"{HEADER}\r\n", ()),
        ("CR alone, after a header with LF", f"{HEADER}\n{rows[0]}\r{rows[1]}\r", (f"{rows[0]}\r{rows[1]}".encode(),)),
        ("CR CR LF", f"{HEADER}\n{rows[0]}\r\r\n{rows[1]}\n", ((*FIRST[:4], "first\r"), LAST)),
        ("LF CR", f"{HEADER}\n{rows[0]}\n\r{rows[1]}\n", (FIRST, ("\rt9", *LAST[1:]))),
        ("a carriage return in a field", f"{HEADER}\n{rows[0]}\nt2,c2,2.00,{TIME},a\rb\n",
        (FIRST, ("t2", "c2", "2.00", TIME, "a\rb"))),
        ("a line of spaces", f"{HEADER}\n{rows[0]}\n   \n{rows[1]}\n", (FIRST, b"   ", LAST)),
        ("a line with a form feed", f"{HEADER}\n{rows[0]}\n\f\n{rows[1]}\n", (FIRST, b"\f", LAST)),
        ("the end-of-file sign of DOS", f"{HEADER}\r\n{rows[0]}\r\n\x1a", (FIRST, b"\x1a")),
        ("cut in the middle of a row", f"{HEADER}\n{rows[0]}\nt9,c9,9.0", (FIRST, b"t9,c9,9.0")),
    ):
        yield of.case(name, data, truth, *both)
    yield of.case("CR alone", "\r".join((HEADER, *rows, "")), "end in CR alone", *both)
    yield of.case("CR alone, all quoted", '"a","b"\r"1","2"\r', "end in CR alone")
    yield of.case("nothing but line ends", "\n\r\n\n", "nothing but empty lines")


def _no_text() -> Iterator[Case]:
    of = _Group("NULs and what is no CSV")
    start = f"t2,c2,2.00,{TIME},"
    yield of.bad("NUL in the note", f"{start}a\0b", ("t2", "c2", "2.00", TIME, "a\0b"))
    yield of.bad("NUL in an id", f"t\0,c2,2.00,{TIME},x", ("t\0", "c2", "2.00", TIME, "x"))
    yield of.bad("NUL in the amount", f"t2,c2,2\0.00,{TIME},x")
    yield of.bad("NUL behind the amount", f"t2,c2,2.00\0,{TIME},x", ("t2", "c2", "2.00", TIME, "x"))
    yield of.bad("NUL behind the timestamp", f"t2,c2,2.00,{TIME}\0,x", ("t2", "c2", "2.00", TIME, "x"))
    yield of.bad("NUL in quotes", f'{start}"a\0b"', ("t2", "c2", "2.00", TIME, "a\0b"))
    yield of.bad("a line of NULs", "\0" * 5000)
    yield of.case("NULs up to the end, as after a crash", f"{HEADER}\n{','.join(FIRST)}\n".encode() + bytes(4096),
                  (FIRST, bytes(4096)))
    yield of.case("NULs from the middle of a row on", f"{HEADER}\n{','.join(FIRST)}\nt2,c2,2".encode() + bytes(99),
                  (FIRST, b"t2,c2,2" + bytes(99)))
    for name, data, says in (
        ("empty", b"", "the file is empty"), ("a byte-order mark alone", b"\xef\xbb\xbf", "nothing but empty lines"),
        ("NULs alone", bytes(5000), "NUL"), ("NUL in the header", f"{HEADER},\0\n".encode(), "NUL"),
        ("zip or Excel", b"PK\x03\x04" + bytes(60), "zip archive or an Excel workbook"),
        ("old Excel", b"\xd0\xcf\x11\xe0" + bytes(60), "an Excel workbook"),
        ("gzip", b"\x1f\x8b\x08\0", "gzip"), ("Parquet", b"PAR1\x15\x04", "Parquet"),
        ("PDF", b"%PDF-1.7\n%\xe2\xe3\n", "%PDF-1.7"),
        ("PNG", b"\x89PNG\r\n\x1a\n", "not UTF-8"), ("HTML", b"<!DOCTYPE html>\n<html>\n", "<!DOCTYPE html>"),
        ("XML", b'<?xml version="1.0"?>\n', "<?xml"), ("JSON", b'[{"transaction_id": "t1", "amount": 5}]', "the header"),
        ("JSON Lines", b'{"transaction_id":"t1","customer_id":"c1"}\n', "the header"),
        ("one letter", b"x", "the header has 1 column"),
        ("random bytes", bytes(range(128, 256)), "not UTF-8"),
    ):
        yield of.case(name, data, says)


# --- size ------------------------------------------------------------------------------------------------------------


def _size() -> Iterator[Case]:
    of = _Group("size")
    start = f"t2,c2,2.00,{TIME},"
    long = "x" * (MIB - len(start))
    yield of.fine("a row of 1 MiB", start + long, ("t2", "c2", "2.00", TIME, long))
    yield of.bad("a row of 1 MiB and a byte", f"{start}{long}x", ("t2", "c2", "2.00", TIME, f"{long}x"))
    yield of.bad("a row of 3 MiB", start + "x" * 3 * MIB, ("t2", "c2", "2.00", TIME, "x" * 3 * MIB))
    quoted = ("y" * 999 + "\n") * 1000
    yield of.fine("a record of 1 MB over 1,000 lines", f'{start}"{quoted}"', ("t2", "c2", "2.00", TIME, quoted))
    lines = ["y" * 999] * 1100
    beyond = of.fine("a record beyond 1 MiB over 1,100 lines", "\n".join((f'{start}"', *lines, '"')),
                     f'{start}"'.encode(), *(line.encode() for line in lines), b'"')
    yield replace(beyond, tolerated=(("t2", "c2", "2.00", TIME, "\n".join(("", *lines, ""))),))
    yield of.fine("a note of 500,000 quotes", f'{start}"{chr(34) * 500_000}"', ("t2", "c2", "2.00", TIME, '"' * 250_000))
    yield of.bad("a note of 500,001 quotes", f'{start}"{chr(34) * 500_001}"')
    yield of.bad("an amount of 1 MB of spaces", f"t2,c2,{' ' * 1_000_000},{TIME},x")
    yield of.fine("an amount behind 500 KB of spaces", f"t2,c2,{' ' * 500_000}5,{TIME},x", ("t2", "c2", "5.00", TIME, "x"))
    yield of.case("a header beyond 1 MiB", f"{HEADER},{'x' * MIB}\n{','.join(FIRST)},y\n", "within the first MiB", (*FIRST, "y"))
    yield of.case("1 MiB of line feeds before the header", "\n" * MIB + HEADER, "within the first MiB")
    yield of.case("one line of 2 MiB", "x" * 2 * MIB, "within the first MiB")


# --- what programs and people put around a table ---------------------------------------------------------------------


def _tables() -> Iterator[Case]:
    of = _Group("preambles and several tables")
    rows = "\n".join((HEADER, ",".join(FIRST), ",".join(LAST), ""))
    for name, before, says in (
        ("a title", "Report of March 2024\n", "line 2"), ("a title and an empty line", "Report\n\n", "line 3"),
        ("a comment", "# exported by x, y\n", "line 2"), ("a title with commas", "Report,,,,\n", "line 2"),
        ("several lines", "Bank: X\nAccount: 7\nFrom,2024-03-01\n\n", "line 5"), ("sep=,", "sep=,\n", "line 2"),
        ("sep=, and CRLF", "sep=,\r\n", "line 2"), ("another table first", "a,b\n1,2\n\n", "line 4"),
        ("a row before the header", ",".join(FIRST) + "\n", "line 2"),
    ):
        yield of.case(f"before the header: {name}", before + rows, says)
    yield of.case("before the header: sep=;", "sep=;\n" + rows.replace(",", ";"), "is the delimiter ';'?")
    for name, line in (
        ("the header again", HEADER), ("the header again, quoted", f'"{HEADER}"'.replace(",", '","')), ("units", "-,-,USD,UTC,-"),
        ("types", "text,text,decimal,timestamp,text"), ("dashes", "---,---,---,---,---"), ("a comment", "# page 2"),
        ("a comment with commas", "#,,,,"), ("a total", "TOTAL,,10.00,,"), ("an average", ",,5.00,,"), ("a count", "(2 rows)"),
        ("an error of the exporting program", "ERROR: connection lost"), ("Markdown", "|---|---|---|---|---|"),
        ("a conflict of git", "<<<<<<< HEAD"), ("another table's header", "sku,name,price,updated,remark"),
    ):
        yield of.bad(f"among the rows: {name}", line)
    other = "customer_id,transaction_id,amount,timestamp,note"
    padded = '"customer_id ","transaction_id",amount , timestamp,note'
    moved = f"c5,t5,5.00,{TIME},x"
    yield of.case("a second table, its columns in another order", f"{rows}\n{other}\n{moved}\n", "second header", FIRST, LAST)
    swapped = "transaction_id,customer_id,amount,note,timestamp"
    yield of.case("a second table, two columns changed places", f"{rows}\n{swapped}\nt5,c5,5.00,x,{TIME}\n", "second header",
                  FIRST, LAST)
    yield of.case("a second table, its header quoted and padded", f"{rows}{padded}\n{moved}\n", "second header", FIRST, LAST)
    yield of.case("a second table, a free column renamed", f"{rows}{HEADER.replace('note', 'due')}\nt5,c5,5.00,{TIME},{TIME}\n",
                  "second header", FIRST, LAST)
    narrow = "transaction_id,customer_id,amount,timestamp"
    yield of.case("a second table, narrower", f"{rows}\n{narrow}\nt5,c5,5.00,{TIME}\n",
                  (FIRST, LAST, narrow.encode(), f"t5,c5,5.00,{TIME}".encode()), ("t5", "c5", "5.00", TIME, ""))
    yield of.case("a second table of something else", f"{rows}\nsku,name,price\n7,apple,1.00\n",
                  (FIRST, LAST, b"sku,name,price", b"7,apple,1.00"))
    yield of.case("the same table twice", f"{rows}{rows}", (FIRST, LAST, HEADER.encode(), FIRST, LAST))
    yield of.case("the same row twice", f"{rows}{','.join(LAST)}\n", (FIRST, LAST, LAST))
    yield of.case("joined without a line end", f"{rows.rstrip()}{rows}",
                  (FIRST, f"{','.join(LAST)}{HEADER}".encode(), FIRST, LAST))


def cases() -> list[Case]:
    """All of them, in one order."""
    makers = (_amounts, _timestamps, _columns, _quotes, _encodings, _line_ends, _no_text, _size, _tables, _verbatim)
    return [case for maker in makers for case in maker()]


if __name__ == "__main__":
    for each in cases():
        print(f"{each.group}: {each.name} ({len(each.data):,} bytes)")
