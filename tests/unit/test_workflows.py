"""The workflows of .github/ (P10): read as text and as YAML, since nothing here can run them; and the scripts that they call."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.stub import ANY, Stubber

import settings

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
FILES = sorted((GITHUB / "workflows").iterdir())
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES}
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in FILES}
JOBS = {(workflow, name): job for workflow, body in WORKFLOWS.items() for name, job in body["jobs"].items()}
STEPS = [(*where, step) for where, job in JOBS.items() for step in job.get("steps", [])]
ENVIRONMENTS = ("dev", "staging", "prod")
CREDENTIALS = "aws-actions/configure-aws-credentials"
DEPLOY = "./.github/workflows/deploy.yml"
GUIDE = (ROOT / "docs" / "ci-cd.md").read_text(encoding="utf-8")

every_workflow = pytest.mark.parametrize("name", WORKFLOWS)
every_job = pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.get("name") or job["uses"])


def triggers(name):
    """YAML 1.1 takes the key ``on`` for true."""
    return WORKFLOWS[name][True]


def assumes_a_role(job):
    return any(step.get("uses", "").startswith(CREDENTIALS) for step in job.get("steps", [])) or job.get("uses") == DEPLOY


def commands(where):
    return "\n".join(step.get("run", "") for workflow, job, step in STEPS if (workflow, job) == where)


# --- what runs ------------------------------------------------------------------------------------------------------


def test_there_are_workflows_for_each_step():
    """P10: pull request, promotion, deployment, rollback, and what the nights test; nothing else reads the folder."""
    assert set(WORKFLOWS) == {"deploy", "nightly", "promote", "pull-request", "rollback"}
    assert all(path.suffix == ".yml" for path in FILES)


@every_workflow
def test_actions_are_pinned_by_commit(name):
    """P10: a tag can be moved to other code. The comment tells people, and update tools, the version."""
    for line in re.findall(r"^.*\buses:.*$", TEXTS[name], re.MULTILINE):
        local = re.fullmatch(r"\s*(?:- )?uses: \./\.github/workflows/[\w-]+\.yml", line)
        pinned = re.fullmatch(r"\s*(?:- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
        assert local or pinned, line


def used():
    """(action, commit, version) of every action."""
    return {found for text in TEXTS.values() for found in re.findall(r"uses: ([\w/-]+)@([0-9a-f]+) # (v[\d.]+)", text)}


def test_guide_lists_the_actions():
    """P10: with the commit and the version that are pinned."""
    listed = re.findall(r"^\| `([\w/-]+)` \| `([0-9a-f]{40})` \| (v[\d.]+) \|", GUIDE, re.MULTILINE)
    assert len(used()) == len({action for action, _, _ in used()}), "one commit of each action"
    assert set(listed) == used()


def test_what_they_call_exists():
    """P10: make targets, scripts, workflows, environments."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(JOBS["nightly", "test"]["strategy"]["matrix"]["target"]) <= targets
    for text in TEXTS.values():
        assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
        for path in re.findall(r"\.github/[\w./-]+\.(?:py|sh|yml|env)\b", text):
            assert (ROOT / path).is_file(), path
    assert {path.name for path in (GITHUB / "scripts").iterdir() if path.is_file()} == {
        name for text in TEXTS.values() for name in re.findall(r"\.github/scripts/([\w.]+)", text)
    }


def test_pull_requests_are_checked_whole():
    """P10: settings of every environment, tests, policy scan."""
    run = commands(("pull-request", "check"))
    assert f"for environment in {' '.join(ENVIRONMENTS)}" in run
    assert "make synth" in run and "make test" in run
    assert triggers("pull-request") == {"pull_request": {"branches": ["main"]}}


