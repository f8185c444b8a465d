"""What `make local`, `make local-up` and `make local-down` promise, apart from the deploying itself (L1, L3)."""

import json
import sys
from types import SimpleNamespace

import pytest

from local import __main__ as commands
from local.etl_exercise import EtlOutcome, EtlSystem
from local.exercise import Result, Sample
from local.metadata import Number
from local.systems import SYSTEMS
from local.terraform import TerraformError


@pytest.fixture
def deployed(monkeypatch, tmp_path):
    """Commands that meet a deployment which did not have to be made; it notes what is done to it."""
    done = []
    aws = SimpleNamespace(endpoint="http://127.0.0.1:4566", region="us-east-1", client=lambda service: None)
    deployment = SimpleNamespace(
        aws=aws, done=done, environment={"ENVIRONMENT_SUFFIX": "local"}, destroy=lambda progress: done.append("destroyed"),
        outputs={"state-backend": {"state_bucket_name": "s"}, "tap": dict.fromkeys(TAP_OUTPUTS, "x"),
                 "pet-detector": dict.fromkeys(PET_OUTPUTS, "x"), "ingestion": dict.fromkeys(INGESTION_OUTPUTS, "x")})
    monkeypatch.setattr(commands, "_deployed", lambda phases, emulator: deployment)
    monkeypatch.setattr(commands, "_stopped", lambda emulator: done.append("stopped"))
    monkeypatch.setattr(commands, "write_report", lambda path, results, facts: done.append("reported"))
    monkeypatch.setattr(commands, "_versions", dict)
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(commands, "OUTPUTS", tmp_path / "outputs.json")
    monkeypatch.setattr(commands, "REPORT", tmp_path / "report.html")
    return deployment


TAP_OUTPUTS = ("etl_bucket_name", "etl_metadata_table_name", "etl_state_machine_arn", "etl_failure_topic_arn",
               "etl_validation_function_name", "etl_transformation_function_name", "metadata_bucket_name",
               "metadata_state_machine_arn", "metadata_failures_table_name", "metadata_collection_endpoint",
               "metadata_index_name")
PET_OUTPUTS = ("pet_api_url", "pet_api_key_id", "pet_bucket_name", "pet_table_name", "pet_state_machine_arn",
               "pet_alert_topic_arn", "pet_dashboard_url")
INGESTION_OUTPUTS = tuple(f"ingestion_{name}_{region}" for region in ("us_east_1", "us_west_2") for name in (
    "bucket_name", "bucket_arn", "function_name", "function_arn", "table_name", "table_arn", "stream_arn", "topic_arn", "dlq_url",
    "dlq_arn", "dashboard_url"))


def results(*faults: str) -> list[Result]:
    return [Result(EtlSystem(), [
        EtlOutcome(Sample("a [b].csv", b"", {}), None, each, {"status": "SUCCEEDED"}, (), "processed/a [b].csv")
        for each in ((), faults)])]


def run_main(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["local", *arguments])
    monkeypatch.setattr(commands, "prerequisites", list)
    return commands.main()


def test_outputs_of_local_up(deployed, capsys):
    """L3: where it is, the root's keys, then plain outputs by stack; and what to try, for every system."""
    assert commands.up(port=0) == 0
    assert json.loads(commands.OUTPUTS.read_text()) == {
        "endpoint": "http://127.0.0.1:4566", "region": "us-east-1", "access_key": "test", "secret_key": "test",
        **deployed.outputs}
    assert deployed.done == []  # it goes on running
    told = capsys.readouterr().out
    for system in SYSTEMS:
        assert system.hint(deployed.outputs[system.stack]) in told.replace("\n", " ")


def test_local_down_without_anything_running(deployed, monkeypatch, capsys):
    """L3: says so, and takes a stale file away."""
    commands.OUTPUTS.write_text("{}")
    monkeypatch.setattr(commands.Emulator, "running", lambda name="emulator": None)
    assert run_main(monkeypatch, "down") == 0
    assert "not running" in capsys.readouterr().out and not commands.OUTPUTS.exists()


