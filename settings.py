"""Typed, validated settings of every stack (C5a).

Later wins: the defaults below, the ``context`` of ``cdktf.json``, environment variables. A context key is the name of a
field; an environment variable is the same name in capitals, save for the few listed in ``ENVIRONMENT_NAMES``. Lists are
written with commas (``ETL_ALERT_EMAILS=a@example.com,b@example.com``). An empty variable counts as unset.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

ENVIRONMENT_NAMES = {
    "state_bucket": "TERRAFORM_STATE_BUCKET",
    "state_bucket_region": "TERRAFORM_STATE_BUCKET_REGION",
    "state_lock_table": "TERRAFORM_STATE_LOCK_TABLE",
}

# What the CDKTF command line itself puts into the context of cdktf.json.
CDKTF_FLAGS = frozenset({"excludeStackIdFromLogicalIds", "allowSepCharsInLogicalIds"})

PET_REGION = "us-east-1"
"""Where the pet detector stands (C5c)."""

INGESTION_REGIONS = ("us-east-1", "us-west-2")
"""Of the regional ingestion: active, and ready to take over (section R)."""

OWN_TAGS = ("Environment", "Project", "Owner")

ENVIRONMENT_TITLES = {"prod": "Production", "staging": "Staging", "dev": "Development"}


class SettingsError(ValueError):
    """One message that lists every fault, each with the name of its source and what was expected."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("These settings are wrong:\n" + "\n".join(f"  - {fault}" for fault in self.faults))


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _flat_tags(value: Any) -> Any:
    """Tags come as a flat mapping or as ``{"tags": {…}}``, the shape of Terraform's own ``default_tags`` block (C5b)."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("must be a JSON object of strings") from None
    if isinstance(value, Mapping) and set(value) == {"tags"} and isinstance(value["tags"], Mapping):
        value = value["tags"]
    return {} if value is None else value


def _distinct_tags(tags: dict[str, str]) -> dict[str, str]:
    """IAM refuses keys that differ only in case, and AWS those that begin with ``aws:``: better before than half-way."""
    known = {name.casefold(): name for name in OWN_TAGS}
    for key in tags:
        if key.casefold().startswith("aws:"):
            raise ValueError(f"{key!r}: keys that begin with aws: are AWS's own")
        if known.setdefault(key.casefold(), key) != key:
            raise ValueError(f"{key!r} differs from {known[key.casefold()]!r} in case only")
    return tags


SUFFIX = r"^[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?$"
REGION = r"^[a-z]{2}(-[a-z]+)+-\d$"
BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
TABLE = r"^[A-Za-z0-9_.-]{3,255}$"
EMAIL = r"^[^@\s,]+@[^@\s,]+\.[^@\s,]+$"
TAG = r"^[\w +\-=.:/@]*$"
ORIGIN = r"^(\*|https?://[A-Za-z0-9.-]+(:\d{1,5})?)$"
DOMAIN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$"
CERTIFICATE = r"^arn:aws:acm:us-east-1:\d{12}:certificate/[\w-]+$"
INDEX = r"^[a-z0-9][a-z0-9._-]{0,127}$"
# What OpenSearch Serverless takes for a principal, as its refusals tell; root is the root user alone, not the account.
PRINCIPAL = (
    r"^arn:aws(-cn|-us-gov)?:(iam::\d{12}:(root|(role|user)(/[A-Za-z0-9_+=.@-]+)*/[A-Za-z0-9_+=.@-]{1,64})"
    r"|sts::\d{12}:assumed-role/[A-Za-z0-9_+=.@-]{1,64}/[A-Za-z0-9_+=.@-]{2,64})$"
)
PATTERNS = {
    SUFFIX: "must be 1 to 16 small letters, digits and inner hyphens",
    REGION: "must be an AWS region, such as us-east-1",
    BUCKET: "must be a bucket name: 3 to 63 small letters, digits, dots and hyphens",
    TABLE: "must be a table name: 3 to 255 letters, digits, _, . and -",
    EMAIL: "must be e-mail addresses with commas between them",
    f"^{PET_REGION}$": f"must be {PET_REGION}: the pet detector and the table of the ingestion stand there",
    ORIGIN: "must be the origin of web pages, such as https://pets.example.com, or *",
    DOMAIN: "must be a domain name in small letters, such as api.example.com",
    CERTIFICATE: "must be the ARN of a certificate in us-east-1",
    INDEX: "must be an index name: 1 to 128 small letters, digits, dots, _ and -, beginning with a letter or a digit",
    PRINCIPAL: "must be ARNs of IAM roles or users with commas between them, without wildcards",
    TAG: "must be letters, digits, spaces and + - = . : / @ _, as AWS allows in tags",
}
"""What to say of a value that does not match."""

Region = Annotated[str, Field(pattern=REGION)]
BucketName = Annotated[str, Field(pattern=BUCKET)]
Email = Annotated[str, Field(pattern=EMAIL)]
Emails = Annotated[tuple[Email, ...], BeforeValidator(_split)]
Principal = Annotated[str, Field(pattern=PRINCIPAL)]
Principals = Annotated[tuple[Principal, ...], BeforeValidator(_split)]
TagKey = Annotated[str, Field(min_length=1, max_length=128, pattern=TAG)]
TagValue = Annotated[str, Field(max_length=256, pattern=TAG)]
Tags = Annotated[dict[TagKey, TagValue], BeforeValidator(_flat_tags), AfterValidator(_distinct_tags)]
LogRetentionDays = Annotated[int, Field(description="days; one of the values CloudWatch Logs accepts")]

LOG_RETENTION_CHOICES = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)


class CommonSettings(BaseModel):
    """What every stack knows: where it stands, what it is called, who owns it and where its state lives."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    not_for_all: ClassVar[frozenset[str]] = frozenset()
    """Settings of the whole app that this stack does not follow."""

    environment_suffix: str = Field("prod", pattern=SUFFIX)
    """``prod`` carries the fixed names; any other suffix is appended to them (C5c)."""
    aws_region: Region = "us-east-1"
    state_bucket: BucketName = "iac-rlhf-tf-states"
    """Bucket of the Terraform state (C3). Bucket names are global: choose your own."""
    state_bucket_region: Region = "us-east-1"
    state_lock_table: Annotated[str, Field(pattern=TABLE)] = "iac-rlhf-tf-locks"
    default_tags: Tags = {}
    """Tags added to every resource, on top of Environment, Project and Owner (C6)."""
    owner: Annotated[TagValue, Field(min_length=1)] = "data-platform"
    retain_data: bool | None = None
    """True protects buckets and tables on destroy. Default: true for ``prod``, false elsewhere (C12)."""
    log_retention_days: LogRetentionDays = 90
    s3_use_path_style: bool = False
    """Address buckets as ``endpoint/bucket``: for S3 behind an endpoint that has no host name per bucket."""

    @field_validator("log_retention_days")
    @classmethod
    def _known_retention(cls, value: int) -> int:
        if value not in LOG_RETENTION_CHOICES:
            raise ValueError(f"must be one of {', '.join(map(str, LOG_RETENTION_CHOICES))}")
        return value

    @classmethod
    def of(cls, base: Self | None = None, **values: Any) -> Self:
        """``base`` with these keyword arguments over it. Raises SettingsError with every fault in one message (C5b)."""
        if base is not None:
            values = base.model_dump() | values
        try:
            return cls(**{name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            raise SettingsError(_faults(error)) from None

    @property
    def environment_title(self) -> str:
        """The value of the tag ``Environment``."""
        return ENVIRONMENT_TITLES.get(self.environment_suffix, self.environment_suffix)

    @property
    def keeps_data(self) -> bool:
        return self.environment_suffix == "prod" if self.retain_data is None else self.retain_data

    def name(self, base: str, limit: int = 64) -> str:
        """``base`` as this environment calls it, within AWS's ``limit`` of characters (C5c).

        ``prod`` keeps the base. Any other suffix replaces a trailing ``-prod`` or is appended. What is too long loses the
        end of its base to six characters of its hash, so that two long names stay two names.
        """
        if self.environment_suffix == "prod":
            stem, tail = base, ""
        else:
            stem, tail = base.removesuffix("-prod"), f"-{self.environment_suffix}"
        if len(stem) + len(tail) > limit:
            digest = hashlib.sha256(stem.encode()).hexdigest()[:6]
            stem = f"{stem[: limit - len(tail) - 7].rstrip('-')}-{digest}"
        return stem + tail


def name_of_part(base: str, part: str) -> str:
    """What belongs to ``base`` is called so: ``a-b`` has ``a-b-dlq``, ``a-b-prod`` has ``a-b-dlq-prod``."""
    stem = base.removesuffix("-prod")
    return f"{stem}-{part}{base[len(stem):]}"


class StateBackendSettings(CommonSettings):
    """The stack that holds everybody's Terraform state."""


class TapSettings(CommonSettings):
    """TapStack: the ETL pipeline and the metadata pipeline."""

    etl_bucket_name: BucketName | None = None
    """Default: ``etl-pipeline-ACCOUNT`` with the environment's suffix."""
    etl_alert_emails: Emails = ()
    etl_max_reject_ratio: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.01")
    """Rejected / read strictly above this makes a file INVALID (E5c). A fraction: 0.01 is one per cent."""
    etl_max_file_bytes: Annotated[int, Field(ge=1, le=2000 * 1024**3)] = 1024**4
    """A larger file is set aside unread: 400 ranges, each at most one part of 5 GiB, hold no more than 2,000 GiB; half of that
    leaves room for output that is longer than its input (E12)."""
    etl_fan_out_bytes: Annotated[int, Field(ge=128 * 1024**2, le=5 * 1024**3)] = 256 * 1024**2
    """A larger file is converted in ranges of bytes at the same time, if it can be cut; a smaller one in one piece (E12)."""
    etl_max_concurrency: Annotated[int, Field(ge=1, le=1000)] = 40
    """How many ranges of one file are converted at once (E12)."""
    etl_max_piece_bytes: Annotated[int, Field(ge=1)] = 5 * 1024**3
    """A larger file that cannot be cut into ranges of at most this is set aside: one invocation has 15 minutes (E12)."""
    etl_failed_retention_days: Annotated[int, Field(ge=1)] = 180
    """Days that objects stay under ``failed/`` (E1b)."""
    etl_error_rate_percent: Annotated[Decimal, Field(gt=0, le=100)] = Decimal(5)
    """A Lambda's errors / invocations over five minutes above this raises an alarm (E10). Per cent."""
    etl_validation_memory_mb: Annotated[int, Field(ge=128, le=10240)] = 512
    etl_validation_timeout_seconds: Annotated[int, Field(ge=30, le=900)] = 900
    """Time for setting aside the largest file, a server-side copy."""
    etl_validation_reserved_concurrency: Annotated[int, Field(ge=1)] | None = None
    """Unset by default: a fresh account refuses any reservation (E6)."""
    etl_transformation_memory_mb: Annotated[int, Field(ge=128, le=10240)] = 1769
    """1,769 MB is one whole vCPU."""
    etl_transformation_timeout_seconds: Annotated[int, Field(ge=30, le=900)] = 900
    etl_transformation_ephemeral_storage_mb: Annotated[int, Field(ge=512, le=10240)] = 10240
    """Holds the output of one range on its way, of at most 5 GiB (E12)."""
    etl_transformation_reserved_concurrency: Annotated[int, Field(ge=1)] | None = None

    metadata_bucket_name: BucketName | None = None
    """Default: ``iac-rlhf-aws-release`` with the environment's suffix. Bucket names are global: choose your own."""
    metadata_alert_emails: Emails = ()
    metadata_max_file_bytes: Annotated[int, Field(ge=1, le=128 * 1024)] = 100 * 1024
    """A larger ``metadata.json`` is refused unread: a state holds 256 KiB, escaped (M3a)."""
    metadata_index_name: Annotated[str, Field(pattern=INDEX)] = "release-metadata"
    metadata_dashboard_principals: Principals = ()
    """ARNs of who may use the dashboard. Default: the identity that deploys (M5a)."""
    metadata_standby_replicas: bool | None = None
    """A second availability zone for twice the idle cost. Default: true for ``prod``, false elsewhere (M5a). Changing it
    replaces the collection."""
    metadata_retention_days: Annotated[int, Field(ge=1, le=3650)] = 365
    """Days that documents stay in the collection, at least (M5a)."""
    metadata_indexing_memory_mb: Annotated[int, Field(ge=128, le=10240)] = 512
    metadata_indexing_timeout_seconds: Annotated[int, Field(ge=60, le=900)] = 240
    """An attempt makes at most five requests to the collection, each of up to 30 seconds; most make two of milliseconds."""
    metadata_indexing_reserved_concurrency: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _pieces_can_be_converted(self) -> Self:
        if self.etl_max_piece_bytes < self.etl_fan_out_bytes:
            raise ValueError("etl_max_piece_bytes must not be below etl_fan_out_bytes: files between them would be set aside")
        return self

    @property
    def metadata_has_standby_replicas(self) -> bool:
        return self.environment_suffix == "prod" if self.metadata_standby_replicas is None else self.metadata_standby_replicas


class PetSettings(CommonSettings):
    """The pet detector. Switches without a default of their own are on in ``staging`` and ``prod`` (P8a)."""

    not_for_all = frozenset({"aws_region"})

    aws_region: Annotated[str, Field(pattern=f"^{PET_REGION}$")] = PET_REGION
    """Not to be moved."""
    pet_bucket_name: BucketName | None = None
    """Default: ``serverlessapp-pet-detector`` with the environment's suffix. Bucket names are global: choose your own."""
    pet_alert_emails: Emails = ()
    pet_confidence_threshold: Annotated[Decimal, Field(ge=50, le=100)] = Decimal(80)
    """An animal recognised with less confidence is uncertain (P4). Per cent."""
    pet_max_image_bytes: Annotated[int, Field(ge=1024, le=15_000_000)] = 15_000_000
    """A larger image is refused; Rekognition takes no more from S3 (P9)."""
    pet_allowed_origin: Annotated[str, Field(pattern=ORIGIN)] = "*"
    """Origin of the pages that may use the API from a browser, such as ``https://pets.example.com`` (P1a). Every request needs
    the API key, and no cookie counts."""
    pet_domain_name: Annotated[str, Field(pattern=DOMAIN)] | None = None
    """The API answers at this name alone, from TLS 1.2 on (P9); needs ``pet_certificate_arn``."""
    pet_certificate_arn: Annotated[str, Field(pattern=CERTIFICATE)] | None = None
    """Of AWS Certificate Manager, in us-east-1."""
    pet_requests_per_second: Annotated[int, Field(ge=1, le=10_000)] = 20
    """What an API key may ask for, on average (P1a)."""
    pet_burst: Annotated[int, Field(ge=1, le=5_000)] = 40
    """What an API key may ask for at once."""
    pet_requests_per_day: Annotated[int, Field(ge=1)] = 100_000
    pet_link_seconds: Annotated[int, Field(ge=30, le=3600)] = 900
    """How long presigned uploads and downloads work (P1b)."""
    pet_input_retention_days: Annotated[int, Field(ge=1)] = 30
    """Days that images stay under ``input/`` that were refused or could not be analysed (P6)."""
    pet_image_retention_days: Annotated[int, Field(ge=1)] = 730
    """Days that images stay under ``cats/``, ``dogs/`` and ``others/`` (P6)."""
    pet_record_retention_days: Annotated[int, Field(ge=1)] = 730
    """Days that records stay in the table (P5)."""
    pet_error_rate_percent: Annotated[Decimal, Field(gt=0, le=100)] = Decimal(5)
    """A Lambda's errors / invocations over five minutes above this raises an alarm (P7). Per cent."""
    pet_latency_alarm_ms: Annotated[int, Field(ge=100, le=29_000)] = 3000
    """An API slower than this for one request in twenty raises an alarm (P7)."""
    pet_refused_alarm: Annotated[int, Field(ge=1)] = 100
    """More requests refused as unauthorised (401, 403) in five minutes raise an alarm (P7)."""
    pet_blocked_alarm: Annotated[int, Field(ge=1)] = 100
    """More requests blocked by the firewall in five minutes raise an alarm (P7)."""
    pet_monthly_budget_usd: Annotated[Decimal, Field(gt=0)] = Decimal(50)
    """80 % of it spent, or all of it foreseen, raises an alert (P7). US dollars a month, for the whole account."""
    pet_api_memory_mb: Annotated[int, Field(ge=128, le=10240)] = 512
    pet_processor_memory_mb: Annotated[int, Field(ge=256, le=10240)] = 1024
    pet_waf: bool | None = None
    """The web application firewall before the API (P9)."""
    pet_cloudtrail: bool | None = None
    """An audit trail of the account, with alarms (P7). An account needs one: leave it off where it has one."""
    pet_code_deploy: bool | None = None
    """Releases of the API function are shifted by CodeDeploy, and rolled back on alarm (P8b)."""
    pet_provisioned_concurrency: Annotated[int, Field(ge=0)] = 0
    """Warm instances of the API function at least; 0 switches it off (P8a)."""
    pet_max_provisioned_concurrency: Annotated[int, Field(ge=1)] = 10
    """Up to which target tracking adds to them."""
    pet_vpc: bool = False
    """The functions stand in private subnets that reach nothing but AWS (P8a)."""

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if bool(self.pet_domain_name) != bool(self.pet_certificate_arn):
            raise ValueError("pet_domain_name and pet_certificate_arn belong together: set both, or none")
        if self.pet_max_provisioned_concurrency < self.pet_provisioned_concurrency:
            raise ValueError("pet_max_provisioned_concurrency must not be below pet_provisioned_concurrency")
        return self

    def _in_earnest(self, switch: bool | None) -> bool:
        return self.environment_suffix in ("staging", "prod") if switch is None else switch

    @property
    def has_waf(self) -> bool:
        return self._in_earnest(self.pet_waf)

    @property
    def has_cloudtrail(self) -> bool:
        return self._in_earnest(self.pet_cloudtrail)

    @property
    def has_code_deploy(self) -> bool:
        return self._in_earnest(self.pet_code_deploy)


class IngestionSettings(CommonSettings):
    """The regional ingestion: one system in a pair of regions."""

    not_for_all = frozenset({"aws_region"})

    aws_region: Annotated[str, Field(pattern=f"^{INGESTION_REGIONS[0]}$")] = INGESTION_REGIONS[0]
    """Not to be moved: the table's own region."""
    ingestion_bucket_name: BucketName | None = None
    """Of us-east-1. Default: ``serverless-data-ingestion-prod``, by the environment's suffix. Bucket names are global: choose
    your own."""
    ingestion_dr_bucket_name: BucketName | None = None
    """Of us-west-2. Default: ``serverless-data-ingestion-dr-prod``, by the environment's suffix."""
    ingestion_alert_emails: Emails = ()
    ingestion_object_retention_days: Annotated[int, Field(ge=1)] = 365
    """Days that uploaded files stay (R1)."""
    ingestion_memory_mb: Annotated[int, Field(ge=128, le=10240)] = 1024
    ingestion_error_rate_percent: Annotated[Decimal, Field(gt=0, le=100)] = Decimal(5)
    """A Lambda's errors / invocations over five minutes above this raises an alarm (R7). Per cent."""
    ingestion_duration_alarm_seconds: Annotated[int, Field(ge=1, le=300)] = 240
    """A processor that runs longer than this raises an alarm; it has 300 seconds (R2, R7)."""
    ingestion_lag_alarm_seconds: Annotated[int, Field(ge=60)] = 300
    """A heartbeat of the other region older than this raises an alarm (R7)."""


@dataclass(frozen=True)
class Settings:
    """The settings of the whole app, one object per stack."""

    state_backend: StateBackendSettings
    tap: TapSettings
    pet_detector: PetSettings
    ingestion: IngestionSettings


def load(context: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Read the settings of every stack from ``cdktf.json``'s context and the environment.

    Raises SettingsError with every fault of every stack in one message.
    """
    models = {field.name: get_type_hints(Settings)[field.name] for field in fields(Settings)}
    known: set[str] = {name for model in models.values() for name in model.model_fields}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, value in context.items():
        values[name], sources[name] = value, f"cdktf.json context {name}={value!r}"
    for name in known:
        variable = ENVIRONMENT_NAMES.get(name, name.upper())
        if value := environ.get(variable, "").strip():
            values[name], sources[name] = value, f"environment variable {variable}={value!r}"

    faults = [
        f"{sources[name]}: no such setting{_suggestion(name, known)}" for name in sorted(set(values) - known - CDKTF_FLAGS)
    ]
    built = {}
    for stack, model in models.items():
        try:
            own = model.model_fields.keys() - model.not_for_all
            built[stack] = model(**{name: value for name, value in values.items() if name in own})
        except ValidationError as error:
            faults += _faults(error, sources)
    if faults:
        raise SettingsError(dict.fromkeys(faults))  # stacks share settings: each fault once
    return Settings(**built)


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _faults(error: ValidationError, sources: Mapping[str, str] | None = None) -> list[str]:
    faults = []
    for fault in error.errors():
        if not fault["loc"]:  # about several settings, which it names
            faults.append(fault["msg"].removeprefix("Value error, "))
            continue
        name = str(fault["loc"][0])
        source = (sources or {}).get(name) or f"{name}={fault['input']!r}"
        expected = PATTERNS.get(fault.get("ctx", {}).get("pattern", ""), fault["msg"].removeprefix("Value error, "))
        faults.append(f"{source}: {expected}")
    return faults


def read_context(path: Path) -> dict[str, Any]:
    """The ``context`` of ``cdktf.json``; empty if there is no such file. Raises SettingsError if it is not JSON."""
    try:
        context = json.loads(path.read_text(encoding="utf-8")).get("context", {})
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise SettingsError([f"{path.name}: is not a JSON object ({error})"]) from None
    if not isinstance(context, dict):
        raise SettingsError([f"{path.name}: context must be an object of settings"])
    return context