def test_nights_run_what_takes_too_long_for_a_pull_request():
    """P10: each target by itself, whatever becomes of the others; who waits for a night can start it by hand."""
    assert set(triggers("nightly")) == {"schedule", "workflow_dispatch"}
    job = JOBS["nightly", "test"]
    assert job["strategy"] == {
        "fail-fast": False, "matrix": {"target": ["test-examples", "test-faults", "test-permissions", "test-upgrade"]}}
    last = job["steps"][-1]
    assert (last["run"], last["env"]) == ('make "$TARGET"', {"TARGET": "${{ matrix.target }}"})
    assert "continue-on-error" not in TEXTS["nightly"]


# --- who may do what ------------------------------------------------------------------------------------------------


@every_workflow
def test_nothing_is_permitted_that_no_job_asks_for(name):
    """P10: the workflow permits nothing, each job says what it needs."""
    assert WORKFLOWS[name]["permissions"] == {}
    assert all("permissions" in job for job in WORKFLOWS[name]["jobs"].values())


def test_jobs_have_these_permissions_and_no_others():
    """P10: what writes to GitHub runs none of the repository's code, and what assumes a role writes nothing to GitHub."""
    of_aws = {"contents": "read", "id-token": "write"}
    expected = {
        ("deploy", "apply"): of_aws,
        ("deploy", "plan"): of_aws,
        ("nightly", "test"): {"contents": "read"},
        ("promote", "check"): {"contents": "read"},
        ("promote", "dev"): of_aws,
        ("promote", "prod"): of_aws,
        ("promote", "staging"): of_aws,
        ("promote", "tag"): {"contents": "write"},
        ("pull-request", "check"): {"contents": "read"},
        ("pull-request", "comment"): {"pull-requests": "write"},
        ("pull-request", "plan"): of_aws,
        ("rollback", "deploy"): of_aws,
        ("rollback", "find"): {"contents": "read"},
    }
    assert {where: job["permissions"] for where, job in JOBS.items()} == expected
    for where, job in JOBS.items():
        assert assumes_a_role(job) == ("id-token" in job["permissions"]), where
    for where in (("promote", "tag"), ("pull-request", "comment")):
        assert not any("uses" in step for step in JOBS[where]["steps"]), where


def test_forks_get_no_credentials():
    """P10: ``pull_request_target`` would give a fork's code this repository's rights, ``workflow_run`` as well."""
    for name in WORKFLOWS:
        assert not {"pull_request_target", "workflow_run"} & set(triggers(name))
    for (workflow, _), job in JOBS.items():
        if workflow == "pull-request" and assumes_a_role(job):
            assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
            assert "github.actor != 'dependabot[bot]'" in job["if"]


def test_pull_requests_never_use_the_role_that_deploys():
    """P10: that role trusts environments alone; only the job that waits for one asks for it."""
    assert "DEPLOY_ROLE_ARN" not in TEXTS["pull-request"]
    for where, job in JOBS.items():
        uses = "DEPLOY_ROLE_ARN" in json.dumps(job)
        assert uses == (where == ("deploy", "apply")) == ("environment" in job), where
    assert JOBS["deploy", "apply"]["environment"] == "${{ inputs.environment }}"


def test_no_secret_is_kept():
    """P10: credentials come by OIDC, GitHub's own token from the job."""
    for text in TEXTS.values():
        assert "secrets." not in text and "secrets:" not in text
        assert "aws-access-key-id" not in text
    for workflow, job, step in STEPS:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, (workflow, job)


def test_no_input_becomes_shell():
    """P10: a tag, a title or a plan is data; an expression inside ``run`` would be pasted into the script."""
    for workflow, job, step in STEPS:
        assert "${{" not in step.get("run", ""), (workflow, job, step.get("name"))


def test_no_trace_shows_what_is_secret():
    """P10: a plan as JSON holds the state's secrets, and so does the list of outputs: neither is printed."""
    for workflow, job, step in STEPS:
        run = step.get("run", "")
        assert not re.search(r"set -\w*x|show -json|printenv|^env\b", run, re.MULTILINE), (workflow, job)
        for line in run.splitlines():
            if "output -json" in line:
                assert '>"$RUNNER_TEMP/' in line


# --- how it runs ----------------------------------------------------------------------------------------------------


