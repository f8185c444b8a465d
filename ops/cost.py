"""What the pipelines cost: a model of counts, measured CPU time and published prices (`ops/cost.toml`). us-east-1, US dollars.

    model = load()
    etl_file(model, 10**9, "messy").total        # dollars for a file of one gigabyte
    print(page())                                # every table, as Markdown

Counted: Lambda (time, requests, ephemeral storage), state transitions, requests to S3, writes to DynamoDB. Left out, since they
depend on your settings and are small beside these: storage, logs, traces, notices, the ETL's sweeps (96 a day). No free tier.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("cost.toml")

MIB, GIB = 1 << 20, 1 << 30
GB = 10**9
BLOCK_BYTES = 8 * MIB
"""Of a file, read or written with one request (lambdas/etl/storage.py)."""
MIN_RANGE_BYTES, MAX_RANGES, LOOK_AHEAD_BYTES = 64 * MIB, 400, MIB
"""How a large file is cut (lambdas/etl/ranges.py, rows.py)."""
LAMBDA_TIMEOUT_SECONDS, LAMBDA_MOST_MB = 900, 10_240
GLUE_CORES_PER_DPU, GLUE_LEAST_DPU, GLUE_LEAST_SECONDS = 4, 2, 60


@dataclass(frozen=True)
class Price:
    """Dollars for one unit; where it was read, and when."""

    title: str
    usd: float
    source: str
    said_by: str
    read: date


@dataclass(frozen=True)
class Model:
    """`cost.toml`."""

    prices: Mapping[str, Price]
    measured: Mapping[str, Any]
    stack: Mapping[str, Any]
    assumed: Mapping[str, float]

    def usd(self, name: str, count: float = 1) -> float:
        return self.prices[name].usd * count

    def rows_seconds(self, who: str, kind: str, size: int) -> float:
        """CPU seconds of Lambda's that the rows of a file of this size take."""
        rows = size / self.measured["bytes_per_row"]
        return rows * self.measured[f"{who}_microseconds"][kind] / 1e6 / self.assumed["lambda_speed"]


@dataclass(frozen=True)
class Cost:
    """Dollars by what they are for."""

    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def load(path: Path = TABLE) -> Model:
    """The checked-in prices and figures, or others of that form."""
    with path.open("rb") as file:
        read = tomllib.load(file)
    prices = {name: Price(**price) for name, price in read["prices"].items()}
    return Model(prices, read["measured"], read["stack"], read["assumed"])


# --- a file through the ETL ------------------------------------------------------------------------------------------


