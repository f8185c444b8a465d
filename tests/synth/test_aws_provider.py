"""The provider loads resource by resource, in Python and in Node, and synthesises what it would have synthesised anyway."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aws_provider

ROOT = Path(aws_provider.__file__).parent


def synthesise(folder: Path, program: str) -> dict[str, bytes]:
    environment = {**os.environ, "CDKTF_OUTDIR": str(folder)}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True)
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("cdk.tf.json")}


def test_synthesis_is_the_same_where_node_loads_everything(tmp_path: Path):
    run = "import runpy; runpy.run_path('main.py', run_name='__main__')"
    lazy = synthesise(tmp_path / "lazy", run)
    eager = synthesise(tmp_path / "eager", f"import constructs; {run}")
    assert len(lazy) >= 4 and lazy == eager


@pytest.mark.parametrize("first", ["", "import constructs; "])
def test_programs_started_later_do_not_inherit_the_preload(first: str):
    program = f"{first}import aws_provider, os; print(os.environ.get('NODE_OPTIONS'))"
    environment = {key: value for key, value in os.environ.items() if key != "NODE_OPTIONS"}
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "None"


def test_options_of_the_user_reach_node_too(tmp_path: Path):
    mine = tmp_path / "my own.cjs"
    mine.write_text(f"require('node:fs').writeFileSync({str(tmp_path / 'seen')!r}, process.env.NODE_OPTIONS)")
    program = "import aws_provider, os; print(os.environ['NODE_OPTIONS'])"
    environment = {**os.environ, "NODE_OPTIONS": f'--require "{mine}"'}
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == environment["NODE_OPTIONS"]
    assert "aws_provider.cjs" in (tmp_path / "seen").read_text()


def test_a_resource_is_loaded_when_it_is_asked_for(tmp_path: Path):
    library = tmp_path / "node_modules/@cdktf/provider-aws/lib"
    library.mkdir(parents=True)
    (library / "index.js").write_text("exports.used = require('./used.js'); exports.unused = require('./unused.js');")
    (library / "used.js").write_text("exports.Used = class { name() { return require('./deeper.js').name; } };")
    (library / "deeper.js").write_text("exports.name = 'used';")
    (library / "unused.js").write_text("throw new Error('loaded though nobody asked');")
    ask = "const aws = require('@cdktf/provider-aws/lib/index.js'); console.log(new aws.used.Used().name(), aws.used.Other);"
    (tmp_path / "ask.js").write_text(ask)
    shown = subprocess.run(
        ["node", "--require", str(ROOT / "aws_provider.cjs"), "ask.js"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert shown.stdout.split() == ["used", "undefined"]
