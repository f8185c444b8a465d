"""Each check of `make lint` can fail, and says what, where and what to do about it."""

import copy
import json
import sys
from pathlib import Path

import pytest

from checks import __main__ as runner
from checks import asl, iam, imports

ROOT = Path(__file__).resolve().parents[2]

# --- state machines -------------------------------------------------------------------------------------------------

RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 2}]
CATCH = [{"ErrorEquals": ["States.ALL"], "Assign": {"error": "{% $states.errorOutput.Error %}"}, "Next": "Failed"}]
MACHINE = {
    "QueryLanguage": "JSONata",
    "StartAt": "Work",
    "States": {
        "Work": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": "${WorkFunctionArn}", "Payload": {"Parameters": "{% $states.input.x %}"}},
            "Assign": {"y": "{% ( $z := 1; function($a) { $a + $z }(2) ) %}"},
            "TimeoutSeconds": 60,
            "Retry": RETRY,
            "Catch": CATCH,
            "Next": "Choose",
        },
        "Choose": {"Type": "Choice", "Choices": [{"Condition": "{% $y > 1 %}", "Next": "Done"}], "Default": "Failed"},
        "Done": {"Type": "Succeed"},
        "Failed": {"Type": "Fail", "Error": "{% $error %}"},
    },
}


def asl_faults(tmp_path, change=lambda states: None, machine=MACHINE):
    machine = copy.deepcopy(machine)
    change(machine["States"])
    file = tmp_path / "test.asl.json"
    file.write_text(json.dumps(machine))
    return asl.faults([file])


def test_state_machines_of_the_project_are_sound():
    """Issue, item 6."""
    assert asl.faults(sorted(asl.WORKFLOWS.glob("*.asl.json"))) == []


def test_sound_machine_has_no_faults(tmp_path):
    """Else the tests below would prove nothing."""
    assert asl_faults(tmp_path) == []


