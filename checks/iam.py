"""Checks the permissions of every synthesised stack (C8): exact actions, exact resources, readable documents.

Reads ``cdktf.out/stacks/*/cdk.tf.json``, where a policy is an ``aws_iam_policy_document`` whose users are known: a document
on a role says what the role may do, one on a bucket, key, queue or topic says who may use it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

WITHOUT_NARROWER_RESOURCE = {
    "xray:PutTraceSegments": "X-Ray has no resource for segments",
    "xray:PutTelemetryRecords": "X-Ray has no resource for telemetry",
    "xray:GetSamplingRules": "sampling rules are the account's",
    "xray:GetSamplingTargets": "sampling rules are the account's",
    "logs:CreateLogDelivery": "log deliveries have no resource type (service authorization reference)",
    "logs:DeleteLogDelivery": "as above",
    "logs:GetLogDelivery": "as above",
    "logs:ListLogDeliveries": "as above",
    "logs:UpdateLogDelivery": "as above",
    "logs:PutResourcePolicy": "the resource policies of CloudWatch Logs are the account's",
    "logs:DescribeResourcePolicies": "as above",
    "logs:DescribeLogGroups": "Step Functions looks for the group among all (its developer guide, “Logging”)",
    "cloudwatch:DescribeAlarms": "with a narrower resource it tells nothing of composite alarms (CloudWatch API reference)",
    "ec2:AssignPrivateIpAddresses": "the network interfaces of functions get their ids when Lambda makes them",
    "ec2:CreateNetworkInterface": "as above",
    "ec2:DeleteNetworkInterface": "as above",
    "ec2:DescribeNetworkInterfaces": "EC2 lists without a resource (service authorization reference)",
    "ec2:DescribeSubnets": "as above",
    "ec2:UnassignPrivateIpAddresses": "as for AssignPrivateIpAddresses",
    "rekognition:DetectLabels": "Rekognition has no resource for its own models (service authorization reference)",
}
"""Actions that may stand with the resource ``*`` in a role's policy, each with the reason."""
OF_API_GATEWAY = frozenset(
    {
        *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:FilterLogEvents"),
        *("logs:GetLogEvents", "logs:PutLogEvents"),
    }
)
"""And those that API Gateway asks for before it takes its role for the account (its developer guide): in that role alone."""

POLICY_ATTRIBUTES = ("policy", "policy_document", "assume_role_policy", "inline_policy", "access_policy", "access_policies")
NOT_IAM = re.compile(r"aws_opensearchserverless_.*_policy")
"""Resources whose ``policy`` is JSON of another kind."""

_DOCUMENT = re.compile(r"^\$\{data\.aws_iam_policy_document\.(\w+)\.json\}$")


@dataclass
class Document:
    """A policy document and the attributes that use it, as ``(resource type, resource name, attribute)``."""

    name: str
    statements: list[Mapping[str, Any]]
    users: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def of_role(self) -> bool:
        """Says what a role may do."""
        return any(kind in ("aws_iam_role_policy", "aws_iam_policy") for kind, _, _ in self.users)

    @property
    def trust(self) -> bool:
        return any(attribute == "assume_role_policy" for _, _, attribute in self.users)

    @property
    def of_endpoint(self) -> bool:
        """Says what may pass a VPC endpoint, where a condition must name whose principals (VPC user guide)."""
        return bool(self.users) and all(kind == "aws_vpc_endpoint" for kind, _, _ in self.users)

    @property
    def of_key(self) -> bool:
        return bool(self.users) and all(kind == "aws_kms_key" for kind, _, _ in self.users)


def faults(stack: Mapping[str, Any], name: str) -> list[str]:
    """What is wrong with the permissions of one synthesised stack: stack, address, fault, remedy."""
    return [f"{name}: {fault}" for fault in _faults(stack)]


def _faults(stack: Mapping[str, Any]) -> Iterator[str]:
    documents = {
        each: Document(each, body.get("statement", []))
        for each, body in stack.get("data", {}).get("aws_iam_policy_document", {}).items()
    }
    for kind, address, attribute, value in _policies(stack):
        match = _DOCUMENT.match(value) if isinstance(value, str) else None
        if match and match[1] in documents:
            documents[match[1]].users.append((kind, address, attribute))
        else:
            yield (
                f"{kind}.{address}: {attribute} is written as text, which policy scanners do not read; "
                "make it a PolicyDocument (aws_iam_policy_document)"
            )
    for kind in ("aws_iam_role_policy_attachment", "aws_iam_policy_attachment", "aws_iam_user_policy_attachment"):
        for address in stack.get("resource", {}).get(kind, {}):
            yield f"{kind}.{address}: attaches a policy by ARN, which grants more than is seen here; grant it to the role instead"
    for address, role in stack.get("resource", {}).get("aws_iam_role", {}).items():
        yield from _faults_of_role(address, role, documents)
    for address, permission in stack.get("resource", {}).get("aws_lambda_permission", {}).items():
        if not permission.get("source_arn") and not permission.get("source_account"):
            yield f"aws_lambda_permission.{address}: lets any account's {permission.get('principal')} call; give it source_arn"
        if "*" in permission.get("action", "*"):
            yield f"aws_lambda_permission.{address}: allows {permission.get('action')}; name the action"
    for document in documents.values():
        for number, statement in enumerate(document.statements):
            where = f"aws_iam_policy_document.{document.name}: statement {statement.get('sid') or number}"
            for fault in _faults_of_statement(statement, document):
                yield f"{where}: {fault}"


