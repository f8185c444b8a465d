"""The reference producer: sends files to the active region. What every producer should do, in a few lines to copy or to import.

* It reads the parameter of *both* regions and believes the higher epoch; a region that is silent does not count.
* It keeps what it has read for some seconds, and never believes a lower epoch than it has seen.
* If the active region takes no file, it reads again, and sends to the other region only if the parameters now say so: whether a
  region is given up is the operators' decision, not each producer's.
* It never writes to both. (A file whose answer was lost may have arrived all the same; the records' keys come from their content,
  so the second copy changes nothing.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lambdas.ingestion import contract
from ops import active
from ops.regions import NoAnswer, OpsError, Refused, Region

MAX_BYTES = 5 * 1024**3
"""What S3 takes in one request."""


class NotSent(OpsError):
    """The file is in no bucket, as far as is known. Sending it again does no harm."""


@dataclass(frozen=True)
class Sent:
    """Where a file is now."""

    region: str
    bucket: str
    key: str
    version_id: str
    epoch: int


class Producer:
    """Sends files to whichever region is active."""

    def __init__(
        self, regions: Mapping[str, Region], *, keep_seconds: float = 30, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``keep_seconds``: for so long the active region is not asked for again."""
        self._regions = regions
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._known: active.Active | None = None
        self._read_at = 0.0

    def active(self, *, fresh: bool = False) -> active.Active:
        """The active region. Raises active.Undecided if the parameters do not say, and nothing was known before."""
        if self._known and not fresh and self._clock() - self._read_at < self._keep_seconds:
            return self._known
        try:
            found = active.believed(active.read_all(self._regions).values())
        except active.Undecided:
            if not self._known:
                raise
            found = self._known
        if not self._known or found.epoch > self._known.epoch:
            self._known = found
        self._read_at = self._clock()
        return self._known

    def send(self, source: Path | bytes, key: str) -> Sent:
        """Store a file of at most 5 GiB, ``.json`` or ``.csv``, under ``key`` in the active region's bucket.

        Raises NotSent, active.Undecided, OSError.
        """
        if not key.endswith(contract.SUFFIXES):
            raise NotSent(f"{key}: nothing would process it.\nRemedy: a name that ends in {' or '.join(contract.SUFFIXES)}.")
        if isinstance(source, Path) and source.stat().st_size > MAX_BYTES:
            raise NotSent(f"{source} is larger than 5 GiB, what S3 takes in one request.\nRemedy: send it in parts.")
        chosen = self.active()
        try:
            return self._put(chosen, source, key)
        except (NoAnswer, Refused) as error:
            now = self.active(fresh=True)
            if now.region == chosen.region:
                raise NotSent(
                    f"{error}\nThe parameters still name {now}, so it goes nowhere else.\n"
                    "Remedy: send it again later. If that region is lost: python -m ops failover."
                ) from error
        try:
            return self._put(now, source, key)
        except (NoAnswer, Refused) as error:
            raise NotSent(f"{error}\nRemedy: send it again later.") from error

    def _put(self, where: active.Active, source: Path | bytes, key: str) -> Sent:
        region = self._regions[where.region]
        if isinstance(source, bytes):
            answer = region.ask("s3", "put_object", Bucket=region.bucket, Key=key, Body=source)
        else:
            with source.open("rb") as body:
                answer = region.ask("s3", "put_object", Bucket=region.bucket, Key=key, Body=body)
        return Sent(where.region, region.bucket, key, answer.get("VersionId", ""), where.epoch)