BAD_MACHINES = {
    "no time-out": (lambda s: s["Work"].pop("TimeoutSeconds"), "Work: has no TimeoutSeconds"),
    "no retry": (lambda s: s["Work"].pop("Retry"), "Work: has no Retry"),
    "no catch": (lambda s: s["Work"].pop("Catch"), "Work: has no Catch of States.ALL"),
    "catch of one error only": (
        lambda s: s["Work"].update(Catch=[{"ErrorEquals": ["Lambda.Unknown"], "Next": "Failed"}]),
        "Work: has no Catch of States.ALL",
    ),
    "States.ALL before another": (
        lambda s: s["Work"].update(Retry=[*RETRY, {"ErrorEquals": ["Other"], "MaxAttempts": 1}]),
        "Work: States.ALL must stand alone",
    ),
    "States.ALL beside another": (
        lambda s: s["Work"].update(Catch=[{"ErrorEquals": ["States.ALL", "Other"], "Next": "Failed"}]),
        "Work: States.ALL must stand alone",
    ),
    "unreachable state": (lambda s: s.update(Lost={"Type": "Succeed"}), "Lost: no way leads here"),
    "missing state": (lambda s: s["Work"].update(Next="Nowhere"), "MISSING_TRANSITION_TARGET"),
    "no way on": (lambda s: s["Work"].pop("Next"), "asl-validator"),
    "unknown field": (lambda s: s["Done"].update(Retries=[]), "asl-validator"),
    "JSONPath field": (lambda s: s["Work"].update(ResultPath="$.x"), "Work: the field ResultPath exists in JSONPath only"),
    "JSONPath parameters": (lambda s: s["Work"].update(Parameters={}), "Work: the field Parameters exists in JSONPath only"),
    "JSONPath in a payload": (
        lambda s: s["Work"]["Arguments"]["Payload"].update({"x.$": "$.x"}),
        "Work: the field 'x.$' takes a JSONPath",
    ),
    "JSONPath as text": (
        lambda s: s["Work"]["Arguments"]["Payload"].update(x="$.x"),
        "Work: '$.x' is a JSONPath, which JSONata takes for plain text",
    ),
    "intrinsic function": (
        lambda s: s["Work"]["Arguments"]["Payload"].update(x="States.Format('a')"),
        "is a JSONPath",
    ),
    "JSONPath state": (
        lambda s: s["Done"].update(QueryLanguage="JSONPath"),
        "Done: QueryLanguage is JSONPath; AWS refuses JSONPath under a JSONata top level",
    ),
    "choice by variable": (
        lambda s: s["Choose"].update(Choices=[{"Variable": "$.x", "IsPresent": True, "Next": "Done"}]),
        "Choose: the field Variable exists in JSONPath only",
    ),
    "broken expression": (
        lambda s: s["Work"].update(Output="{% $states.input.( %}"),
        "Work: the expression {% $states.input.( %} is not",
    ),
    "half an expression": (lambda s: s["Work"].update(Output="x {% 1 %}"), "Work: 'x {% 1 %}' is plain text"),
    "misspelt variable": (lambda s: s["Failed"].update(Error="{% $eror %}"), "Failed: $eror is neither assigned"),
    "misspelt function": (lambda s: s["Failed"].update(Error="{% $upercase('a') %}"), "Failed: $upercase is neither assigned"),
    "function AWS lacks": (lambda s: s["Failed"].update(Error="{% $eval('1') %}"), "Failed: $eval does not exist"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """All that is told of BAD_MACHINES, each in a file of its own, asked for at once: Node takes long to start."""
    folder = tmp_path_factory.mktemp("machines")
    for name, (change, _) in BAD_MACHINES.items():
        machine = copy.deepcopy(MACHINE)
        change(machine["States"])
        (folder / f"{name}.asl.json").write_text(json.dumps(machine))
    return asl.faults(sorted(folder.iterdir()))


@pytest.mark.parametrize("name", BAD_MACHINES)
def test_bad_machine_is_told(told, name):
    """Issue, item 6: file, state, fault."""
    found = [fault for fault in told if fault.startswith(f"{name}.asl.json: ")]
    assert any(BAD_MACHINES[name][1] in fault for fault in found), found


def test_nothing_is_told_without_its_file(told):
    """Issue, item 6: who reads a fault knows where it is."""
    assert {fault.partition(".asl.json: ")[0] for fault in told} == set(BAD_MACHINES)


def test_faults_inside_a_map_are_found(tmp_path):
    """The rules hold at every depth."""

    def change(states):
        work = states["Work"] | {"Next": "End"}
        inner = {
            "StartAt": "Work",
            "States": {"Work": {**work, "Retry": []}, "End": {"Type": "Succeed"}, "Failed": states["Failed"]},
        }
        states["Work"] = {"Type": "Map", "ItemProcessor": inner, "Assign": {"y": 1, "error": ""}, "Next": "Choose"}

    assert any("Work: has no Retry" in fault for fault in asl_faults(tmp_path, change))


def test_files_that_are_no_json_are_told(tmp_path):
    """Before anything else."""
    file = tmp_path / "broken.asl.json"
    file.write_text("{")
    assert asl.faults([file])[0].startswith("broken.asl.json: is not JSON")


def test_list_of_exceptions_stays_true(tmp_path, monkeypatch):
    """An exception without its case is told, so that the list cannot outlive its reasons."""
    monkeypatch.setitem(asl.WITHOUT_CATCH_ALL, "test.asl.json", {"Work": "reason", "Gone": "reason"})
    found = asl_faults(tmp_path)
    assert any("Work: catches States.ALL; take it off the list" in fault for fault in found)
    assert any("Gone: is listed" in fault for fault in found)
    assert asl_faults(tmp_path, lambda states: states["Work"].pop("Catch"))[0].startswith("test.asl.json: Gone")


# --- permissions ----------------------------------------------------------------------------------------------------


def stack(policy_of="aws_iam_role_policy", **statement):
    """A stack with one role and one statement in one policy of that kind."""
    statement = {"sid": "S", "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::b/*"], **statement}
    principal = [{"type": "Service", "identifiers": ["states.amazonaws.com"]}]
    condition = [{"test": "StringEquals", "variable": "aws:SourceAccount", "values": ["1"]}]
    trust = {"actions": ["sts:AssumeRole"], "principals": principal, "condition": condition}
    resources = {"aws_iam_role": {"r": {"assume_role_policy": "${data.aws_iam_policy_document.trust.json}"}}}
    resources.setdefault(policy_of, {})["p"] = {"policy": "${data.aws_iam_policy_document.d.json}"}
    return {
        "data": {"aws_iam_policy_document": {"trust": {"statement": [trust]}, "d": {"statement": [statement]}}},
        "resource": resources,
    }


S3 = [{"type": "Service", "identifiers": ["s3.amazonaws.com"]}]
SOURCE = [{"test": "ArnEquals", "variable": "aws:SourceArn", "values": ["arn:aws:s3:::b"]}]
EVERYBODY = [{"type": "*", "identifiers": ["*"]}]
OWN_PRINCIPALS = [{"test": "StringEquals", "variable": "aws:PrincipalAccount", "values": ["1"]}]
GOOD_STACKS = {
    "role": stack(),
    "resource": stack("aws_s3_bucket_policy", principals=S3, condition=SOURCE),
    "listed": stack(actions=["xray:PutTraceSegments"], resources=["*"]),
    "key": stack("aws_kms_key", actions=["kms:Decrypt"], resources=["*"], principals=S3, condition=SOURCE),
    "denied": stack("aws_s3_bucket_policy", effect="Deny", actions=["s3:*"], principals=EVERYBODY),
    "log streams": stack(resources=["arn:aws:logs:us-east-1:1:log-group:/aws/lambda/f:*"]),
    "reference": stack(resources=["${aws_kms_key.k.arn}"]),
    "endpoint": stack("aws_vpc_endpoint", principals=EVERYBODY, condition=OWN_PRINCIPALS),
}
BAD_STACKS = {
    "wildcard action": (stack(actions=["s3:*"]), "allows the wildcard action s3:*"),
    "wildcard in an action": (stack(actions=["s3:Get*"]), "allows the wildcard action s3:Get*"),
    "every resource": (stack(resources=["*"]), "allows s3:GetObject on every resource"),
    "every table": (stack(resources=["arn:aws:dynamodb:us-east-1:1:table/*"]), "every one of its kind"),
    "every function": (stack(resources=["arn:aws:lambda:us-east-1:1:function:*"]), "every one of its kind"),
    "every bucket": (stack(resources=["arn:aws:s3:::*"]), "every one of its kind"),
    "some buckets": (stack(resources=["arn:aws:s3:::b*/x"]), "more than one bucket"),
    "every region": (stack(resources=["arn:aws:sqs:*:1:q"]), "wildcard"),
    "every account": (stack(resources=["arn:aws:sqs:us-east-1:*:q"]), "wildcard"),
    "not action": (stack(not_actions=["s3:PutObject"]), "allows by exception (not_actions)"),
    "not resource": (stack(not_resources=["arn:aws:s3:::c"]), "allows by exception (not_resources)"),
    "everybody": (stack("aws_s3_bucket_policy", principals=EVERYBODY), "allows everybody"),
    "every own principal": (
        stack("aws_s3_bucket_policy", principals=EVERYBODY, condition=OWN_PRINCIPALS), "allows everybody"
    ),
    "everybody through an endpoint": (stack("aws_vpc_endpoint", principals=EVERYBODY), "allows everybody"),
    "nobody": (stack("aws_s3_bucket_policy"), "names no principal"),
    "confused deputy": (stack("aws_sqs_queue_policy", principals=S3), "lets s3.amazonaws.com act for any account"),
    "principal in a role's policy": (stack(principals=S3, condition=SOURCE), "names principals in a role's policy"),
}


@pytest.mark.parametrize("good", GOOD_STACKS.values(), ids=GOOD_STACKS)
def test_good_permissions_have_no_faults(good):
    """Else the tests below would prove nothing."""
    assert iam.faults(good, "stack") == []


@pytest.mark.parametrize(("bad", "expected"), BAD_STACKS.values(), ids=BAD_STACKS)
def test_bad_permission_is_told(bad, expected):
    """C8: stack, document, statement, fault."""
    found = iam.faults(bad, "stack")
    assert len(found) == 1, found
    assert found[0].startswith("stack: aws_iam_policy_document.d: statement S: ")
    assert expected in found[0]


def changed(change):
    found = stack()
    change(found["resource"])
    return found


BAD_RESOURCES = {
    "policy as text": (lambda r: r["aws_iam_role_policy"]["p"].update(policy="{}"), "policy is written as text"),
    "inline policy": (lambda r: r["aws_iam_role"]["r"].update(inline_policy=[{}]), "inline_policy is written as text"),
    "no trust": (lambda r: r["aws_iam_role"]["r"].pop("assume_role_policy"), "trusts nobody"),
    "trust that lets nobody in": (
        lambda r: r["aws_iam_role"]["r"].update(assume_role_policy="${data.aws_iam_policy_document.d.json}"),
        "trusts nobody",
    ),
    "managed policy": (lambda r: r.update(aws_iam_role_policy_attachment={"a": {}}), "attaches a policy by ARN"),
    "managed policies": (lambda r: r["aws_iam_role"]["r"].update(managed_policy_arns=["x"]), "uses managed policies"),
    "open function": (
        lambda r: r.update(aws_lambda_permission={"f": {"principal": "s3.amazonaws.com", "action": "lambda:InvokeFunction"}}),
        "lets any account's s3.amazonaws.com call",
    ),
    "function open for everything": (
        lambda r: r.update(aws_lambda_permission={"f": {"source_arn": "arn", "action": "lambda:*"}}),
        "allows lambda:*",
    ),
}


@pytest.mark.parametrize(("change", "expected"), BAD_RESOURCES.values(), ids=BAD_RESOURCES)
def test_bad_resource_is_told(change, expected):
    """C8."""
    assert any(expected in fault for fault in iam.faults(changed(change), "stack"))


def test_trust_of_any_service_but_lambda_names_its_source():
    """C8: Lambda sends no aws:SourceAccount when it assumes a role; the others do."""
    bad = stack()
    trust = bad["data"]["aws_iam_policy_document"]["trust"]["statement"][0]
    del trust["condition"]
    assert "confused deputy" in iam.faults(bad, "stack")[0]
    trust["principals"] = [{"type": "Service", "identifiers": ["lambda.amazonaws.com"]}]
    assert iam.faults(bad, "stack") == []


# --- imports --------------------------------------------------------------------------------------------------------


def import_faults(tmp_path, path, text):
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return imports.faults(tmp_path)


def test_imports_of_the_project_go_one_way():
    """Design: main → stacks → modules → provider."""
    assert imports.faults(ROOT) == []


BAD_IMPORTS = [
    ("modules.py", "from tap_stack import TapStack", "the wrong way"),
    ("settings.py", "import modules", "the wrong way"),
    ("state_backend_stack.py", "from tap_stack import TapStack", "the wrong way"),
    ("modules.py", "from lambdas.etl import rows", "what both must agree on"),
    ("modules.py", "from lambdas.etl.rows import Conversion", "what both must agree on"),
    ("tap_stack.py", "import lambdas", "what both must agree on"),
    ("main.py", "from local.emulator import Emulator", "looks in from outside"),
    ("settings.py", "import checks", "looks in from outside"),
    ("tap_stack.py", "from dashboards.saved_objects import saved_objects", "looks in from outside"),
    ("settings.py", "from cdktf import App", "know CDKTF"),
    ("tap_stack.py", "from cdktf_cdktf_provider_aws.s3_bucket import S3Bucket", "knows the provider"),
    ("lambdas/etl/rows.py", "import settings", "knows nothing of the infrastructure"),
    ("lambdas/etl/rows.py", "def f():\n    import cdktf", "knows nothing of the infrastructure"),
    ("lambdas/etl/rows.py", "from local import etl", "knows nothing of the infrastructure"),
    ("other.py", "", "has no place among the layers"),
]


@pytest.mark.parametrize(("path", "text", "expected"), BAD_IMPORTS, ids=[f"{path}: {text}" for path, text, _ in BAD_IMPORTS])
def test_bad_import_is_told(tmp_path, path, text, expected):
    """Design: file and line, what is imported, remedy."""
    (fault,) = import_faults(tmp_path, path, text)
    assert fault.startswith(f"{path}:")
    assert expected in fault


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tap_stack.py", "from lambdas.etl import contract"),
        ("tap_stack.py", "from lambdas.etl.contract import RAW"),
        ("main.py", "from cdktf import App\nfrom tap_stack import TapStack"),
        ("lambdas/etl/rows.py", "from . import contract\nfrom .files import File\nimport boto3"),
    ],
)
def test_good_imports_have_no_faults(tmp_path, path, text):
    """Else the tests above would prove nothing."""
    assert import_faults(tmp_path, path, text) == []


