"""How the comparison with the fork of CDKTF renames and compares (C1); the comparison itself is `make check-cdktn`."""

import pytest

from checks.cdktn.__main__ import ROOT, differences, renamed, values


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("from cdktf import App\n", "from cdktn import App\n"),
        ("    import cdktf\n", "    import cdktn\n"),
        ("from cdktf_cdktf_provider_aws import (\n", "from cdktn_provider_aws import (\n"),
        ('path.join("@cdktf", "provider-aws")', 'path.join("@cdktn", "provider-aws")'),
        ('HERE / "cdktf.json"', 'HERE / "cdktf.json"'),
    ],
)
def test_packages_are_renamed_and_nothing_else(ours, theirs):
    assert renamed(ours) == theirs


def test_nothing_of_the_old_packages_is_left():
    """C1: the rename reaches every import of the root."""
    for path in (*ROOT.glob("*.py"), ROOT / "aws_provider.cjs"):
        text = renamed(path.read_text(encoding="utf-8"))
        assert "cdktf_cdktf" not in text and "import cdktf" not in text and "from cdktf" not in text and "@cdktf" not in text


def test_every_value_has_a_path():
    assert dict(values({"a": [{"b": 1}, {}], "c": None})) == {"a.0.b": 1, "a.1": {}, "c": None}


def test_differences_tell_what_is_expected_from_what_is_not():
    ours = {"terraform": {"required_providers": {"aws": {"version": "5"}}}, "resource": {"kept": 1, "lost": 2}}
    theirs = {"terraform": {"required_providers": {"aws": {"version": "6"}}}, "resource": {"kept": 1, "new": []}}
    found = {each.path: (each.ours, each.theirs, each.reason is not None) for each in differences(ours, theirs)}
    assert found == {
        "terraform.required_providers.aws.version": ("5", "6", True),
        "resource.lost": (2, None, False),
        "resource.new": (None, [], False),
    }
