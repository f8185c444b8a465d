"""The job of the ETL, written for what people would take instead: csv.DictReader with Decimal, pandas, polars, DuckDB, pyarrow.

The job: amounts become exact decimals with at least two places, timestamps ISO 8601 UTC with their fraction as written, other
columns keep their characters; rows that cannot be converted go to a second file, with the reason. docs/etl.md has the forms.

Each is as fast as we could make it in its library's own manner: everything is read as text; whole columns are converted at once;
values that are canonical already are recognised by one regular expression and left alone; each other form is converted only
where it occurs; what is rare (exponents) takes the way of the loop. All on one thread, which costs less CPU time than two.

    .tools/bench/.venv/bin/python -m bench.peers NAME SOURCE ACCEPTED REJECTS        NAME: see PEERS, at the end

It prints its peak memory in bytes.
"""

# pyright: reportMissingImports=false
# The peers live in an environment of their own.

from __future__ import annotations

import csv
import os
import re
import sys
from datetime import datetime, timedelta
from decimal import Decimal

from bench.peak import peak

SPACE = " \t\r\n\v\f"
CANONICAL_AMOUNT = r"(?:0|-?[1-9][0-9]{0,17})\.[0-9]{2,}"
CANONICAL_TIMESTAMP = (
    r"[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?Z"
)
_NUMBER = r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
AMOUNT = rf"(?:(?:[+-]?\$?|\$[+-]){_NUMBER}|\([ \t\r\n\v\f]*\$?{_NUMBER}[ \t\r\n\v\f]*\))"
"""All forms but exponents."""
_HOUR_MINUTE = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_OFFSET = r"[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?"
ISO = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_HOUR_MINUTE}(?::[0-5][0-9](?:\.[0-9]{{1,9}})?)?(?:Z|{_OFFSET})?)?"
AMERICAN = rf"[0-9]{{2}}/[0-9]{{2}}/[0-9]{{4}}(?: {_HOUR_MINUTE}(?::[0-5][0-9])?)?"
NAMED = rf"[0-9]{{2}}-[A-Za-z]{{3}}-[0-9]{{4}} {_HOUR_MINUTE}:[0-5][0-9]"
EPOCH = r"(?:[0-9]{9,10}|[0-9]{12,13})"
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: f"{number:02}" for number, name in enumerate(_NAMES, start=1)}
LARGEST = 10**18


# --- csv.DictReader, Decimal and datetime ----------------------------------------------------------------------------

_match_amount = re.compile(rf"([+-]?\$?|\$[+-])({_NUMBER})(?:[eE]([+-]?[0-9]{{1,3}}))?", re.ASCII).fullmatch
_match_timestamp = re.compile(
    r"(?:(\d{4}-\d\d-\d\d)|(\d\d)/(\d\d)/(\d{4})|(\d\d)-([A-Za-z]{3})-(\d{4})(?= \d\d:\d\d:\d\d$))"
    rf"(?:[T ]({_HOUR_MINUTE})(?::([0-5][0-9])(\.\d{{1,9}})?)?(Z|{_OFFSET})?)?", re.ASCII).fullmatch
_match_american = re.compile(AMERICAN).fullmatch
_match_epoch = re.compile(EPOCH).fullmatch
_CENT = Decimal("0.01")
_START = datetime(1970, 1, 1)


def amount(text: str) -> str | None:
    text = text.strip(SPACE)
    in_parentheses = text[:1] == "(" and text[-1:] == ")"
    match = _match_amount(text[1:-1].strip(SPACE) if in_parentheses else text)
    if not match:
        return None
    sign, number, exponent = match.groups()
    if (in_parentheses and sign not in ("", "$")) or (exponent and abs(int(exponent)) > 30):
        return None
    number = number.replace(",", "")
    value = Decimal(f"{number}e{exponent}" if exponent else number)
    if value >= LARGEST:
        return None
    if value.as_tuple().exponent > -2:  # type: ignore[operator]  the pattern takes numbers only
        value = value.quantize(_CENT)
    if value and (in_parentheses or "-" in sign):
        value = value.copy_negate()
    return f"{value:f}"