@every_job
def test_jobs_end_and_run_on_a_known_machine(job):
    """P10: ``latest`` would change it under us."""
    if "uses" not in job:
        assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"])
        assert 0 < job["timeout-minutes"] <= 75


def test_one_deployment_at_a_time():
    """P10: runs of one pull request replace each other; a deployment is never broken off."""
    assert WORKFLOWS["pull-request"]["concurrency"]["cancel-in-progress"] is True
    for name in ("promote", "rollback"):
        assert WORKFLOWS[name]["concurrency"]["cancel-in-progress"] is False
    assert JOBS["deploy", "apply"]["concurrency"] == {
        "group": "deploy-${{ inputs.environment }}", "cancel-in-progress": False,
    }


def test_promotion_goes_from_environment_to_environment():
    """P10: the same commit, each after the one before; the tag last, for the rollback."""
    needs = {name: job.get("needs") for name, job in WORKFLOWS["promote"]["jobs"].items()}
    assert needs == {"check": None, "dev": "check", "staging": "dev", "prod": "staging", "tag": "prod"}
    for name in ENVIRONMENTS:
        job = JOBS["promote", name]
        assert (job["uses"], job["with"]) == (DEPLOY, {"environment": name, "commit": "${{ github.sha }}"})
    assert "refs/tags/release-" in commands(("promote", "tag"))


def test_what_was_approved_is_applied():
    """P10: plan, approval, the same plan again, apply of its file, release, smoke check, in this order."""
    assert JOBS["deploy", "apply"]["needs"] == "plan"
    run = commands(("deploy", "apply"))
    order = ["plan.py pet-detector --approved", "terraform apply -input=false -no-color plan.tfplan", "release.py", "smoke.py"]
    assert [run.index(each) for each in order] == sorted(run.index(each) for each in order)
    assert "--read-only" in commands(("deploy", "plan")) and "--read-only" not in run
    assert "-auto-approve" not in run


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_name_settings_that_exist(name):
    """P10, C5a: a misspelt setting would be passed over in silence. No secret stands there."""
    lines = (GITHUB / "environments" / f"{name}.env").read_text(encoding="utf-8").splitlines()
    values = dict(re.fullmatch(r"([A-Z_]+)=(\S.*)", line).groups() for line in lines if not line.startswith("#"))
    known = {
        settings.ENVIRONMENT_NAMES.get(field, field.upper())
        for model in vars(settings).values()
        if isinstance(model, type) and issubclass(model, settings.CommonSettings)
        for field in model.model_fields
    }
    assert set(values) <= known | {"PLAN_ROLE_ARN", "DEPLOY_ROLE_ARN"}
    assert values["ENVIRONMENT_SUFFIX"] == name
    assert values["PLAN_ROLE_ARN"] != values["DEPLOY_ROLE_ARN"]
    settings.load({}, values)


# --- plan.py --------------------------------------------------------------------------------------------------------


def script(name):
    """A script of .github/scripts as a module."""
    path = GITHUB / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def change(address="aws_x.y", actions=("update",), mode="managed", **values):
    changed = {"actions": list(actions), "before": {"a": 0}, "after": {"a": 1}, **values}
    return {"address": address, "mode": mode, "change": changed}


DIFFERENT = {
    "value": [change(after={"a": 2})],
    "action": [change(actions=("delete", "create"))],
    "resource": [change("aws_x.z")],
    "unknown": [change(after_unknown={"b": True})],
    "one more": [change(), change("aws_x.z")],
    "none": [],
    "deposed": [{**change(), "deposed": "00000000"}],
}


@pytest.mark.parametrize("changes", DIFFERENT.values(), ids=DIFFERENT)
def test_another_plan_has_another_digest(changes):
    """P10: so that only what was approved is applied."""
    digest = script("plan").digest
    assert digest({"resource_changes": changes}) != digest({"resource_changes": [change()]})


