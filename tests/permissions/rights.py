"""Permissions by name: of the synthesised roles, of the deployed ones, and taking some away through IAM."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
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

    def permissions(self) -> set[Permission]:
        return {Permission.of(role, *pair) for (role, _), policy in self._policies.items() for pair in _pairs(policy)}

    @contextmanager
    def without(self, taken: Collection[Permission]) -> Iterator[None]:
        """Take these permissions, and nothing else, away for a while."""
        changed = {}
        for (role, name), policy in self._policies.items():
            kept = [pair for pair in _pairs(policy) if Permission.of(role, *pair) not in taken]
            if len(kept) < len(list(_pairs(policy))):
                changed[role, name] = kept
        assert changed, f"no role has {taken}"
        try:
            for (role, name), kept in changed.items():
                self._put(role, name, kept)
            yield
        finally:
            for role, name in changed:
                self._iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(self._policies[role, name]))

    def _put(self, role: str, name: str, pairs: Iterable[tuple[str, str]]) -> None:
        statements = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in pairs]
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            self._iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
        else:  # IAM knows no policy that says nothing
            self._iam.delete_role_policy(RoleName=role, PolicyName=name)