def timestamp(text: str) -> str | None:
    text = text.strip(SPACE)
    if _match_epoch(text):
        seconds = (_START + timedelta(seconds=int(text if len(text) < 12 else text[:-3]))).isoformat()
        return f"{seconds}Z" if len(text) < 12 else f"{seconds}.{text[-3:]}Z"
    match = _match_timestamp(text)
    if not match:
        return None
    day, month, of_month, year, named_day, name, named_year, clock, seconds, fraction, offset = match.groups()
    if year:
        if not _match_american(text):
            return None
        day = f"{year}-{month}-{of_month}"
    elif name:
        day = f"{named_year}-{MONTHS.get(name.lower(), '00')}-{named_day}"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}:{seconds or '00'}")
        if offset and offset != "Z":
            minutes = int(offset[1:3]) * 60 + int(offset[3:].lstrip(":") or 0)
            moment -= timedelta(minutes=minutes if offset[0] == "+" else -minutes)
    except (ValueError, OverflowError):
        return None
    return f"{moment.isoformat()}{fraction or ''}Z"


def with_dictreader(source: str, accepted: str, rejects: str) -> None:
    with (
        open(source, newline="", encoding="utf-8") as file,
        open(accepted, "w", newline="", encoding="utf-8") as output,
        open(rejects, "w", newline="", encoding="utf-8") as rejected,
    ):
        reader = csv.DictReader(file, strict=True)
        writer, reject = csv.writer(output, lineterminator="\n"), csv.writer(rejected, lineterminator="\n")
        writer.writerow(reader.fieldnames or ())
        reject.writerow((*(reader.fieldnames or ()), "reason"))
        for row in reader:
            reason = None
            converted, moment = amount(row["amount"]), timestamp(row["timestamp"])
            if not row["transaction_id"].strip(SPACE):
                reason = "transaction_id is blank"
            elif not row["customer_id"].strip(SPACE):
                reason = "customer_id is blank"
            elif converted is None:
                reason = f"amount {row['amount']!r} is not an amount"
            elif moment is None:
                reason = f"timestamp {row['timestamp']!r} is not a timestamp"
            if reason:
                reject.writerow((*row.values(), reason))
            else:
                row["amount"], row["timestamp"] = converted, moment  # type: ignore[assignment]  there is a reason, else
                writer.writerow(row.values())


# --- polars ----------------------------------------------------------------------------------------------------------


