"""Settings: where they come from, what they accept, how they complain, what they name (C5a–C5c, C6, C12)."""

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.etl import ranges
from settings import (
    INGESTION_REGIONS,
    CommonSettings,
    IngestionSettings,
    PetSettings,
    SettingsError,
    StateBackendSettings,
    TapSettings,
    load,
    read_context,
)

# --- sources --------------------------------------------------------------------------------------------------------


def test_defaults():
    """C5a: an empty environment suffices."""
    settings = load({}, {})
    assert settings.tap == TapSettings()
    assert settings.state_backend == StateBackendSettings()
    assert settings.pet_detector == PetSettings()
    assert settings.ingestion == IngestionSettings()
    assert (settings.tap.environment_suffix, settings.tap.aws_region) == ("prod", "us-east-1")
    assert settings.tap.etl_max_reject_ratio == Decimal("0.01")
    assert settings.tap.etl_error_rate_percent == 5
    assert settings.pet_detector.pet_confidence_threshold == 80


def test_context_wins_over_defaults_and_environment_over_context():
    """C5a: later wins."""
    context = {"owner": "context", "environment_suffix": "dev"}
    settings = load(context, {"OWNER": "environment"}).tap
    assert (settings.owner, settings.environment_suffix) == ("environment", "dev")


@pytest.mark.parametrize(
    ("variable", "field", "value"),
    [
        ("ENVIRONMENT_SUFFIX", "environment_suffix", "qa"),
        ("AWS_REGION", "aws_region", "eu-west-1"),
        ("TERRAFORM_STATE_BUCKET", "state_bucket", "my-states"),
        ("TERRAFORM_STATE_BUCKET_REGION", "state_bucket_region", "eu-west-2"),
        ("TERRAFORM_STATE_LOCK_TABLE", "state_lock_table", "my-locks"),
    ],
)
def test_environment_variables_of_the_specification(variable, field, value):
    """C5a: these names are an interface, for every stack."""
    settings = load({}, {variable: value})
    assert getattr(settings.tap, field) == getattr(settings.state_backend, field) == value


def test_region_moves_all_but_the_pet_detector():
    """C5c: it stands in us-east-1; whoever names another region for it alone is told."""
    settings = load({}, {"AWS_REGION": "eu-west-1"})
    assert (settings.tap.aws_region, settings.pet_detector.aws_region) == ("eu-west-1", "us-east-1")
    assert load({"aws_region": "eu-west-1"}, {}).pet_detector.aws_region == "us-east-1"
    assert PetSettings.of(aws_region="us-east-1").aws_region == "us-east-1"
    with pytest.raises(SettingsError, match="must be us-east-1: the pet detector"):
        PetSettings.of(aws_region="eu-west-1")


def test_the_other_settings_of_the_whole_app_count_for_the_pet_detector():
    """C5a: suffix, owner, tags, state, retention."""
    environ = {
        "ENVIRONMENT_SUFFIX": "dev", "OWNER": "me", "DEFAULT_TAGS": '{"Team": "a"}', "LOG_RETENTION_DAYS": "7",
        "TERRAFORM_STATE_BUCKET": "my-states", "TERRAFORM_STATE_BUCKET_REGION": "eu-west-2",
    }  # fmt: skip
    settings = load({}, environ)
    common = set(CommonSettings.model_fields) - {"aws_region"}
    assert settings.pet_detector.model_dump(include=common) == settings.tap.model_dump(include=common)
    assert settings.pet_detector.environment_title == "Development"


def test_region_moves_neither_of_the_ingestions():
    """C5c, R1: the table stands in us-east-1, its replica in us-west-2; whoever names another for them alone is told."""
    assert INGESTION_REGIONS == ("us-east-1", "us-west-2")
    for region in ("eu-west-1", "us-west-2"):
        assert load({}, {"AWS_REGION": region}).ingestion.aws_region == "us-east-1"
        assert load({"aws_region": region}, {}).ingestion.aws_region == "us-east-1"
        with pytest.raises(SettingsError, match="must be us-east-1: the pet detector and the table of the ingestion stand there"):
            IngestionSettings.of(aws_region=region)