@pytest.mark.parametrize("which", ["emulator", commands.RUN])
def test_local_down(deployed, monkeypatch, which):
    """L3: everything goes, also what a run left that was killed."""
    commands.OUTPUTS.write_text("{}")
    monkeypatch.setattr(commands.Emulator, "running", lambda name="emulator": deployed.aws if name == which else None)
    assert run_main(monkeypatch, "down") == 0
    assert deployed.done == ["stopped"] and not commands.OUTPUTS.exists()


@pytest.mark.parametrize(("faults", "code"), [((), 0), (("status is FAILED instead of SUCCEEDED",), 1)])
def test_exit_code_of_local(deployed, monkeypatch, capsys, faults, code):
    """L1: 0 only if every sample ended as it must; reported and torn down either way."""
    monkeypatch.setattr(commands, "exercise", lambda *_: results(*faults))
    assert run_main(monkeypatch, "run") == code
    assert deployed.done == ["reported", "destroyed", "stopped"]
    told = capsys.readouterr().out
    assert "a [b].csv" in told  # no markup is read out of file names
    assert all(fault in told for fault in faults)


def test_failure_in_the_middle_stops_the_emulator(deployed, monkeypatch, capsys):
    """L1: Terraform's words, no traceback, nothing left running."""

    def fail(*_):
        raise TerraformError("Error: [no] such thing")

    monkeypatch.setattr(commands, "exercise", fail)
    assert run_main(monkeypatch, "run") == 1
    assert deployed.done == ["stopped"]
    assert "Error: [no] such thing" in capsys.readouterr().out


def test_interruption_stops_the_emulator(deployed, monkeypatch, capsys):
    """L1: Ctrl-C."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "exercise", interrupt)
    assert run_main(monkeypatch, "run") == 130
    assert deployed.done == ["stopped"]


def test_bad_settings_are_told_before_anything_starts(monkeypatch, capsys):
    """C5a, L1: exit code 2, one message, no emulator."""
    monkeypatch.setenv("ETL_MAX_REJECT_RATIO", "7")
    monkeypatch.setattr(commands.Emulator, "start", lambda *_, **__: pytest.fail("started"))
    assert run_main(monkeypatch, "up") == 2
    assert "ETL_MAX_REJECT_RATIO='7'" in capsys.readouterr().out


def test_missing_prerequisites_are_named(monkeypatch, capsys):
    """L1: with the remedy, before anything is started."""
    monkeypatch.setattr(sys, "argv", ["local", "run"])
    monkeypatch.setattr(commands, "prerequisites", lambda: ["Terraform is missing. Remedy: install it"])
    assert commands.main() == 2
    assert "Remedy: install it" in capsys.readouterr().out


class TestSearch:
    """M5a, L3: `python -m local search`."""

    @pytest.fixture
    def running(self, deployed, monkeypatch):
        """An environment that `local-up` left running; the queries it was asked."""
        asked = []
        commands.OUTPUTS.write_text(json.dumps(deployed.outputs))
        monkeypatch.setattr(commands.Emulator, "running", lambda: deployed.aws)
        monkeypatch.setattr(commands.Metadata, "search", lambda self, query: asked.append(query) or [
            {"_source": {"whole": Number("9007199254740993"), "name": "März"}}])
        return asked

    def test_the_newest_documents_as_they_are_stored(self, running, monkeypatch, capsys):
        assert run_main(monkeypatch, "search", '{"term": {"name": "ledger"}}', "--count", "3") == 0
        assert running == [{"size": 3, "query": {"term": {"name": "ledger"}}, "sort": [{"@timestamp": "desc"}]}]
        assert capsys.readouterr().out == '[\n  {\n    "whole": 9007199254740993,\n    "name": "März"\n  }\n]\n'

    def test_a_query_that_is_none(self, running, monkeypatch, capsys):
        assert run_main(monkeypatch, "search", "ledger") == 1
        assert "The query is not JSON" in capsys.readouterr().out and running == []

    def test_nothing_is_running(self, monkeypatch, capsys):
        monkeypatch.setattr(commands.Emulator, "running", lambda: None)
        assert run_main(monkeypatch, "search") == 1
        assert "make local-up" in capsys.readouterr().out