def with_polars(source: str, accepted: str, rejects: str) -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl

    col, lit, when = pl.col, pl.lit, pl.when
    text = col("text")

    def whole(pattern: str) -> pl.Expr:
        return text.str.contains(f"^(?:{pattern})$")

    def converted(values: pl.Series, canonical: str, convert) -> pl.Series:
        """The values, each in canonical form or null; ``convert`` gives frames of `row` and `text` for those that are not."""
        regular = values.str.contains(f"^(?:{canonical})$")
        if regular.all():
            return values
        frame = pl.DataFrame({"text": values, "regular": regular}).with_row_index("row")
        other = frame.filter(~col("regular")).select("row", text.str.strip_chars(SPACE))
        return pl.concat([frame.filter("regular").select("row", "text"), *convert(other)]).sort("row")["text"]

    def amounts(frame: pl.DataFrame):
        plain = whole(AMOUNT)
        rest = frame.filter(~plain)
        yield rest.with_columns(pl.Series("text", [amount(each) for each in rest["text"]], pl.String))
        parts = text.str.strip_chars(f"$()+-{SPACE}").str.replace_all(",", "", literal=True).str.split_exact(".", 1)
        yield (
            frame.filter(plain)
            .with_columns(parts=parts, negative=text.str.starts_with("(") | text.str.contains("-", literal=True))
            .unnest("parts")
            .with_columns(whole=col("field_0").str.strip_chars_start("0"), fraction=col("field_1").fill_null(""))
            .with_columns(
                number=when(col("whole") == "").then(lit("0")).otherwise("whole") + "." + col("fraction").str.pad_end(2, "0"))
            .select("row", text=when(col("whole").str.len_bytes() > 18).then(None)
                    .when(col("negative") & (col("number").str.strip_chars("0.") != "")).then("-" + col("number"))
                    .otherwise("number"))
        )

    def dated(day: pl.Expr, clock: pl.Expr) -> pl.Expr:
        length = clock.str.len_bytes()
        clock = when(length == 0).then(lit("00:00:00")).when(length == 5).then(clock + ":00").otherwise(clock)
        return when(day.str.to_date("%Y-%m-%d", strict=False).is_not_null()).then(day + "T" + clock + "Z")

    def moment(seconds: pl.Expr) -> pl.Expr:
        return when(seconds.dt.year().is_between(1, 9999)).then(seconds.dt.strftime("%Y-%m-%dT%H:%M:%S"))

    def timestamps(frame: pl.DataFrame):
        third = text.str.slice(2, 1)
        american, named, number = third == "/", third == "-", third.str.contains("[0-9]") & whole("[0-9]+")
        kind = when(american).then(lit(0)).when(named).then(lit(1)).when(number).then(lit(2)).otherwise(lit(3))
        kinds = frame.select("row", "text", kind=kind)
        yield kinds.filter(col("kind") == 0).select("row", when(whole(AMERICAN)).then(dated(
            text.str.slice(6, 4) + "-" + text.str.slice(0, 2) + "-" + text.str.slice(3, 2), text.str.slice(11))).alias("text"))
        month = text.str.slice(3, 3).str.to_lowercase().replace_strict(MONTHS, default="00")
        yield kinds.filter(col("kind") == 1).select("row", when(whole(NAMED)).then(dated(
            text.str.slice(7, 4) + "-" + month + "-" + text.str.slice(0, 2), text.str.slice(12))).alias("text"))
        seconds = moment(pl.from_epoch(when(text.str.len_bytes() < 12).then(text).otherwise(text.str.head(-3)).cast(pl.Int64)))
        yield kinds.filter((col("kind") == 2) & whole(EPOCH)).select("row", (seconds + when(text.str.len_bytes() < 12).then(
            lit("Z")).otherwise("." + text.str.tail(3) + "Z")).alias("text"))
        yield kinds.filter((col("kind") == 2) & ~whole(EPOCH)).select("row", lit(None, pl.String).alias("text"))
        iso = kinds.filter(col("kind") == 3).select("row", "text", iso=whole(ISO), offset=text.str.slice(11).str.contains("[+-]"))
        yield iso.filter(~col("iso")).select("row", lit(None, pl.String).alias("text"))
        yield iso.filter(col("iso") & ~col("offset")).select(
            "row", dated(text.str.slice(0, 10), text.str.slice(11).str.strip_chars_end("Z")).alias("text"))
        sign = text.str.extract_groups(r"^(.{10}).([0-9:]{5,8})(\.[0-9]+)?([+-])(..):?(.*)$")
        yield (
            iso.filter(col("iso") & col("offset")).select("row", sign.alias("parts")).unnest("parts")
            .with_columns(
                local=(col("1") + "T" + when(col("2").str.len_bytes() == 5).then(col("2") + ":00").otherwise("2"))
                .str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False),
                minutes=col("5").cast(pl.Int64) * 60 + when(col("6") == "").then(lit("0")).otherwise("6").cast(pl.Int64))
            .select("row", text=moment(
                col("local") - pl.duration(minutes=when(col("4") == "+").then("minutes").otherwise(-col("minutes"))))
                + col("3").fill_null("") + "Z")
        )

    frame = pl.read_csv(source, infer_schema=False, empty_string_is_null=False)
    new = {"amount": converted(frame["amount"], CANONICAL_AMOUNT, amounts),
           "timestamp": converted(frame["timestamp"], CANONICAL_TIMESTAMP, timestamps)}
    blank = [col(name).str.strip_chars(SPACE) == "" for name in ("transaction_id", "customer_id")]
    good = frame.select(~(blank[0] | blank[1])).to_series() & new["amount"].is_not_null() & new["timestamp"].is_not_null()
    if not good.all():
        reason = (
            when(blank[0]).then(lit("transaction_id is blank")).when(blank[1]).then(lit("customer_id is blank"))
            .when(new["amount"].filter(~good).is_null()).then(pl.format("amount '{}' is not an amount", "amount"))
            .otherwise(pl.format("timestamp '{}' is not a timestamp", "timestamp")))
        frame.filter(~good).with_columns(reason=reason).write_csv(rejects)
        frame.with_columns(**new).filter(good).write_csv(accepted)
    else:
        frame.with_columns(**new).write_csv(accepted)