def test_the_other_settings_of_the_whole_app_count_for_the_ingestion():
    """C5a, R8: suffix, owner, tags, retention, and where the state lies: in no region of the ingestion, if so wished."""
    environ = {
        "ENVIRONMENT_SUFFIX": "dev", "OWNER": "me", "DEFAULT_TAGS": '{"Team": "a"}', "LOG_RETENTION_DAYS": "7",
        "TERRAFORM_STATE_BUCKET": "my-states", "TERRAFORM_STATE_BUCKET_REGION": "eu-west-2", "AWS_REGION": "eu-west-1",
    }  # fmt: skip
    settings = load({}, environ)
    common = set(CommonSettings.model_fields) - {"aws_region"}
    assert settings.ingestion.model_dump(include=common) == settings.tap.model_dump(include=common)
    assert settings.ingestion.state_bucket_region == "eu-west-2"


def test_values_are_converted():
    """C5a: text from the environment becomes numbers, lists, switches, mappings."""
    settings = load(
        {},
        {
            "ETL_ALERT_EMAILS": "a@example.com, b@example.com,",
            "ETL_MAX_REJECT_RATIO": "0.25",
            "ETL_VALIDATION_MEMORY_MB": "1024",
            "RETAIN_DATA": "false",
            "DEFAULT_TAGS": '{"Team": "a"}',
        },
    ).tap
    assert settings.etl_alert_emails == ("a@example.com", "b@example.com")
    assert settings.etl_max_reject_ratio == Decimal("0.25")
    assert settings.etl_validation_memory_mb == 1024
    assert settings.keeps_data is False
    assert settings.default_tags == {"Team": "a"}


def test_empty_variables_count_as_unset():
    """C5a: CI systems export unset variables as empty ones."""
    assert load({}, {"ENVIRONMENT_SUFFIX": "", "AWS_REGION": "  "}).tap == TapSettings()


def test_unrelated_variables_and_flags_of_cdktf_are_left_alone():
    """C5a."""
    load({"excludeStackIdFromLogicalIds": "true", "allowSepCharsInLogicalIds": "true"}, {"PATH": "/bin", "HOME": "/root"})


def test_read_context(tmp_path):
    """C5a: cdktf.json's context; no file, no context."""
    file = tmp_path / "cdktf.json"
    assert read_context(file) == {}
    file.write_text(json.dumps({"language": "python"}))
    assert read_context(file) == {}
    file.write_text(json.dumps({"context": {"owner": "me"}}))
    assert read_context(file) == {"owner": "me"}


@pytest.mark.parametrize("text", ["{", "[]", '{"context": []}', '"text"'])
def test_read_context_complains_with_the_files_name(tmp_path, text):
    """C5a."""
    file = tmp_path / "cdktf.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"cdktf\.json"):
        read_context(file)


# --- complaints -----------------------------------------------------------------------------------------------------


def faults(context=None, environ=None):
    with pytest.raises(SettingsError) as caught:
        load(context or {}, environ or {})
    return caught.value.faults


