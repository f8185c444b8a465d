"""The cost model counts what stands in the stack (O5)."""

import pytest

from ops import cost
from settings import TapSettings
from tests.synth.test_etl_fan_out import LARGE_WAY, SMALL_WAY

STACK = cost.load().stack


def defaults(*names):
    return [TapSettings.model_fields[name].default for name in names]


def test_settings_are_the_defaults():
    """O5."""
    names = (
        *("etl_fan_out_bytes", "etl_transformation_memory_mb", "etl_validation_memory_mb"),
        "etl_transformation_ephemeral_storage_mb",
    )
    counted = ("fan_out_bytes", "transformation_memory_mb", "validation_memory_mb", "ephemeral_storage_mb")
    assert defaults(*names) == [STACK[name] for name in counted]


def test_transitions_are_those_of_the_ways():
    """O5, E12: whose lengths are asserted on whole executions."""
    assert (len(SMALL_WAY), len(LARGE_WAY)) == (STACK["small_transitions"], STACK["large_transitions"])


@pytest.mark.parametrize("system", ["etl", "metadata"])
def test_what_idles_is_counted(tap, system):
    """O5."""
    part = tap.under(system)
    alarms = part.all("aws_cloudwatch_metric_alarm").values()
    assert STACK["alarm_metrics"][system] == sum("metric" in query for alarm in alarms for query in alarm["metric_query"])
    assert STACK["dashboards"][system] == len(part.all("aws_cloudwatch_dashboard"))
    assert STACK["kms_keys"][system] == len(part.all("aws_kms_key"))