# --- DuckDB ----------------------------------------------------------------------------------------------------------


def with_duckdb(source: str, accepted: str, rejects: str) -> None:
    import duckdb

    space = "' \t\r\n\v\f'"
    exponent = AMOUNT.replace(_NUMBER, rf"{_NUMBER}[eE][+-]?[0-9]{{1,3}}")
    months = ", ".join(f"'{name}': '{number}'" for name, number in MONTHS.items())
    with open(source, newline="", encoding="utf-8") as file:
        names = next(csv.reader(file))
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    database = duckdb.connect(config={"threads": 1})
    database.execute("SET enable_progress_bar = false")
    # Stage by stage, so that nothing is computed twice; ``a`` and ``t`` are null where a value is canonical already.
    database.execute(rf"""
        CREATE TEMP TABLE converted AS
        WITH raw AS (
            SELECT *,
                CASE WHEN NOT regexp_full_match(amount, '{CANONICAL_AMOUNT}') THEN trim(amount, {space}) END AS a,
                CASE WHEN NOT regexp_full_match("timestamp", '{CANONICAL_TIMESTAMP}') THEN trim("timestamp", {space}) END AS t
            FROM read_csv(?, header = true, delim = ',', quote = '"', escape = '"', nullstr = '\N', auto_detect = false,
                          columns = {{{columns}}})
        ), kinds AS (
            SELECT *,
                CASE WHEN regexp_full_match(a, '{AMOUNT}') THEN 'plain' WHEN regexp_full_match(a, '{exponent}') THEN 'e'
                     END AS ka,
                CASE WHEN t[3] = '/' THEN CASE WHEN regexp_full_match(t, '{AMERICAN}') THEN '/' END
                     WHEN t[3] = '-' THEN CASE WHEN regexp_full_match(t, '{NAMED}') THEN 'b' END
                     WHEN t[5] = '-' THEN CASE WHEN regexp_full_match(t, '{ISO}') THEN
                          CASE WHEN regexp_matches(substr(t, 12), '[+-]') THEN 'offset' ELSE 'iso' END END
                     WHEN regexp_full_match(t, '{EPOCH}') THEN CASE WHEN length(t) < 12 THEN 's' ELSE 'ms' END END AS kt
            FROM raw
        ), parts AS (
            SELECT *,
                CASE ka WHEN 'plain' THEN regexp_replace(a, '[^0-9.]', '', 'g')
                        WHEN 'e' THEN regexp_replace(split_part(lower(a), 'e', 1), '[^0-9.]', '', 'g') END AS digits,
                CASE ka WHEN 'e' THEN regexp_extract(a, '[eE]([+-]?[0-9]+)', 1)::INT END AS e,
                CASE WHEN ka IS NOT NULL THEN a[1] = '(' OR a[1] = '-' OR a[2] = '-' END AS negative,
                CASE kt WHEN '/' THEN substr(t, 7, 4) || '-' || substr(t, 1, 2) || '-' || substr(t, 4, 2)
                        WHEN 'b' THEN substr(t, 8, 4) || '-' || coalesce(MAP {{{months}}}[lower(substr(t, 4, 3))], '00')
                             || '-' || substr(t, 1, 2)
                        WHEN 'iso' THEN substr(t, 1, 10) WHEN 'offset' THEN substr(t, 1, 10) END AS day,
                CASE kt WHEN '/' THEN substr(t, 12) WHEN 'b' THEN substr(t, 13) WHEN 'iso' THEN rtrim(substr(t, 12), 'Z')
                        WHEN 'offset' THEN regexp_extract(t, '.{{11}}([0-9:]+)', 1) END AS clock,
                CASE kt WHEN 'offset' THEN regexp_extract(t, '[+-][0-9:]*$') END AS shift,
                CASE kt WHEN 'offset' THEN regexp_extract(t, '[.][0-9]+') WHEN 's' THEN '' WHEN 'ms' THEN '.' || right(t, 3)
                        END AS fraction
            FROM kinds
        ), apart AS (
            SELECT *, split_part(digits, '.', 1) AS w, split_part(digits, '.', 2) AS f,
                CASE length(clock) WHEN 0 THEN '00:00:00' WHEN 5 THEN clock || ':00' ELSE clock END AS full_clock,
                CASE WHEN shift IS NOT NULL THEN (shift[1] || '1')::INT
                    * (substr(shift, 2, 2)::INT * 60 + coalesce(try_cast(ltrim(substr(shift, 4), ':') AS INT), 0)) END
                    AS shift_minutes
            FROM parts
        ), pointed AS (
            SELECT *,
                CASE WHEN e IS NULL THEN ltrim(w, '0')
                     WHEN e >= 0 THEN ltrim(w || rpad(substr(f, 1, e), e, '0'), '0')
                     WHEN length(w) > -e THEN ltrim(substr(w, 1, length(w) + e), '0') ELSE '' END AS whole,
                CASE WHEN e IS NULL THEN f WHEN e >= 0 THEN substr(f, e + 1)
                     ELSE lpad(substr(w, greatest(length(w) + e, 0) + 1), -e, '0') || f END AS places,
                CASE kt WHEN 'offset' THEN try_cast(day || ' ' || full_clock AS TIMESTAMP) - to_minutes(shift_minutes)
                        WHEN 's' THEN make_timestamp(t::BIGINT * 1000000)
                        WHEN 'ms' THEN make_timestamp(substr(t, 1, length(t) - 3)::BIGINT * 1000000) END AS moment
            FROM apart
        ), done AS (
            SELECT *,
                CASE WHEN a IS NULL THEN amount
                     WHEN length(whole) > 18 OR abs(e) > 30 THEN NULL
                     ELSE CASE WHEN negative AND (whole <> '' OR ltrim(places, '0') <> '') THEN '-' ELSE '' END
                          || CASE whole WHEN '' THEN '0' ELSE whole END || '.'
                          || CASE WHEN length(places) < 2 THEN rpad(places, 2, '0') ELSE places END END AS new_amount,
                CASE WHEN t IS NULL THEN "timestamp"
                     WHEN year(moment) BETWEEN 1 AND 9999 THEN strftime(moment, '%Y-%m-%dT%H:%M:%S') || fraction || 'Z'
                     WHEN shift IS NULL AND try_cast(day AS DATE) IS NOT NULL THEN day || 'T' || full_clock || 'Z'
                     END AS new_timestamp
            FROM pointed
        )
        SELECT {", ".join(f'"{name}"' for name in names)}, new_amount, new_timestamp,
            CASE WHEN trim(transaction_id, {space}) = '' THEN 'transaction_id is blank'
                 WHEN trim(customer_id, {space}) = '' THEN 'customer_id is blank'
                 WHEN new_amount IS NULL THEN 'amount ''' || amount || ''' is not an amount'
                 WHEN new_timestamp IS NULL THEN 'timestamp ''' || "timestamp" || ''' is not a timestamp' END AS reason
        FROM done""", [source])
    database.execute(f"""
        COPY (SELECT * EXCLUDE (new_amount, new_timestamp, reason) REPLACE (new_amount AS amount, new_timestamp AS "timestamp")
              FROM converted WHERE reason IS NULL) TO '{accepted}' (HEADER)""")
    database.execute(
        f"COPY (SELECT * EXCLUDE (new_amount, new_timestamp) FROM converted WHERE reason IS NOT NULL) TO '{rejects}' (HEADER)")