BAD = [
    ("ENVIRONMENT_SUFFIX", "No Good"),
    ("ENVIRONMENT_SUFFIX", "a-name-that-is-much-too-long"),
    ("ENVIRONMENT_SUFFIX", "-dev"),
    ("AWS_REGION", "here"),
    ("AWS_REGION", "us-east-11"),
    ("TERRAFORM_STATE_BUCKET", "Upper"),
    ("TERRAFORM_STATE_BUCKET", "ab"),
    ("TERRAFORM_STATE_LOCK_TABLE", "a b"),
    ("LOG_RETENTION_DAYS", "91"),
    ("LOG_RETENTION_DAYS", "many"),
    ("RETAIN_DATA", "maybe"),
    ("OWNER", "x" * 257),
    ("DEFAULT_TAGS", "{not json"),
    ("DEFAULT_TAGS", '["a"]'),
    ("ETL_BUCKET_NAME", "under_score"),
    ("ETL_ALERT_EMAILS", "a@example.com,nobody"),
    ("ETL_MAX_REJECT_RATIO", "1.5"),
    ("ETL_MAX_REJECT_RATIO", "-0.1"),
    ("ETL_MAX_REJECT_RATIO", "nan"),
    ("ETL_MAX_FILE_BYTES", "0"),
    ("ETL_FAILED_RETENTION_DAYS", "0"),
    ("ETL_ERROR_RATE_PERCENT", "0"),
    ("ETL_ERROR_RATE_PERCENT", "101"),
    ("ETL_VALIDATION_MEMORY_MB", "127"),
    ("ETL_TRANSFORMATION_MEMORY_MB", "10241"),
    ("ETL_VALIDATION_TIMEOUT_SECONDS", "901"),
    ("ETL_TRANSFORMATION_TIMEOUT_SECONDS", "29"),
    ("ETL_VALIDATION_RESERVED_CONCURRENCY", "0"),
    ("METADATA_BUCKET_NAME", "Upper"),
    ("METADATA_ALERT_EMAILS", "nobody"),
    ("METADATA_MAX_FILE_BYTES", "0"),
    ("METADATA_MAX_FILE_BYTES", "131073"),
    ("METADATA_INDEX_NAME", "Upper"),
    ("METADATA_INDEX_NAME", "_hidden"),
    ("METADATA_INDEX_NAME", "-x"),
    ("METADATA_INDEX_NAME", "a b"),
    ("METADATA_INDEX_NAME", "a*"),
    ("METADATA_INDEX_NAME", "a/b"),
    ("METADATA_INDEX_NAME", "x" * 129),
    ("METADATA_STANDBY_REPLICAS", "some"),
    ("METADATA_RETENTION_DAYS", "0"),
    ("METADATA_RETENTION_DAYS", "3651"),
    ("METADATA_INDEXING_MEMORY_MB", "127"),
    ("METADATA_INDEXING_TIMEOUT_SECONDS", "44"),
    ("METADATA_INDEXING_TIMEOUT_SECONDS", "901"),
    ("METADATA_INDEXING_RESERVED_CONCURRENCY", "0"),
    ("PET_BUCKET_NAME", "under_score"),
    ("PET_ALERT_EMAILS", "nobody"),
    ("PET_CONFIDENCE_THRESHOLD", "49.9"),
    ("PET_CONFIDENCE_THRESHOLD", "100.1"),
    ("PET_CONFIDENCE_THRESHOLD", "nan"),
    ("PET_MAX_IMAGE_BYTES", "1023"),
    ("PET_MAX_IMAGE_BYTES", "15000001"),
    ("PET_ALLOWED_ORIGIN", "pets.example.com"),
    ("PET_ALLOWED_ORIGIN", "https://pets.example.com/"),
    ("PET_ALLOWED_ORIGIN", "https://a.example.com,https://b.example.com"),
    ("PET_ALLOWED_ORIGIN", "https://*.example.com"),
    ("PET_ALLOWED_ORIGIN", "https://a.example.com'"),
    ("PET_REQUESTS_PER_SECOND", "0"),
    ("PET_REQUESTS_PER_SECOND", "10001"),
    ("PET_BURST", "0"),
    ("PET_BURST", "5001"),
    ("PET_REQUESTS_PER_DAY", "0"),
    ("PET_LINK_SECONDS", "29"),
    ("PET_LINK_SECONDS", "3601"),
    ("PET_INPUT_RETENTION_DAYS", "0"),
    ("PET_IMAGE_RETENTION_DAYS", "0"),
    ("PET_RECORD_RETENTION_DAYS", "0"),
    ("PET_ERROR_RATE_PERCENT", "0"),
    ("PET_ERROR_RATE_PERCENT", "101"),
    ("PET_LATENCY_ALARM_MS", "99"),
    ("PET_LATENCY_ALARM_MS", "29001"),
    ("PET_REFUSED_ALARM", "0"),
    ("PET_BLOCKED_ALARM", "0"),
    ("PET_MONTHLY_BUDGET_USD", "0"),
    ("PET_MONTHLY_BUDGET_USD", "-1"),
    ("PET_API_MEMORY_MB", "127"),
    ("PET_PROCESSOR_MEMORY_MB", "255"),
    ("PET_PROCESSOR_MEMORY_MB", "10241"),
    ("PET_WAF", "perhaps"),
    ("PET_CLOUDTRAIL", "perhaps"),
    ("PET_CODE_DEPLOY", "perhaps"),
    ("PET_PROVISIONED_CONCURRENCY", "-1"),
    ("PET_MAX_PROVISIONED_CONCURRENCY", "0"),
    ("PET_VPC", "perhaps"),
    ("PET_DOMAIN_NAME", "Pets.example.com"),
    ("PET_DOMAIN_NAME", "https://pets.example.com"),
    ("PET_DOMAIN_NAME", "localhost"),
    ("PET_DOMAIN_NAME", "-a.example.com"),
    ("INGESTION_BUCKET_NAME", "under_score"),
    ("INGESTION_DR_BUCKET_NAME", "Upper"),
    ("INGESTION_ALERT_EMAILS", "nobody"),
    ("INGESTION_OBJECT_RETENTION_DAYS", "0"),
    ("INGESTION_MEMORY_MB", "127"),
    ("INGESTION_MEMORY_MB", "10241"),
    ("INGESTION_ERROR_RATE_PERCENT", "0"),
    ("INGESTION_ERROR_RATE_PERCENT", "101"),
    ("INGESTION_DURATION_ALARM_SECONDS", "0"),
    ("INGESTION_DURATION_ALARM_SECONDS", "301"),
    ("INGESTION_LAG_ALARM_SECONDS", "59"),
]


