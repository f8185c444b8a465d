"""P1a, P1b, C14: the walk-through of docs/pet-detector.md, block by block as a reader would paste it into bash."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from local.emulator import ACCESS_KEY, ROOT, SECRET_KEY

_SECTION = (ROOT / "docs" / "pet-detector.md").read_text(encoding="utf-8").split("\n## Walk-through\n")[1].split("\n## ")[0]
_ON_AWS, *_BLOCKS = re.findall(r"^```sh\n(.*?)^```$", _SECTION, re.DOTALL | re.MULTILINE)
_MARK = "<<< end of a block >>>"
pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def bash(aws, deployment, tmp_path_factory):
    """`bash(commands)`: what they print, run in a checkout in which `make local-up` has left its outputs."""
    checkout = tmp_path_factory.mktemp("checkout")
    (checkout / "samples").symlink_to(ROOT / "samples")
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (checkout / ".local").mkdir()
    where = {"endpoint": aws.endpoint, "region": aws.region, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    (checkout / ".local" / "outputs.json").write_text(json.dumps({**where, **deployment.outputs}))

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            check=False,
            cwd=checkout,
            env={**aws.environment(), "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert not done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def printed(bash):
    """What each block prints, by its heading; blocks under one heading together."""
    outputs = bash(f"\necho '{_MARK}'\n".join(_BLOCKS)).split(f"{_MARK}\n")
    assert len(outputs) == len(_BLOCKS)
    headings = re.findall(r"^### (.+)$|^(```sh)$", _SECTION, re.MULTILINE)
    found: dict[str, str] = {}
    heading, blocks = "", iter(["", *outputs])  # the first block is for AWS
    for title, block in headings:
        heading = title or heading
        if block:
            found[heading] = found.get(heading, "") + next(blocks)
    return found


def test_a_picture_is_uploaded_by_its_form(printed):
    """P1b: an id is promised, and S3 takes the form."""
    assert re.fullmatch(rf"promised {_UUID}\nS3 says 204\n", printed["Upload a picture"])


def test_it_is_a_cat(printed):
    """P1a, P4."""
    promised = printed["Upload a picture"].split()[1]
    image = json.loads(printed["What became of it"])
    assert (image["id"], image["status"], image["animal"], image["filename"]) == (promised, "completed", "cat", "cat.jpg")
    assert f"/cats/{promised}/cat.jpg" in image["location"]


def test_the_download_is_what_was_uploaded(printed):
    """P1b."""
    assert printed["Download it"] == "the same bytes\n"


def test_a_picture_inside_of_the_request_is_a_dog(printed):
    """P1b."""
    image = json.loads(printed["A picture in the request"])
    assert (image["status"], image["animal"], image["filename"], image["format"]) == ("completed", "dog", "dog.png", "png")


def test_the_list_goes_from_the_newest_to_the_oldest(printed):
    """P1a: page by page, to the end; other tests may have left pictures of theirs behind these."""
    lines = printed["The list"].splitlines()
    times = [line.split()[0] for line in lines]
    assert times == sorted(times, reverse=True)
    for expected in ("completed dog", "completed cat"):
        assert any(expected in line for line in lines)


def test_what_is_wrong_is_refused(printed):
    """P1a, P1b, P9: by API Gateway, by the function, by its schema, by S3, by its content."""
    answers = printed["What is refused"].splitlines()
    codes = [(json.loads(line.rpartition(" ")[0])["code"], line.rpartition(" ")[2]) for line in answers[:3]]
    assert codes == [("invalid_api_key", "403"), ("image_not_found", "404"), ("invalid_request", "400")]
    assert answers[3] == "S3 says 403"
    image = json.loads("\n".join(answers[4:]))
    assert (image["status"], image["failure"]["code"]) == ("failed", "not_an_image")


def test_every_block_was_run(printed):
    """C14: no heading of the section is without its commands, and no command without a heading."""
    assert list(printed) == re.findall(r"^### (.+)$", _SECTION, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("aws"), reason="needs the AWS CLI")
def test_the_key_can_be_had_by_the_aws_cli(bash, deployment):
    """P8b: the block for AWS gives what the one for this machine gives."""
    outputs = deployment.outputs["pet-detector"]
    on_aws = _ON_AWS.replace("PET_API_URL", outputs["pet_api_url"]).replace("PET_API_KEY_ID", outputs["pet_api_key_id"])
    show = 'echo "$API_URL $API_KEY"\n'
    assert bash(on_aws + show) == bash(_BLOCKS[0] + show)