def _policies(stack: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    for kind, resources in stack.get("resource", {}).items():
        if NOT_IAM.fullmatch(kind):
            continue
        for address, body in resources.items():
            for attribute in POLICY_ATTRIBUTES:
                if attribute in body:
                    yield kind, address, attribute, body[attribute]


def _faults_of_role(address: str, role: Mapping[str, Any], documents: Mapping[str, Document]) -> Iterator[str]:
    if role.get("managed_policy_arns"):
        yield f"aws_iam_role.{address}: uses managed policies; grant what it needs instead"
    match = _DOCUMENT.match(str(role.get("assume_role_policy", "")))
    trust = documents[match[1]].statements if match and match[1] in documents else []
    trusting = [each for each in trust if "sts:AssumeRole" in each.get("actions", []) and _allows(each)]
    if not any(each.get("principals") for each in trusting):
        yield f"aws_iam_role.{address}: trusts nobody, so nothing can use it; give it a trust document"


def _faults_of_statement(statement: Mapping[str, Any], document: Document) -> Iterator[str]:
    if not _allows(statement):
        return
    for negative in ("not_actions", "not_resources", "not_principals"):
        if statement.get(negative):
            yield f"allows by exception ({negative}); name what is allowed"
    actions, resources = statement.get("actions", []), statement.get("resources", [])
    for action in actions:
        if "*" in action or "?" in action:
            yield f"allows the wildcard action {action}; name the actions"
    for resource in resources:
        if resource == "*":
            listed = {*WITHOUT_NARROWER_RESOURCE, *(OF_API_GATEWAY if document.name.startswith("api_gateway_logging_") else ())}
            unlisted = [] if document.of_key else [action for action in actions if action not in listed]
            if unlisted:
                yield (
                    f"allows {', '.join(unlisted)} on every resource; name the resource, or list the action with its reason in "
                    "checks/iam.py, WITHOUT_NARROWER_RESOURCE"
                )
        elif fault := _too_wide(resource):
            yield f"allows {', '.join(actions)} on {resource}, {fault}; name the resource"
    principals = [(each.get("type"), who) for each in statement.get("principals", []) for who in each.get("identifiers", [])]
    if document.of_role and principals:
        yield "names principals in a role's policy; they belong into a resource's"
    if not document.of_role and not principals:
        yield "names no principal, so AWS refuses it; name who is allowed"
    sources = {condition.get("variable") for condition in statement.get("condition", [])}
    if any(who == "*" for _, who in principals) and not (document.of_endpoint and "aws:PrincipalAccount" in sources):
        yield "allows everybody; name the principal"
    needs_source = [who for kind, who in principals if kind == "Service" and not _assumes_without_source(who, document)]
    if needs_source and not sources & {"aws:SourceArn", "aws:SourceAccount"}:
        yield (
            f"lets {', '.join(needs_source)} act for any account (the confused deputy); add a condition on aws:SourceArn or "
            "aws:SourceAccount"
        )


def _assumes_without_source(who: str, document: Document) -> bool:
    """Lambda sends no aws:SourceAccount when it assumes a function's role; every other service must."""
    return document.trust and who == "lambda.amazonaws.com"


def _allows(statement: Mapping[str, Any]) -> bool:
    return statement.get("effect", "Allow") == "Allow"


def _too_wide(resource: str) -> str | None:
    """Why an ARN names more than a resource or a part of one. References count as text without ``:``."""
    parts = re.sub(r"\$\{[^}]*\}", "REFERENCE", resource).split(":", 5)
    if len(parts) < 6 or parts[0] != "arn":
        return None  # a whole ARN by reference
    _, partition, service, region, account, name = parts
    if "*" in partition + service + region + account:
        return "whose partition, service, region or account is a wildcard"
    if name == "*" or (service != "s3" and re.fullmatch(r"[a-z-]+[:/]\*+", name)):
        return "which is every one of its kind"
    if service == "s3" and name.split("/")[0].endswith("*"):
        return "which is more than one bucket"
    return None


def stacks() -> Iterable[tuple[str, Mapping[str, Any]]]:
    for path in sorted((ROOT / "cdktf.out" / "stacks").glob("*/cdk.tf.json")):
        yield path.parent.name, json.loads(path.read_text(encoding="utf-8"))


def main() -> int:
    found = [fault for name, stack in stacks() for fault in faults(stack, name)]
    print("".join(f"{fault}\n" for fault in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