def ranges(model: Model, size: int) -> int:
    """In how many ranges a file of this size is converted; 0 is one piece."""
    if size <= model.stack["fan_out_bytes"]:
        return 0
    return min(MAX_RANGES, size // MIN_RANGE_BYTES)


def etl_file(model: Model, size: int, kind: str) -> Cost:
    """One file of this many bytes without rejects, ``clean`` or ``messy``, uploaded, converted and published."""
    count = ranges(model, size)
    if count:
        transitions = model.stack["large_transitions"] + count
        conversions = count + 2  # plan and complete
        blocks = count * math.ceil((size / count + LOOK_AHEAD_BYTES) / BLOCK_BYTES)
        gets = 1 + count + blocks + count  # header, cuts, blocks, each range's header
        puts = 2 + count  # the upload is begun, filled and completed
    else:
        transitions = model.stack["small_transitions"]
        conversions = 1
        gets = 1 + math.ceil(size / BLOCK_BYTES)
        puts = 1 if size <= BLOCK_BYTES else 2 + math.ceil(size / BLOCK_BYTES)
    validations = 2  # the claim, and the look at the header
    waiting = model.assumed["billed_seconds_per_invocation"]
    io_seconds = size / GIB * model.measured["io_cpu_seconds_per_gib"] / model.assumed["lambda_speed"]
    seconds = model.rows_seconds("etl", kind, size) + io_seconds + conversions * waiting
    storage_gb = (model.stack["ephemeral_storage_mb"] - 512) / 1024
    return Cost({
        "Lambda, time": model.usd("lambda_gb_second", seconds * model.stack["transformation_memory_mb"] / 1024
                                  + validations * waiting * model.stack["validation_memory_mb"] / 1024),
        "Lambda, ephemeral storage": model.usd("lambda_storage_gb_second", seconds * storage_gb),
        "Lambda, requests": model.usd("lambda_request", validations + conversions),
        "state transitions": model.usd("transition", transitions),
        # Beside the above: validation reads the head; publishing and removing look twice at what is there, and list once.
        "S3 requests": model.usd("s3_get", gets + 3) + model.usd("s3_put", puts + 1),
        "DynamoDB writes": model.usd("dynamodb_write", 5),  # the record twice; in its index once, then out and in again
    })


# --- what else it could run on ---------------------------------------------------------------------------------------


def glue_file(model: Model, size: int, kind: str, like: str) -> float:
    """A Glue job for this file, if Spark takes the CPU time a row of the library ``like`` (``polars``, ``pandas``): we have not
    measured it. Two DPUs for one minute at least; beyond that, all cores always busy, and starting free."""
    seconds = model.rows_seconds(like, kind, size) / GLUE_CORES_PER_DPU
    return model.usd("dpu_hour", max(seconds, GLUE_LEAST_DPU * GLUE_LEAST_SECONDS) / 3600)


def pandas_file(model: Model, size: int, kind: str) -> float | None:
    """One Lambda function with pandas that holds the whole file, on one core; None if memory or time do not suffice."""
    memory_mb = max(model.stack["transformation_memory_mb"], size * (1 + model.measured["pandas_peak_per_byte"]) / MIB)
    seconds = model.rows_seconds("pandas", kind, size) + model.assumed["billed_seconds_per_invocation"]
    if memory_mb > LAMBDA_MOST_MB or seconds > LAMBDA_TIMEOUT_SECONDS:
        return None
    return model.usd("lambda_gb_second", seconds * memory_mb / 1024) + model.usd("lambda_request")


# --- a month without a file ------------------------------------------------------------------------------------------


def idle_month(model: Model, system: str, *, standby: bool = False) -> Cost:
    """``etl`` or ``metadata`` (its collection with or without ``standby`` replicas), deployed and unused."""
    parts = {
        "alarms": model.usd("alarm_metric", model.stack["alarm_metrics"][system]),
        "dashboard": model.usd("dashboard", model.stack["dashboards"][system]),
        "key of the topic": model.usd("kms_key", model.stack["kms_keys"][system]),
    }
    if system == "metadata":
        units = (0.5 + 0.5) * (2 if standby else 1)  # indexing and searching, after it has scaled down
        parts["OpenSearch Serverless"] = model.usd("ocu_hour", units * model.assumed["hours_per_month"])
    return Cost(parts)


# --- tables ----------------------------------------------------------------------------------------------------------

FILES: Sequence[tuple[str, int]] = (("100 kB", GB // 10_000), ("1 GB", GB), ("10 GB", 10 * GB), ("1 TB", 1000 * GB))


def page() -> str:
    """Every table, as Markdown."""
    model = load()
    sections = {
        "A file": files_table(model), "A messy file of 1 GB, by what is paid for": parts_table(etl_file(model, GB, "messy")),
        "An idle month": idle_table(model), "Prices": prices_table(model),
    }
    return "\n".join(f"## {title}\n\n{table}" for title, table in sections.items())


def files_table(model: Model) -> str:
    """What one file costs, here and elsewhere."""
    def row(name: str, size: int, kind: str) -> list[str]:
        alone = pandas_file(model, size, kind)
        glue = dict.fromkeys(dollars(glue_file(model, size, kind, like)) for like in ("polars", "pandas"))
        return [name, kind, str(ranges(model, size) or "one piece"), dollars(etl_file(model, size, kind).total),
                " to ".join(glue), dollars(alone) if alone is not None else "does not fit"]

    rows = [row(name, size, kind) for name, size in FILES for kind in ("clean", "messy")]
    return _table(("File", "kind", "ranges", "this ETL", "Glue, if as fast as polars to pandas", "one Lambda with pandas"), rows)


def parts_table(cost: Cost) -> str:
    return _table(("For", "$"), [[name, dollars(usd)] for name, usd in (*cost.parts.items(), ("together", cost.total))])


def idle_table(model: Model) -> str:
    """A month in which nothing happens."""
    costs = {
        "ETL": idle_month(model, "etl"),
        "metadata, without standby replicas": idle_month(model, "metadata"),
        "metadata, with standby replicas": idle_month(model, "metadata", standby=True),
    }
    names = list(costs["metadata, with standby replicas"].parts)
    return _table(("Pipeline", *names, "together"), [
        [system, *(f"${cost.parts.get(name, 0):.2f}" for name in names), f"${cost.total:.2f}"] for system, cost in costs.items()])


def prices_table(model: Model) -> str:
    """Each price with its source."""
    return _table(("What", "$", "AWS's page", "read on", "when"), [
        [each.title, f"{each.usd:.10f}".rstrip("0").rstrip("."), each.source, _said_by(each), each.read.isoformat()]
        for each in model.prices.values()])


def _said_by(price: Price) -> str:
    return "that page" if price.said_by.startswith("AWS") else f"**not there**, but {price.said_by}"


def dollars(usd: float) -> str:
    """Two significant digits below a dollar."""
    if usd >= 1:
        return f"${usd:,.2f}"
    digits = 1 - math.floor(math.log10(usd)) if usd else 2
    return f"${usd:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))