# --- the runner and the tools ---------------------------------------------------------------------------------------


def run(*checks):
    lines = []
    return runner.run(checks, lines.append), lines


def test_runner_prints_a_line_each_and_details_of_what_failed():
    """`make lint`: one line per check with its time; details only on failure."""
    failed, lines = run(runner.Check("good", list), runner.Check("bad", lambda: ["x: is wrong; do y"]))
    assert failed == 1
    assert sorted(line.split()[1] for line in lines[:2]) == ["bad", "good"]
    assert all(line.split()[-1] == "s" for line in lines[:2])
    assert lines[2:] == ["\nbad:", "  x: is wrong; do y"]


def test_runner_reads_no_stack_that_was_not_synthesised():
    """A stale cdktf.out would say that all is well."""
    read = []
    failed, lines = run(
        runner.Check("synth", lambda: ["broken"]),
        runner.Check("reads", lambda: read.append(1) or [], reads_stacks=True),
    )
    assert (failed, read) == (1, [])
    assert not any("reads" in line for line in lines)


def test_runner_survives_a_check_that_breaks():
    """A bug in one check is that check's fault, and the others still run."""

    def broken():
        raise RuntimeError("a bug")

    failed, lines = run(runner.Check("broken", broken), runner.Check("good", list))
    assert failed == 1
    assert any("a bug" in line for line in lines)


