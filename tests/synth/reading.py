"""Reads synthesised stacks: resources by kind and construct path, policies as ``(action, resource)`` pairs."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cdktf import App, TerraformElement, TerraformStack, Testing

ACCOUNT = "111122223333"
DOCUMENT = re.compile(r"^\$\{data\.aws_iam_policy_document\.(\w+)\.json\}$")
REFERENCE = re.compile(r"\$\{(\w+)\.(\w+)\.(\w+)\}")


_folder = tempfile.TemporaryDirectory()
_synthesised: dict[tuple[Callable[..., TerraformStack], str, str], Synthesised] = {}


def synthesise(kind: Callable[..., TerraformStack], id_: str, **properties: Any) -> Synthesised:
    """A stack alone in an app, synthesised; once for the same properties, since tests only read it."""
    key = kind, id_, json.dumps(properties, sort_keys=True)
    if key not in _synthesised:
        _synthesised[key] = Synthesised.of(kind(app(), id_, **properties))
    return _synthesised[key]


def app() -> App:
    """An app whose folder is gone when the tests are over; CDKTF would leave one behind for each."""
    return Testing.app(outdir=_folder.name)


class Synthesised:
    """A stack's JSON. Account, partition and the hashes of logical ids are replaced by readable text where a method says so."""

    def __init__(self, text: str, paths: dict[str, str]) -> None:
        """``paths`` says where in the stack the construct of each logical id stands."""
        self.text = text
        self.json: dict[str, Any] = json.loads(text)
        self.paths = paths

    @classmethod
    def of(cls, stack: TerraformStack) -> Synthesised:
        text = Testing.synth(stack)  # leaves out the metadata that would tell the paths
        elements = [each for each in stack.node.find_all() if isinstance(each, TerraformElement) and each is not stack]
        return cls(text, {each.friendly_unique_id: each.node.path.split("/", 1)[1] for each in elements})

    def under(self, system: str) -> Synthesised:
        """What belongs to one system: what stands below its construct (``etl``), and the outputs that begin with its name."""
        def own(bodies: dict[str, Any]) -> dict[str, Any]:
            return {id_: body for id_, body in bodies.items() if self.paths[id_].startswith(f"{system}/")}

        part = {block: {kind: own(bodies) for kind, bodies in self.json[block].items()} for block in ("data", "resource")}
        part["resource"] = {kind: bodies for kind, bodies in part["resource"].items() if bodies}
        part["provider"] = self.json["provider"]
        part["output"] = {name: each for name, each in self.json["output"].items() if name.startswith(f"{system}_")}
        return Synthesised(json.dumps(part), self.paths)

    @property
    def region(self) -> str:
        """Where all of it stands, by the providers that make its resources."""
        regions = {_reference(each): each["region"] for each in self.json["provider"]["aws"]}
        (region,) = {regions[body.get("provider")] for _, _, body in self.every()}
        return region

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of the account, in the region in which all of it stands."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"

    def kinds(self) -> set[str]:
        """The types of all resources."""
        return set(self.json["resource"])

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """Resources of a type by construct path without the stack: ``etl/data/bucket``."""
        return {self.paths[id_]: body for id_, body in self.json.get("resource", {}).get(kind, {}).items()}

    def one(self, kind: str, path: str | None = None) -> dict[str, Any]:
        """The resource of a type, of the construct at this path if there are several."""
        found = {at: body for at, body in self.all(kind).items() if path is None or at == path or at.startswith(f"{path}/")}
        assert len(found) == 1, f"{kind} at {path}: {sorted(found)} of {sorted(self.all(kind))}"
        return next(iter(found.values()))

    def every(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Type, construct path and body of every resource."""
        for kind in self.json["resource"]:
            for path, body in self.all(kind).items():
                yield kind, path, body

    def address(self, kind: str, path: str) -> str:
        """``type.logical_id`` of the resource at this path, as ``depends_on`` writes it."""
        for id_ in self.json["resource"][kind]:
            if self.paths[id_] == path:
                return f"{kind}.{id_}"
        raise AssertionError(f"no {kind} at {path}")

    def statements(self, reference: str) -> list[dict[str, Any]]:
        """The statements of the document that a policy attribute refers to."""
        match = DOCUMENT.match(reference)
        assert match, f"{reference} is no policy document"
        return self.json["data"]["aws_iam_policy_document"][match[1]]["statement"]

    def readable(self, value: Any) -> Any:
        """The value with account and partition filled in, and ``${type.id.attribute}`` as ``<type path attribute>``."""
        text = json.dumps(value)
        text = text.replace("${data.aws_partition.partition.partition}", "aws")
        text = text.replace("${data.aws_caller_identity.account.account_id}", ACCOUNT)

        def named(match: re.Match[str]) -> str:
            return f"<{match[1]} {self.paths[match[2]]} {match[3]}>" if match[2] in self.paths else match[0]

        return json.loads(REFERENCE.sub(named, text))

    def permissions(self, role: str, policy: str) -> set[tuple[str, str]]:
        """Every (action, resource) that the ``runtime`` or ``grants`` policy of the role at this path allows."""
        body = self.one("aws_iam_role_policy", f"{role}/{policy}_policy")
        assert self.readable(body["role"]) == f"<aws_iam_role {role}/role id>"
        statements = self.statements(body["policy"])
        assert all(statement.get("effect", "Allow") == "Allow" for statement in statements)
        assert not any("condition" in statement for statement in statements)
        return {
            (action, resource)
            for statement in self.readable(statements)
            for action in statement["actions"]
            for resource in statement["resources"]
        }

    def machine(self, path: str) -> dict[str, Any]:
        """The definition of the state machine of the construct at this path."""
        return json.loads(self.readable(self.one("aws_sfn_state_machine", path)["definition"]))


def _reference(provider: dict[str, Any]) -> str | None:
    """How a resource names this provider; the stack's own it does not name."""
    return f"aws.{provider['alias']}" if "alias" in provider else None


def shapes(system: str) -> list[Path]:
    """The folders of a system's payloads, the newest shape last; see payloads/README.md."""
    folders = (each for each in (Path(__file__).with_name("payloads") / system).iterdir() if each.is_dir())
    return sorted(folders, key=lambda each: int(each.name))


def root() -> Path:
    return Path(__file__).resolve().parents[2]