def test_another_output_is_another_plan():
    """P10."""
    digest = script("plan").digest
    before = {"output_changes": {"a": {"actions": ["update"], "after": 1}}}
    after = {"output_changes": {"a": {"actions": ["update"], "after": 2}}}
    assert digest(before) != digest(after) != digest({})


def test_the_same_plan_has_the_same_digest():
    """P10: order, time, what stays, and how data sources were read make no difference."""
    digest = script("plan").digest
    first = {"resource_changes": [change(), change("aws_x.z")], "timestamp": "1"}
    second = {
        "resource_changes": [
            change("aws_x.z"),
            change("data.aws_d.e", actions=("read",), mode="data"),
            change("aws_x.same", actions=("no-op",)),
            change(),
        ],
        "output_changes": {"a": {"actions": ["no-op"], "after": 1}},
        "timestamp": "2",
    }
    assert digest(first) == digest(second)


def test_report_fits_into_a_comment():
    """P10: GitHub refuses comments above 65,536 characters; a plan cannot end its own frame."""
    report = script("plan").report
    long = report("pet-detector", "dev", "x" * 100_000)
    assert len(long) < 65_536
    assert "The rest is in the job's log." in long
    short = report("pet-detector", "dev", "a\n```\nb")
    assert short == "Plan of `pet-detector` for `dev`\n\n````text\na\n```\nb\n````\n"


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """plan.py on a stack that Terraform has planned; what it gives to GitHub lies in files."""
    plan = script("plan")
    (tmp_path / "pet-detector").mkdir()
    monkeypatch.setattr(plan, "STACKS", tmp_path)
    for variable in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    called = []

    def terraform(folder, *words):
        called.append(words)
        return json.dumps({"resource_changes": [change()]}) if "-json" in words else "1 to change"

    monkeypatch.setattr(plan, "terraform", terraform)
    plan.called = called
    return plan


def test_plan_is_compared_with_the_approved_one(planned, capsys, tmp_path):
    """P10: the same goes on, another stops."""
    approved = planned.digest({"resource_changes": [change()]})
    assert planned.main(["pet-detector", "--approved", approved]) == 0
    assert planned.main(["pet-detector", "--approved", "0" * 64]) == planned.CHANGED
    assert planned.main(["pet-detector", "--approved", ""]) == planned.CHANGED, "a job that told nothing approved nothing"
    assert "not the plan that was approved" in capsys.readouterr().err
    outputs = (tmp_path / "GITHUB_OUTPUT").read_text()
    assert re.search(rf"digest<<(\w{{32}})\n{approved}\n\1\n", outputs)
    assert "1 to change" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()


def test_plan_of_a_reader_takes_no_lock(planned):
    """P10: its role may not write the lock table."""
    planned.main(["pet-detector", "--read-only"])
    planned.main(["pet-detector"])
    locks = [word for words in planned.called for word in words if word.startswith("-lock=")]
    assert locks == ["-lock=false", "-lock=true"]


def test_plan_of_what_is_not_synthesised_is_told(planned, capsys):
    """P10: in words."""
    assert planned.main(["other"]) == 2
    assert "make synth" in capsys.readouterr().err


# --- release.py -----------------------------------------------------------------------------------------------------

TOLD = {"function": "pet-image-api", "alias": "live", "application": "app", "group": "group"}
VERSIONS = {"Versions": [{"Version": each} for each in ("$LATEST", "9", "10")]}