def test_unknown_checks_are_told(capsys):
    """`python -m checks NAME`."""
    assert runner.main(["nonsense"]) == 2
    assert "there are pyright, ruff" in capsys.readouterr().err


def test_missing_program_is_told():
    """With its remedy."""
    assert runner.command("no-such-program") == ["no-such-program is not installed; run `make lint`, which installs it"]


def test_ruff_finds_a_fault(tmp_path):
    """Its configuration is ours."""
    file = tmp_path / "x.py"
    file.write_text("import os\n")
    (found,) = runner.command(runner.TOOLS / "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(file))
    assert "F401" in found


def test_pyright_finds_a_fault(tmp_path):
    """The one type checker."""
    file = tmp_path / "x.py"
    file.write_text('x: int = "text"\n')
    (found,) = runner.command(runner.TOOLS / "pyright", "--pythonpath", sys.executable, str(file))
    assert "reportAssignmentType" in found


def test_checkov_finds_a_fault(tmp_path):
    """In its own environment, with our list of what it leaves out."""
    file = tmp_path / "cdk.tf.json"
    file.write_text(json.dumps({"resource": {"aws_s3_bucket": {"b": {"bucket": "b"}}}}))
    (found,) = runner.command(runner.CHECKOV, "--config-file", "checks/checkov/config.yaml", "-f", str(file))
    assert "CKV2_AWS_6" in found  # no public access block
    assert "CKV_AWS_145" not in found


def test_every_skip_of_checkov_has_its_reason():
    """Issue, item 6: a reasoned skip list."""
    lines = (ROOT / "checks" / "checkov" / "config.yaml").read_text(encoding="utf-8").splitlines()
    skips = [line for line in lines if line.strip().startswith("- CKV")]
    assert skips
    assert all(len(line.partition("#")[2]) > 10 for line in skips)