@pytest.mark.parametrize(("variable", "value"), BAD)
def test_bad_values_name_their_variable_and_value(variable, value):
    """C5a: validated before synth."""
    (fault,) = faults(environ={variable: value})
    assert fault.startswith(f"environment variable {variable}={value!r}: ")


ACCOUNT = "111122223333"


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        "alice",
        ACCOUNT,
        f"arn:aws:iam::{ACCOUNT}:role/*",
        f"arn:aws:iam::{ACCOUNT}:role/team-*",
        f"arn:aws:iam::{ACCOUNT}:*",
        f"arn:aws:iam::{ACCOUNT}:role/",
        f"arn:aws:iam::{ACCOUNT}:group/readers",
        f"arn:aws:iam::{ACCOUNT}:policy/readers",
        "arn:aws:iam::*:role/reader",
        "arn:aws:iam::12345:role/reader",
        f"arn:aws:sts::{ACCOUNT}:federated-user/alice",
        f"arn:aws:s3:::bucket,arn:aws:iam::{ACCOUNT}:role/reader",
    ],
)
def test_principals_that_nobody_should_name(principal):
    """M5a, C8: somebody by name; what OpenSearch Serverless would refuse, or would take for everybody, is told before synth."""
    (fault,) = faults(environ={"METADATA_DASHBOARD_PRINCIPALS": principal})
    assert fault.startswith(f"environment variable METADATA_DASHBOARD_PRINCIPALS={principal!r}: ")
    assert fault.endswith("must be ARNs of IAM roles or users with commas between them, without wildcards")


def test_principals():
    """M5a: roles and users with their paths, of any partition; roles' sessions; an account's root."""
    principals = (
        f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef",
        f"arn:aws-cn:iam::{ACCOUNT}:user/team/alice@example.com",
        f"arn:aws-us-gov:sts::{ACCOUNT}:assumed-role/reader/session",
        f"arn:aws:iam::{ACCOUNT}:root",
    )
    given = load({}, {"METADATA_DASHBOARD_PRINCIPALS": ", ".join(principals)})
    assert given.tap.metadata_dashboard_principals == principals
    assert load({}, {"METADATA_DASHBOARD_PRINCIPALS": " , "}).tap.metadata_dashboard_principals == ()