@pytest.fixture
def aws():
    """Clients of Lambda and CodeDeploy with the answers they will give."""
    clients = {
        name: boto3.client(name, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        for name in ("lambda", "codedeploy")
    }
    stubs = {name: Stubber(client) for name, client in clients.items()}
    for stub in stubs.values():
        stub.activate()
    yield clients["lambda"], clients["codedeploy"], stubs["lambda"], stubs["codedeploy"]
    for stub in stubs.values():
        stub.assert_no_pending_responses()


def deployment(status, **more):
    return {"deploymentInfo": {"status": status, **more}}


def run_release(functions, deployments):
    said, waits = [], []
    script_release = script("release")
    try:
        script_release.release(TOLD, functions, deployments, say=said.append, wait=lambda: waits.append(1))
    except script_release.ReleaseError as error:
        return str(error), said, waits
    return None, said, waits


def test_new_version_is_released(aws):
    """P10: from the alias's version to the one published last, by number and not by text."""
    functions, deployments, of_lambda, of_deploy = aws
    of_lambda.add_response("get_alias", {"FunctionVersion": "9"}, {"FunctionName": "pet-image-api", "Name": "live"})
    of_lambda.add_response("list_versions_by_function", VERSIONS, {"FunctionName": "pet-image-api"})
    expected = {"applicationName": "app", "deploymentGroupName": "group", "revision": ANY, "description": ANY}
    of_deploy.add_response("create_deployment", {"deploymentId": "d-1"}, expected)
    for status in ("Created", "InProgress", "Succeeded"):
        of_deploy.add_response("get_deployment", deployment(status), {"deploymentId": "d-1"})
    fault, said, waits = run_release(functions, deployments)
    assert fault is None
    assert len(waits) == 2
    assert said[-1] == "pet-image-api:live is at version 10"


def test_revision_is_an_appspec_with_its_digest():
    """P10: what CodeDeploy wants for Lambda (its user guide, "AppSpec file structure")."""
    import hashlib

    revision = script("release").revision("f", "live", "9", "10")
    content = revision["appSpecContent"]["content"]
    assert revision["revisionType"] == "AppSpecContent"
    assert revision["appSpecContent"]["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    properties = {"Name": "f", "Alias": "live", "CurrentVersion": "9", "TargetVersion": "10"}
    function = {"Type": "AWS::Lambda::Function", "Properties": properties}
    assert json.loads(content) == {"version": 0.0, "Resources": [{"function": function}]}


def test_nothing_new_is_nothing_to_release(aws):
    """P10: a deployment from a version to itself would be refused."""
    functions, deployments, of_lambda, _ = aws
    of_lambda.add_response("get_alias", {"FunctionVersion": "10"})
    of_lambda.add_response("list_versions_by_function", VERSIONS)
    fault, said, _ = run_release(functions, deployments)
    assert (fault, said) == (None, ["pet-image-api:live is at version 10 already"])


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_rolled_back_release_is_told(aws, status):
    """P10: why, which deployment, and where the alias is now."""
    functions, deployments, of_lambda, of_deploy = aws
    of_lambda.add_response("get_alias", {"FunctionVersion": "9"})
    of_lambda.add_response("list_versions_by_function", VERSIONS)
    of_deploy.add_response("create_deployment", {"deploymentId": "d-1"})
    why = {"code": "ALARM_ACTIVE", "message": "an alarm fired"}
    of_deploy.add_response("get_deployment", deployment(status, errorInformation=why))
    of_lambda.add_response("get_alias", {"FunctionVersion": "9"})
    fault, _, _ = run_release(functions, deployments)
    assert f"deployment d-1 is {status}: an alarm fired" in fault
    assert "at version 9" in fault


def test_release_that_does_not_end_is_told(aws, monkeypatch):
    """P10: it waits, but not for ever."""
    functions, deployments, of_lambda, of_deploy = aws
    of_lambda.add_response("get_alias", {"FunctionVersion": "9"})
    of_lambda.add_response("list_versions_by_function", VERSIONS)
    of_deploy.add_response("create_deployment", {"deploymentId": "d-1"})
    for _ in range(script("release").LOOKS):
        of_deploy.add_response("get_deployment", deployment("InProgress"))
    of_lambda.add_response("get_alias", {"FunctionVersion": "9"})
    fault, _, _ = run_release(functions, deployments)
    assert "deployment d-1 is InProgress" in fault


@pytest.mark.parametrize("outputs", [{}, {"pet_api_release": {"value": ""}}])
def test_without_code_deploy_there_is_nothing_to_do(tmp_path, capsys, outputs):
    """P10: the switch is off, the alias has moved with the apply."""
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(outputs))
    assert script("release").main([str(file)]) == 0
    assert "no CodeDeploy" in capsys.readouterr().out


# --- smoke.py -------------------------------------------------------------------------------------------------------


def api(answers):
    """An API that gives these answers, by (path, whether a key came)."""
    return lambda url, key: answers[url.removeprefix("https://api/v1/images"), key == "key"]


GOOD = {
    ("", True): (200, {"images": []}),
    ("/00000000-0000-0000-0000-000000000000", True): (404, {"code": "image_not_found"}),
    ("", False): (403, {"code": "invalid_api_key"}),
}
BAD = {
    "list fails": ({("", True): (502, {})}, "GET /images: expected 200 , came 502"),
    "refused, but not by the key": ({("", False): (403, {"code": "blocked"})}, "came 403 blocked"),
    "anybody may list": ({("", False): (200, {})}, "GET /images without a key: expected 403"),
    "missing is an error": (
        {("/00000000-0000-0000-0000-000000000000", True): (500, {"code": "internal_error"})}, "came 500 internal_error",
    ),
}


@pytest.mark.parametrize("url", ["https://api/v1", "https://api/v1/"])
def test_smoke_of_an_api_that_works(url):
    """P1a, P10."""
    assert script("smoke").faults(url, "key", api(GOOD)) == []


@pytest.mark.parametrize(("answers", "expected"), BAD.values(), ids=BAD)
def test_smoke_of_an_api_that_does_not(answers, expected):
    """P1a, P10: what was expected, what came, and never the key."""
    (fault,) = script("smoke").faults("https://api/v1", "key", api({**GOOD, **answers}))
    assert expected in fault
    assert "key" not in fault.replace("without a key", "").replace("invalid_api_key", "")


def test_smoke_of_an_api_that_is_not_there():
    """P10: in words."""

    def nobody(url, key):
        raise OSError("refused")

    found = script("smoke").faults("https://api/v1", "key", nobody)
    assert len(found) == 3
    assert all(fault.endswith("no answer: refused") for fault in found)


def test_key_goes_over_https_only():
    """P10, C7."""
    with pytest.raises(OSError, match="not https"):
        script("smoke").ask("http://api/v1/images", "key")


# --- released_commit.sh ---------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    """A repository whose main has two commits, the first tagged; a third, tagged, was never on main."""

    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        run = subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "--message=1")
    git("tag", "release-1")
    first = git("rev-parse", "HEAD")
    git("commit", "--quiet", "--allow-empty", "--message=2")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    git("checkout", "--quiet", "-b", "other")
    git("commit", "--quiet", "--allow-empty", "--message=3")
    git("tag", "release-3")
    return tmp_path, first