# --- pandas ----------------------------------------------------------------------------------------------------------


def with_pandas(source: str, accepted: str, rejects: str) -> None:
    import pandas as pd
    import pyarrow

    pyarrow.set_cpu_count(1)  # reads for pandas, and holds its text

    def converted(values: pd.Series, canonical: str, convert) -> pd.Series:
        """The values, each in canonical form or null; ``convert`` gives the series of those that are not, form by form."""
        regular = values.str.fullmatch(canonical)
        if regular.all():
            return values
        other = values[~regular].str.strip(SPACE)
        return pd.concat([values[regular], *convert(other)]).reindex(values.index)

    def amounts(text: pd.Series):
        plain = text.str.fullmatch(AMOUNT)
        rest = text[~plain]
        yield pd.Series([amount(each) for each in rest], rest.index, "str")
        text = text[plain]
        negative = text.str.startswith("(") | text.str.contains("-", regex=False)
        digits = text.str.strip(f"$()+-{SPACE}").str.replace(",", "", regex=False).str.lstrip("0")
        point = digits.str.find(".")
        places = (digits.str.len() - 1 - point).where(point >= 0, -1)
        digits = digits.where((point != 0) & (digits != ""), "0" + digits)
        for missing, added in ((-1, ".00"), (0, "00"), (1, "0")):
            digits = digits.where(places != missing, digits + added)
        digits = digits.where(digits.str.find(".") <= 18)
        yield digits.where(~(negative & (digits.str.strip("0.") != "")), "-" + digits)

    def dated(day: pd.Series, clock: pd.Series) -> pd.Series:
        clock = clock.where(clock != "", "00:00:00")
        clock = clock.where(clock.str.len() != 5, clock + ":00")
        known = pd.Series(day.unique(), dtype="str")  # a few thousand days, again and again
        valid = known[pd.to_datetime(known, format="%Y-%m-%d", errors="coerce").notna()]
        return (day + "T" + clock + "Z").where(day.isin(valid))

    def timestamps(text: pd.Series):
        american, named, number = text.str.fullmatch(AMERICAN), text.str.fullmatch(NAMED), text.str.fullmatch(EPOCH)
        iso = ~(american | named | number) & text.str.fullmatch(ISO)
        each = text[american]
        yield dated(each.str[6:10] + "-" + each.str[0:2] + "-" + each.str[3:5], each.str[11:])
        each = text[named]
        month = each.str[3:6].str.lower().map(MONTHS).astype("str").fillna("00")
        yield dated(each.str[7:11] + "-" + month + "-" + each.str[0:2], each.str[12:])
        each = text[number]
        short = each.str.len() < 12
        seconds = pd.to_datetime(each.where(short, each.str[:-3]).astype("int64"), unit="s")
        yield written(seconds) + ("." + each.str[-3:]).where(~short, "") + "Z"
        offset = iso & text.str[11:].str.contains("[+-]")
        each = text[iso & ~offset]
        yield dated(each.str[:10], each.str[11:].str.rstrip("Z"))
        each = text[offset]
        shift = each.str.extract(r"([+-][0-9:]+)$", expand=False)
        minutes = shift.map({one: _minutes(one) for one in shift.unique()})
        clock = each.str[11:19].where(~each.str[16:17].isin(("+", "-")), each.str[11:16] + ":00")
        local = pd.to_datetime(each.str[:10] + "T" + clock, format="%Y-%m-%dT%H:%M:%S", errors="coerce")
        fraction = each.str.extract(r"(\.[0-9]+)", expand=False).fillna("")
        yield written(local - pd.to_timedelta(minutes, unit="min")) + fraction + "Z"
        each = text[~(american | named | number | iso)]
        yield pd.Series(None, each.index, "str")

    def written(moments: pd.Series) -> pd.Series:
        """As strftime, but faster; null where a moment is."""
        return moments.dt.as_unit("s").astype("str").str.replace(" ", "T", regex=False).where(moments.notna())

    frame = pd.read_csv(source, dtype="str", keep_default_na=False, engine="pyarrow")
    new = frame.assign(amount=converted(frame["amount"], CANONICAL_AMOUNT, amounts),
                       timestamp=converted(frame["timestamp"], CANONICAL_TIMESTAMP, timestamps))
    blank = [frame[name].str.strip(SPACE) == "" for name in ("transaction_id", "customer_id")]
    bad = blank[0] | blank[1] | new["amount"].isna() | new["timestamp"].isna()
    if bad.any():
        rejected = frame[bad]
        reason = "timestamp '" + rejected["timestamp"] + "' is not a timestamp"
        reason = reason.mask(new["amount"][bad].isna(), "amount '" + rejected["amount"] + "' is not an amount")
        reason = reason.mask(blank[1][bad], "customer_id is blank").mask(blank[0][bad], "transaction_id is blank")
        rejected.assign(reason=reason).to_csv(rejects, index=False)
        new = new[~bad]
    new.to_csv(accepted, index=False)


