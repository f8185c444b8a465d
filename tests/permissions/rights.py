"""Permissions by name, and taking some away from the deployed roles through IAM."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from local.deployment import LOCAL_SETTINGS
from local.emulator import Emulator

_ENVIRONMENT = re.compile(rf"-(prod|{LOCAL_SETTINGS['ENVIRONMENT_SUFFIX']})(?![\w-])")


class Permission(NamedTuple):
    """One action of one role on one resource, under the same name in every environment."""

    role: str
    action: str
    on: str
    """The keys, or `bucket`; `key` or `collection`, of which a role knows one at most; else the end of the ARN."""

    def __str__(self) -> str:
        return f"{self.role} {self.action} {self.on}"

    @classmethod
    def of(cls, role: str, action: str, resource: str) -> Permission:
        return cls(_plain(role), action, _plain(_part(resource)))


def _part(resource: str) -> str:
    if resource == "*":
        return resource
    _, _, service, _, account, name = resource.split(":", 5)
    if service == "s3":
        return name.partition("/")[2] or "bucket"
    if service in ("kms", "aoss"):
        return name.partition("/")[0]
    return name.replace(account, "ACCOUNT")


def _plain(text: str) -> str:
    return _ENVIRONMENT.sub("", text)


def _pairs(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for statement in _listed(policy["Statement"]):
        yield from ((action, resource) for action in _listed(statement["Action"]) for resource in _listed(statement["Resource"]))


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


class Deployed:
    """The inline policies of every deployed role."""

    def __init__(self, aws: Emulator):
        self._iam = aws.client("iam")
        self._policies = {
            (role["RoleName"], name): self._iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
            for page in self._iam.get_paginator("list_roles").paginate() for role in page["Roles"]
            for name in self._iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        }
        self._taken: set[Permission] = set()

    def permissions(self) -> set[Permission]:
        """What all of them allowed when they were deployed."""
        return {Permission.of(role, *pair) for (role, _), policy in self._policies.items() for pair in _pairs(policy)}

    @contextmanager
    def without(self, permissions: Collection[Permission]) -> Iterator[None]:
        """Take these permissions away for a while, beside those that are away already."""
        taken = set(permissions)
        assert taken <= self.permissions() - self._taken
        self._taken |= taken
        self._put_policies_with(taken)
        try:
            yield
        finally:
            self._taken -= taken
            self._put_policies_with(taken)

    def _put_policies_with(self, permissions: Collection[Permission]) -> None:
        """Put every policy that is concerned as it shall now be."""
        for (role, name), policy in self._policies.items():
            pairs = {pair: Permission.of(role, *pair) for pair in _pairs(policy)}
            if not any(each in permissions for each in pairs.values()):
                continue
            statements = [{"Effect": "Allow", "Action": action, "Resource": resource}
                          for (action, resource), each in pairs.items() if each not in self._taken]
            if statements:
                document = json.dumps({"Version": "2012-10-17", "Statement": statements})
                self._iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
            else:  # IAM knows no policy that says nothing
                self._iam.delete_role_policy(RoleName=role, PolicyName=name)


class Unproved(NamedTuple):
    """An entry of unproved.toml."""

    patterns: tuple[str, ...]
    fails: str
    source: str
    asked_for: bool
    """By a requirement; else AWS alone enforces them."""

    def covers(self, permission: Permission) -> bool:
        return any(fnmatchcase(str(permission), pattern) for pattern in self.patterns)


@functools.cache
def unproved() -> list[Unproved]:
    """All of them."""
    told = tomllib.loads(Path(__file__).with_name("unproved.toml").read_text(encoding="utf-8"))
    return [
        Unproved(tuple(each["permissions"]), each["fails"], each["source"], kind == "asked_for")
        for kind in ("only_on_aws", "asked_for") for each in told[kind]
    ]
