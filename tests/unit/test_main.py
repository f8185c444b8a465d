"""The app as a command: what it says and with which exit code (C5a)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(folder, **environ):
    """main.py as `cdktf` calls it, in a copy of the project without its tests, with only these settings."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, str(folder / "main.py")],
        cwd=folder,
        env={**inherited, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def copy(target):
    for path in (*ROOT.glob("*.py"), ROOT / "aws_provider.cjs"):
        shutil.copy(path, target)
    for name in ("apis", "lambdas", "workflows"):
        shutil.copytree(ROOT / name, target / name)
    return target


def test_bad_settings_give_one_message_and_exit_code_2(tmp_path):
    """C5a: every fault, of the context and of the environment, at once; no traceback; nothing synthesised."""
    folder = copy(tmp_path)
    (folder / "cdktf.json").write_text(json.dumps({"context": {"owner": "", "nonsense": 1}}))
    result = run(folder, ENVIRONMENT_SUFFIX="No Good", AWS_REGION="here", ETL_MAX_REJECT_RATIO="2")
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == "These settings are wrong:"
    assert len(lines) == 1 + 5
    for source in ("owner=''", "nonsense=1", "ENVIRONMENT_SUFFIX", "AWS_REGION", "ETL_MAX_REJECT_RATIO"):
        assert sum(source in line for line in lines) == 1, source
    assert "Traceback" not in result.stderr
    assert not (folder / "cdktf.out").exists()


def test_context_that_is_no_json_is_told_the_same_way(tmp_path):
    """C5a."""
    folder = copy(tmp_path)
    (folder / "cdktf.json").write_text("{")
    result = run(folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert "cdktf.json: is not a JSON object" in result.stderr
    assert "Traceback" not in result.stderr


def test_good_settings_synthesise_every_stack(tmp_path):
    """C4: all of them, with the code of the functions beside them, whatever the folder is called."""
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    result = run(copy(folder), ENVIRONMENT_SUFFIX="dev")
    assert (result.returncode, result.stderr) == (0, "")
    stacks = folder / "cdktf.out" / "stacks"
    assert sorted(each.name for each in stacks.iterdir()) == ["ingestion", "pet-detector", "state-backend", "tap"]
    for name in ("ingestion", "pet-detector", "tap"):
        stack = json.loads((stacks / name / "cdk.tf.json").read_text())
        for function in stack["resource"]["aws_lambda_function"].values():
            assert (stacks / name / function["filename"]).is_file()
        assert stack["terraform"]["backend"]["s3"]["key"] == f"dev/{name}.tfstate"