def with_pandas_map(source: str, accepted: str, rejects: str) -> None:
    """pandas as it is mostly written, for comparison: whole columns read and written, but converted value by value."""
    import pandas as pd

    frame = pd.read_csv(source, dtype="str", keep_default_na=False)
    new = frame.assign(amount=frame["amount"].map(amount), timestamp=frame["timestamp"].map(timestamp))
    blank = [frame[name].str.strip(SPACE) == "" for name in ("transaction_id", "customer_id")]
    bad = blank[0] | blank[1] | new["amount"].isna() | new["timestamp"].isna()
    rejected = frame[bad]
    reason = "timestamp '" + rejected["timestamp"] + "' is not a timestamp"
    reason = reason.mask(new["amount"][bad].isna(), "amount '" + rejected["amount"] + "' is not an amount")
    reason = reason.mask(blank[1][bad], "customer_id is blank").mask(blank[0][bad], "transaction_id is blank")
    rejected.assign(reason=reason).to_csv(rejects, index=False)
    new[~bad].to_csv(accepted, index=False)


def _minutes(offset: str) -> int:
    """``-0530`` with or without colon and minutes."""
    minutes = int(offset[1:3]) * 60 + int(offset[3:].lstrip(":") or 0)
    return -minutes if offset[0] == "-" else minutes


