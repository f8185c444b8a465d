"""P1a, C14: the commands of docs/local.md do what is said there."""

import os
import re
import shutil
import subprocess

import pytest

from local.emulator import ROOT


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
def test_the_pet_detector_with_curl(pets, tmp_path):
    """P1a, P1b: every block of commands but the first, which asks for address and key."""
    document = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")
    section = document.split("## The pet detector with curl\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)[1:]
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", "".join(blocks)], cwd=tmp_path, check=False, capture_output=True,
                          text=True, timeout=120, env={**os.environ, "API": pets.url, "KEY": pets.key, "NO_PROXY": "*"})
    assert done.returncode == 0, done.stderr
    told = done.stdout
    assert len(blocks) == 3 and '"animal": "cat"' in told and '"status": "completed"' in told and "the same picture" in told
    assert told.count('"status_path"') == 1 and '"images"' in told and '"code": "invalid_api_key"' in told