def released(folder, *words):
    return subprocess.run(
        ["bash", str(GITHUB / "scripts" / "released_commit.sh"), *words], cwd=folder, capture_output=True, text=True
    )


def test_release_is_found(repository):
    """P10: by its tag."""
    folder, first = repository
    assert released(folder, "release-1").stdout == f"commit={first}\n"


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("release-2", "no such tag: release-2. There are: release-"),
        ("release-3", "never on main"),
        ("main", "not the tag of a release"),
        ("release-1; id", "not the tag of a release"),
        ("--help", "not the tag of a release"),
        ("", "not the tag of a release"),
    ],
)
def test_what_was_never_released_is_not_rolled_back_to(repository, tag, expected):
    """P10: who may push a tag must not thereby deploy; nothing is printed that a job would take for a commit."""
    run = released(repository[0], tag)
    assert run.returncode == 2
    assert expected in run.stderr
    assert run.stdout == ""


def test_scripts_say_how_they_are_called():
    """P10: without arguments, exit code 2 and no traceback."""
    for name in ("release", "smoke", "plan"):
        run = subprocess.run([sys.executable, str(GITHUB / "scripts" / f"{name}.py")], capture_output=True, text=True)
        assert run.returncode == 2
        assert name in run.stderr and "Traceback" not in run.stderr