# --- pyarrow ---------------------------------------------------------------------------------------------------------


def with_pyarrow(source: str, accepted: str, rejects: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as arrow_csv

    pa.set_cpu_count(1)
    part = pc.utf8_slice_codeunits

    def whole(values: pa.Array, pattern: str) -> pa.Array:
        return pc.match_substring_regex(values, f"^(?:{pattern})$")

    def joined(*texts: pa.Array | str) -> pa.Array:
        return pc.binary_join_element_wise(*texts, "")

    def filled(length: int, *parts: tuple[pa.Array, pa.Array]) -> pa.Array:
        """One array out of some, each with the mask of its places; null elsewhere."""
        result = pa.nulls(length, pa.string())
        for mask, values in parts:
            result = pc.replace_with_mask(result, mask, values)
        return result

    def converted(values: pa.Array, canonical: str, convert) -> pa.Array:
        """The values, each in canonical form or null; ``convert`` does so for those that are not."""
        other = pc.invert(whole(values, canonical))
        if not pc.any(other).as_py():
            return values
        return pc.replace_with_mask(values, other, convert(pc.utf8_trim(pc.filter(values, other), SPACE)))

    def amounts(text: pa.Array) -> pa.Array:
        plain = whole(text, AMOUNT)
        rest = pa.array([amount(each) for each in pc.filter(text, pc.invert(plain)).to_pylist()], pa.string())
        some = pc.filter(text, plain)
        negative = pc.or_(pc.starts_with(some, "("), pc.match_substring(some, "-"))
        digits = pc.utf8_ltrim(pc.replace_substring(pc.utf8_trim(some, f"$()+-{SPACE}"), ",", ""), "0")
        point, length = pc.find_substring(digits, "."), pc.binary_length(digits)
        without = pc.less(point, 0)
        places = pc.if_else(without, 0, pc.min_element_wise(pc.subtract(length, point), 3))  # and the point itself
        leading = pc.if_else(pc.less(pc.if_else(without, length, point), 1), "0", "")
        digits = joined(leading, digits, pc.choose(places, ".00", "00", "0", ""))
        minus = pc.if_else(pc.and_(negative, pc.not_equal(pc.utf8_trim(digits, "0."), "")), "-", "")
        done = pc.if_else(pc.less_equal(pc.find_substring(digits, "."), 18), joined(minus, digits), None)
        return filled(len(text), (plain, done), (pc.invert(plain), rest))

    def dated(day: pa.Array, clock: pa.Array) -> pa.Array:
        length = pc.binary_length(clock)
        clock = joined(clock, pc.if_else(pc.equal(length, 0), "00:00:00", pc.if_else(pc.equal(length, 5), ":00", "")))
        known = day.dictionary_encode()  # a few thousand days, again and again
        again = pc.strftime(pc.strptime(known.dictionary, "%Y-%m-%d", "s", error_is_null=True), "%Y-%m-%d")
        valid = pc.fill_null(pc.equal(again, known.dictionary), False)  # strptime takes February 30th
        return pc.if_else(pc.take(valid, known.indices), joined(day, "T", clock, "Z"), None)

    def written(moments: pa.Array) -> pa.Array:
        return pc.replace_substring(pc.cast(moments, pa.string()), " ", "T")

    def timestamps(text: pa.Array) -> pa.Array:
        american, named, number, iso = (whole(text, form) for form in (AMERICAN, NAMED, EPOCH, ISO))
        offset = pc.and_(iso, pc.match_substring_regex(text, "^.{11}.*[+-]"))
        iso = pc.and_(iso, pc.invert(offset))
        each = pc.filter(text, american)
        of_american = dated(joined(part(each, 6, 10), "-", part(each, 0, 2), "-", part(each, 3, 5)), part(each, 11))
        each = pc.filter(text, named)
        names, numbers = pa.array(MONTHS), pa.array(MONTHS.values())
        month = pc.fill_null(pc.take(numbers, pc.index_in(pc.utf8_lower(part(each, 3, 6)), names)), "00")
        of_named = dated(joined(part(each, 7, 11), "-", month, "-", part(each, 0, 2)), part(each, 12))
        each = pc.filter(text, number)
        short = pc.less(pc.binary_length(each), 12)
        seconds = pc.cast(pc.cast(pc.if_else(short, each, part(each, 0, -3)), pa.int64()), pa.timestamp("s"))
        of_number = joined(written(seconds), pc.if_else(short, "Z", joined(".", part(each, -3), "Z")))
        each = pc.filter(text, iso)
        of_iso = dated(part(each, 0, 10), pc.utf8_rtrim(part(each, 11), "Z"))
        each = pc.filter(text, offset)
        groups = pc.extract_regex(each, r"^(?P<day>.{10}).(?P<clock>[0-9:]{5,8})(?P<fraction>\.[0-9]+)?(?P<shift>[+-][0-9:]+)$")
        day, clock, fraction, shift = (pc.struct_field(groups, name) for name in ("day", "clock", "fraction", "shift"))
        shift = shift.dictionary_encode()
        minutes = pc.take(pa.array([_minutes(one) for one in shift.dictionary.to_pylist()], pa.int64()), shift.indices)
        local = pc.strptime(pc.utf8_rtrim(dated(day, clock), "Z"), "%Y-%m-%dT%H:%M:%S", "s", error_is_null=True)
        moment = pc.subtract(local, pc.cast(pc.multiply(minutes, 60), pa.duration("s")))
        of_offset = joined(written(moment), fraction, "Z")
        return filled(
            len(text), (american, of_american), (named, of_named), (number, of_number), (iso, of_iso), (offset, of_offset))

    with open(source, newline="", encoding="utf-8") as file:
        names = next(csv.reader(file))
    reader = arrow_csv.open_csv(
        source, read_options=arrow_csv.ReadOptions(use_threads=False, block_size=8 << 20),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False))
    schema = pa.schema([(name, pa.string()) for name in names])
    with (
        arrow_csv.CSVWriter(accepted, schema) as output,
        arrow_csv.CSVWriter(rejects, schema.append(pa.field("reason", pa.string()))) as rejected,
    ):
        for batch in reader:
            new = {"amount": converted(batch["amount"], CANONICAL_AMOUNT, amounts),
                   "timestamp": converted(batch["timestamp"], CANONICAL_TIMESTAMP, timestamps)}
            blank = [pc.equal(pc.utf8_trim(batch[name], SPACE), "") for name in ("transaction_id", "customer_id")]
            bad = pc.or_(pc.or_(*blank), pc.or_(pc.is_null(new["amount"]), pc.is_null(new["timestamp"])))
            done = pa.record_batch([new.get(name, batch[name]) for name in names], schema=schema)
            if pc.any(bad).as_py():
                reason = pc.case_when(
                    pc.make_struct(*blank, pc.is_null(new["amount"])), "transaction_id is blank", "customer_id is blank",
                    joined("amount '", batch["amount"], "' is not an amount"),
                    joined("timestamp '", batch["timestamp"], "' is not a timestamp"))
                rejected.write_batch(batch.append_column("reason", reason).filter(bad))
                done = done.filter(pc.invert(bad))
            output.write_batch(done)


PEERS = {
    "dictreader": with_dictreader, "pandas": with_pandas, "pandas-map": with_pandas_map, "polars": with_polars,
    "duckdb": with_duckdb, "pyarrow": with_pyarrow,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](*sys.argv[2:])
    print(peak())