def test_bounds_of_the_fan_out():
    """E12: what is still accepted: two ranges at least; 400 of 5 GiB at most."""
    accepted = {
        "etl_max_file_bytes": (1, 2000 * 1024**3),
        "etl_fan_out_bytes": (128 * 1024**2, 5 * 1024**3),
        "etl_max_concurrency": (1, 1000),
        "etl_transformation_ephemeral_storage_mb": (512, 10240),
    }
    for name, (least, most) in accepted.items():
        for value in (least, most):
            assert getattr(load({}, {name.upper(): str(value)}).tap, name) == value
        for value in (least - 1, most + 1):
            with pytest.raises(SettingsError, match=name.upper()):
                load({}, {name.upper(): str(value)})
    assert accepted["etl_max_file_bytes"][1] == ranges.MAX_RANGES * 5 * 1024**3
    assert accepted["etl_fan_out_bytes"][0] == 2 * ranges.MIN_RANGE_BYTES


def test_bounds_of_the_metadata_settings():
    """M3a, M5a: what is still accepted."""
    settings = load(
        {},
        {
            "METADATA_MAX_FILE_BYTES": "131072",
            "METADATA_INDEX_NAME": "0._-" + "x" * 124,
            "METADATA_RETENTION_DAYS": "3650",
            "METADATA_INDEXING_TIMEOUT_SECONDS": "60",
        },
    ).tap
    assert settings.metadata_max_file_bytes == 128 * 1024
    assert len(settings.metadata_index_name) == 128
    assert settings.metadata_retention_days == 3650
    assert settings.metadata_indexing_timeout_seconds == 60


@pytest.mark.parametrize(
    ("suffix", "chosen", "has"),
    [("prod", None, True), ("dev", None, False), ("prod", False, False), ("dev", True, True)],
)
def test_metadata_has_standby_replicas(suffix, chosen, has):
    """M5a: true for prod, false elsewhere, unless told."""
    assert TapSettings(environment_suffix=suffix, metadata_standby_replicas=chosen).metadata_has_standby_replicas is has


def test_bounds_of_the_pet_settings():
    """P1a, P4, P9: what is still accepted."""
    accepted = {
        "pet_confidence_threshold": (50, 100),
        "pet_max_image_bytes": (1024, 15_000_000),
        "pet_requests_per_second": (1, 10_000),
        "pet_burst": (1, 5_000),
        "pet_link_seconds": (30, 3600),
        "pet_latency_alarm_ms": (100, 29_000),
        "pet_api_memory_mb": (128, 10240),
        "pet_processor_memory_mb": (256, 10240),
        "pet_provisioned_concurrency": (0, 10),
    }
    for name, values in accepted.items():
        for value in values:
            assert getattr(load({}, {name.upper(): str(value)}).pet_detector, name) == value


def test_bounds_of_the_ingestions_settings():
    """R1, R2, R7: what is still accepted: an alarm at the processor's 300 seconds at last, and at a lag of no less than the
    heartbeat's minute."""
    accepted = {
        "ingestion_object_retention_days": (1, 36500),
        "ingestion_memory_mb": (128, 10240),
        "ingestion_error_rate_percent": (1, 100),
        "ingestion_duration_alarm_seconds": (1, 300),
        "ingestion_lag_alarm_seconds": (60, 86400),
    }
    for name, values in accepted.items():
        for value in values:
            assert getattr(load({}, {name.upper(): str(value)}).ingestion, name) == value


@pytest.mark.parametrize("origin", ["*", "https://pets.example.com", "http://localhost:3000"])
def test_origins(origin):
    """P1a: as browsers send them: no path, no wildcard within."""
    assert load({}, {"PET_ALLOWED_ORIGIN": origin}).pet_detector.pet_allowed_origin == origin


CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/0f4b2d0e-6d1b-4b57-9a3c-2f0f0f6f9d11"


def test_domain_name_and_certificate_belong_together():
    """P9: one without the other would be half a domain; both faults and their names are told."""
    both = {"PET_DOMAIN_NAME": "pets.example.com", "PET_CERTIFICATE_ARN": CERTIFICATE}
    assert load({}, both).pet_detector.pet_domain_name == "pets.example.com"
    for name, value in both.items():
        assert faults(environ={name: value}) == ["pet_domain_name and pet_certificate_arn belong together: set both, or none"]


@pytest.mark.parametrize("arn", ["x", CERTIFICATE.replace("us-east-1", "eu-west-1"), CERTIFICATE.replace(":acm:", ":iam:")])
def test_certificates_that_the_api_cannot_use(arn):
    """P9: a regional API takes those of its own region."""
    (fault,) = faults(environ={"PET_DOMAIN_NAME": "pets.example.com", "PET_CERTIFICATE_ARN": arn})
    assert fault.endswith("must be the ARN of a certificate in us-east-1")


def test_most_warm_instances_are_no_fewer_than_the_least():
    """P8a."""
    settings = {"pet_provisioned_concurrency": 3, "pet_max_provisioned_concurrency": 3}
    assert PetSettings.of(**settings).pet_provisioned_concurrency == 3
    with pytest.raises(SettingsError, match="pet_max_provisioned_concurrency must not be below pet_provisioned_concurrency"):
        PetSettings.of(**settings | {"pet_max_provisioned_concurrency": 2})


@pytest.mark.parametrize("switch", ["waf", "cloudtrail", "code_deploy"])
@pytest.mark.parametrize(
    ("suffix", "chosen", "has"),
    [
        ("prod", None, True),
        ("staging", None, True),
        ("dev", None, False),
        ("qa", None, False),
        ("prod", False, False),
        ("staging", False, False),
        ("dev", True, True),
    ],
)
def test_switches_of_the_pet_detector(switch, suffix, chosen, has):
    """P8a: on in staging and prod, unless told."""
    settings = PetSettings.of(environment_suffix=suffix, **{f"pet_{switch}": chosen})
    assert getattr(settings, f"has_{switch}") is has


def test_what_costs_by_the_hour_is_off_everywhere():
    """P8a."""
    for suffix in ("dev", "staging", "prod"):
        settings = PetSettings(environment_suffix=suffix)
        assert (settings.pet_vpc, settings.pet_provisioned_concurrency) == (False, 0)


def test_one_message_lists_every_fault():
    """C5a: all at once, each once even if several stacks share the setting, each with its source."""
    found = faults(
        {"owner": "", "etl_max_reject_ration": 1},
        {"AWS_REGION": "here", "ENVIRONMENT_SUFFIX": "No", "ETL_MAX_REJECT_RATIO": "2"},
    )
    assert len(found) == 5
    assert any(fault.startswith("cdktf.json context owner=''") for fault in found)
    assert any("etl_max_reject_ration=1: no such setting; did you mean etl_max_reject_ratio?" in fault for fault in found)
    message = str(SettingsError(found))
    assert message.splitlines() == ["These settings are wrong:", *(f"  - {fault}" for fault in found)]


def test_keyword_arguments_complain_the_same_way():
    """C5b."""
    with pytest.raises(SettingsError) as caught:
        TapSettings.of(environment_suffix="No", unknown=1, owner=None)
    assert len(caught.value.faults) == 2
    assert TapSettings.of(owner=None).owner == "data-platform"


@pytest.mark.parametrize("tags", [{"Team": "a"}, {"tags": {"Team": "a"}}, '{"Team": "a"}', '{"tags": {"Team": "a"}}'])
def test_default_tags_in_each_shape(tags):
    """C5b."""
    assert CommonSettings.of(default_tags=tags).default_tags == {"Team": "a"}


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"aws:x": "y"}, "AWS's own"),
        ({"environment": "x"}, "'environment' differs from 'Environment' in case only"),
        ({"Team": "a", "team": "b"}, "'team' differs from 'Team' in case only"),
        ({"Team": "a;b"}, "as AWS allows in tags"),
        ({"Te,am": "a"}, "as AWS allows in tags"),
    ],
)
def test_tags_that_aws_would_refuse(tags, says):
    """C5a, C6: before anything is made, not half-way through."""
    with pytest.raises(SettingsError, match=re.escape(says)):
        TapSettings.of(default_tags=tags)


def test_a_tag_called_tags_is_a_tag():
    """C5b: the Terraform shape is told by its value, a mapping."""
    assert CommonSettings.of(default_tags={"tags": "x"}).default_tags == {"tags": "x"}


def test_settings_do_not_change():
    """C5a: typed and frozen."""
    with pytest.raises(ValueError, match="frozen"):
        TapSettings().owner = "other"


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "base", "name"),
    [
        ("prod", "etl-pipeline", "etl-pipeline"),
        ("prod", "serverless-data-prod", "serverless-data-prod"),
        ("dev", "etl-pipeline", "etl-pipeline-dev"),
        ("dev", "serverless-data-prod", "serverless-data-dev"),
        ("dev", "prod-data", "prod-data-dev"),
    ],
)
def test_name(suffix, base, name):
    """C5c: prod carries the fixed names; any other suffix is appended or replaces a trailing -prod."""
    assert CommonSettings(environment_suffix=suffix).name(base) == name


SUFFIXES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?", fullmatch=True)
BASES = st.from_regex(r"[a-z][a-z0-9-]{0,90}[a-z0-9]", fullmatch=True)


@given(suffix=SUFFIXES, base=BASES, limit=st.integers(min_value=32, max_value=255))
def test_names_fit_and_end_in_their_environment(suffix, base, limit):
    """C5c: shortened by one rule where AWS limits the length."""
    name = CommonSettings(environment_suffix=suffix).name(base, limit)
    assert len(name) <= limit
    assert suffix == "prod" or name.endswith(f"-{suffix}")
    assert name == CommonSettings(environment_suffix=suffix).name(base, limit)


@given(suffix=SUFFIXES, bases=st.lists(st.text("ab", min_size=40, max_size=60), min_size=2, max_size=2, unique=True))
def test_two_long_names_stay_two(suffix, bases):
    """C5c: what is cut off lives on as a hash."""
    settings = CommonSettings(environment_suffix=suffix)
    first, second = (settings.name(base, 32) for base in bases)
    assert first != second


@pytest.mark.parametrize(
    ("suffix", "title"), [("prod", "Production"), ("staging", "Staging"), ("dev", "Development"), ("qa-7", "qa-7")]
)
def test_environment_title(suffix, title):
    """C6: the value of the tag Environment."""
    assert CommonSettings(environment_suffix=suffix).environment_title == title


@pytest.mark.parametrize(
    ("suffix", "retain", "keeps"),
    [("prod", None, True), ("dev", None, False), ("prod", False, False), ("dev", True, True)],
)
def test_keeps_data(suffix, retain, keeps):
    """C12: true for prod, false elsewhere, unless told."""
    assert CommonSettings(environment_suffix=suffix, retain_data=retain).keeps_data is keeps


def test_pieces_of_a_file_can_be_as_large_as_a_file_that_is_not_cut():
    """E12: else files between the two would be set aside, whatever they hold."""
    assert load({}, {"ETL_MAX_PIECE_BYTES": str(256 * 1024**2)}).tap.etl_max_piece_bytes == 256 * 1024**2
    expected = "etl_max_piece_bytes must not be below etl_fan_out_bytes: files between them would be set aside"
    assert faults(environ={"ETL_MAX_PIECE_BYTES": str(256 * 1024**2 - 1)}) == [expected]
