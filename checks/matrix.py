"""What each role of the four systems may do, and what it is refused: asked of a policy simulation, role by resource (C8).

    python -m checks.matrix            whether the matrix in docs/security.md is that of the stacks; exit code 1 if not
    python -m checks.matrix --write    write it there

The policies are those of the synthesised stacks of ``prod`` with every switch on; references become ARNs of an example account.
They are evaluated by the embedded AWS's own evaluator, with which the local run enforces them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- matrix: written by python -m checks.matrix --write -->", "<!-- end of matrix -->"

ACCOUNT = "111122223333"
SWITCHES = {"PET_VPC": "true", "PET_PROVISIONED_CONCURRENCY": "1"}
"""What prod leaves off, and what would bring a role or a statement of its own."""

SYSTEMS = {
    "etl": "ETL pipeline",
    "metadata": "Metadata pipeline",
    "pets": "Pet detector",
    "us_east_1": "Regional ingestion, us-east-1",
    "records": "Regional ingestion, us-east-1",
    "us_west_2": "Regional ingestion, us-west-2",
    "": "State backend",
}
"""How the logical ids of a system begin."""

NAMED = {
    "aws_s3_bucket": ("s3", "", "bucket"),
    "aws_dynamodb_table": ("dynamodb", "table/", "name"),
    "aws_sqs_queue": ("sqs", "", "name"),
    "aws_sns_topic": ("sns", "", "name"),
    "aws_kms_key": ("kms", "key/", None),
    "aws_lambda_function": ("lambda", "function:", "function_name"),
    "aws_sfn_state_machine": ("states", "stateMachine:", "name"),
    "aws_cloudwatch_log_group": ("logs", "log-group:", "name"),
    "aws_cloudwatch_event_rule": ("events", "rule/", "name"),
    "aws_cloudtrail": ("cloudtrail", "trail/", "name"),
    "aws_ssm_parameter": ("ssm", "parameter", "name"),
    "aws_opensearchserverless_collection": ("aoss", "collection/", "name"),
    "aws_iam_role": ("iam", "role/", "name"),
}
"""Types of resources, with service, beginning and attribute of their name in an ARN; None: the id in its place."""

SENSITIVE = {
    "s3 bucket": ("DeleteBucket", "ListBucket", "ListBucketVersions", "PutBucketPolicy", "PutBucketPublicAccessBlock",
                  "PutBucketVersioning", "PutLifecycleConfiguration"),
    "s3 object": ("DeleteObject", "DeleteObjectVersion", "GetObject", "GetObjectVersion", "PutObject", "PutObjectAcl"),
    "dynamodb": ("BatchWriteItem", "DeleteItem", "DeleteTable", "GetItem", "PutItem", "Query", "Scan", "UpdateItem",
                 "UpdateTable"),
    "sqs": ("DeleteMessage", "PurgeQueue", "ReceiveMessage", "SendMessage", "SetQueueAttributes"),
    "sns": ("DeleteTopic", "Publish", "SetTopicAttributes", "Subscribe"),
    "kms": ("CreateGrant", "Decrypt", "GenerateDataKey", "PutKeyPolicy", "ScheduleKeyDeletion"),
    "lambda": ("AddPermission", "DeleteFunction", "InvokeFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration"),
    "states machine": ("DeleteStateMachine", "StartExecution", "UpdateStateMachine"),
    "states execution": ("DescribeExecution", "RedriveExecution", "StopExecution"),
    "logs": ("CreateLogGroup", "DeleteLogGroup", "FilterLogEvents", "PutLogEvents", "PutRetentionPolicy"),
    "events": ("DisableRule", "PutRule", "PutTargets"),
    "cloudtrail": ("DeleteTrail", "StopLogging"),
    "ssm": ("GetParameter", "PutParameter"),
    "secretsmanager": ("GetSecretValue", "PutSecretValue"),
    "aoss": ("APIAccessAll", "DashboardsAccessAll", "DeleteCollection", "UpdateAccessPolicy"),
    "iam": ("AttachRolePolicy", "CreateAccessKey", "PassRole", "PutRolePolicy", "UpdateAssumeRolePolicy"),
}  # fmt: skip
"""What an intruder would want, by kind of resource. Asked beside it: what any policy here allows on that kind, and
``sts:AssumeRole`` on roles."""

ELSEWHERE = (
    f"arn:aws:iam::{ACCOUNT}:user/somebody",
    f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:something",
    f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/something",
    f"arn:aws:kms:us-east-1:{ACCOUNT}:key/somebodys",
    f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:something",
    f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:something",
    "arn:aws:s3:::somebodys-bucket",
    "arn:aws:s3:::somebodys-bucket/key",
)
"""Of the same account, but of no system of ours."""

BUNDLES = {
    "log delivery": ("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:GetLogDelivery",
                     "logs:DescribeResourcePolicies", "logs:ListLogDeliveries", "logs:PutResourcePolicy",
                     "logs:UpdateLogDelivery"),
    "traces": ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
    "sampling": ("xray:GetSamplingRules", "xray:GetSamplingTargets"),
    "network interfaces": ("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
                           "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"),
}  # fmt: skip
"""What many roles hold on ``*``, by a name that saves the table repeating them."""


@dataclass(frozen=True)
class Resource:
    """Something a role may be asked about. ``arn`` is one example if it stands for many, such as the keys below ``raw/``."""

    arn: str
    shown: str
    system: str

    @property
    def kind(self) -> str:
        """A key of SENSITIVE; ``*`` where IAM knows no narrower resource."""
        if self.arn == "*":
            return "*"
        _, _, service, _, _, name = self.arn.split(":", 5)
        if service == "s3":
            return "s3 object" if "/" in name else "s3 bucket"
        if service == "states":
            return "states machine" if name.startswith("stateMachine:") else "states execution"
        return service


@dataclass(frozen=True)
class Role:
    name: str
    system: str
    policy: tuple[Mapping[str, Any], ...]
    """Statements in IAM's own JSON."""

    @cached_property
    def _parsed(self) -> list[list[iam_evaluator.ParsedStatement]]:
        return [iam_evaluator.parse_policy_document({"Statement": list(self.policy)})]

    def may(self, action: str, arn: str) -> bool:
        """Whether its own policies allow the action; no resource's policy here allows a role anything."""
        request = question(f"arn:aws:iam::{ACCOUNT}:role/{self.name}", "AssumedRole", action, arn, {})
        return iam_evaluator.evaluate(request, self._parsed).decision == "Allow"

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every action with every resource that a statement names."""
        return ((action, resource) for each in self.policy for action in each["Action"] for resource in each["Resource"])


@dataclass(frozen=True)
class Door:
    """The policy of a resource, which says who else may use it."""

    arn: str
    policy: tuple[Mapping[str, Any], ...]

    def answer(self, principal: str, action: str, arn: str, facts: Mapping[str, str], *, tls: bool = True) -> str:
        """``Allow``, ``Deny`` or ``ImplicitDeny`` for a service (``s3.amazonaws.com``) or an ARN. ``facts`` are what conditions
        ask for, such as ``aws:SourceArn``."""
        service = principal if principal.endswith(".amazonaws.com") else None
        request = question(principal, "Service" if service else "AssumedRole", action, arn, facts, tls=tls)
        return iam_evaluator.evaluate_resource_policy({"Statement": list(self.policy)}, request, service=service).decision


def question(
    principal: str, kind: str, action: str, arn: str, facts: Mapping[str, str], *, tls: bool = True
) -> iam_evaluator.EvalContext:
    return iam_evaluator.EvalContext(
        principal_arn=principal, principal_type=kind, principal_account=ACCOUNT, action=action, resource_arn=arn,
        region="us-east-1", source_ip="192.0.2.1", secure_transport=tls,
        service_context={name.lower(): value for name, value in facts.items()},
    )  # fmt: skip


class Policies:
    """The roles and resources of some synthesised stacks, which are given as Terraform's JSON by their name."""

    def __init__(self, stacks: Mapping[str, Mapping[str, Any]]) -> None:
        self._found: dict[str, Resource] = {arn: Resource(arn, _shown(arn), "elsewhere") for arn in ELSEWHERE}
        self._arns: dict[str, str] = {}  # by Terraform's address
        known = [json.loads(_in_example(json.dumps(stack))) for stack in stacks.values()]
        for stack in known:
            self._note_resources(stack)
        resolved = [json.loads(self._resolved(json.dumps(stack))) for stack in known]
        roles = (role for stack in resolved for role in _roles(stack))
        self.roles = sorted(roles, key=lambda role: (role.system, role.name))
        self.doors = [door for stack in resolved for door in self._doors(stack)]

        pairs = [(action, self._named(pattern)) for role in self.roles for action, pattern in role.pairs()]
        resources = self._found | {resource.arn: resource for _, resource in pairs}
        self.resources = sorted(resources.values(), key=lambda each: (each.system, each.shown))
        allowed = {(resource.kind, action) for action, resource in pairs}
        wanted = {(kind, f"{kind.partition(' ')[0]}:{name}") for kind, names in SENSITIVE.items() for name in names}
        wanted.add(("iam", "sts:AssumeRole"))
        self.sensitive = {action for _, action in wanted}
        self._asked = {kind: sorted(action for of, action in allowed | wanted if of == kind) for kind in {"*", *SENSITIVE}}

    @cached_property
    def answers(self) -> list[tuple[Role, list[tuple[Resource, Mapping[str, bool]]]]]:
        """Of each role, about each resource, whether it may do what is asked."""
        return [
            (role, [(each, {action: role.may(action, each.arn) for action in self._asked[each.kind]}) for each in self.resources])
            for role in self.roles
        ]

    def _note_resources(self, stack: Mapping[str, Any]) -> None:
        """Every resource of NAMED; of a bucket also a key that no policy names, of a state machine an execution."""
        regions = {f"aws.{each['alias']}" if "alias" in each else None: each["region"] for each in stack["provider"]["aws"]}
        for kind, (service, before, attribute) in NAMED.items():
            for id_, body in stack["resource"].get(kind, {}).items():
                without_hash = id_.rpartition("_")[0]
                name = before + (body[attribute] if attribute else without_hash) + (":x" if service == "logs" else "")
                system, region = _system(id_), regions[body.get("provider")]
                arn = self._arns[f"{kind}.{id_}"] = _arn(service, region, name)
                found = {arn: system}
                for replica in body.get("replica", []):
                    found[_arn(service, replica["region_name"], name)] = _system(replica["region_name"].replace("-", "_"))
                if service == "s3":
                    found[f"{arn}/elsewhere"] = system
                if service == "states":
                    found[arn.replace(":stateMachine:", ":execution:") + ":x"] = system
                self._found |= {arn: Resource(arn, _shown(arn), system) for arn, system in found.items()}

    def _named(self, pattern: str) -> Resource:
        """What a policy's resource stands for: an example of it, of the system whose resource it is part of."""
        if pattern == "*":
            return Resource("*", "*", "elsewhere")
        arn = pattern.replace("*", "x")
        wholes = {each.arn.removesuffix(":x"): each.system for each in self._found.values()}
        owners = [whole for whole in wholes if f"{arn}:".startswith((f"{whole}:", f"{whole}/"))]
        return Resource(arn, _shown(pattern), wholes[max(owners, key=len)] if owners else "elsewhere")

    def _resolved(self, text: str) -> str:
        """With the ARN of a resource in the place of each reference to it; whatever attribute is meant, the resource is."""
        return re.sub(r"\$\{(\w+\.\w+)\.\w+\}", lambda reference: self._arns.get(reference[1], reference[0]), text)

    def _doors(self, stack: Mapping[str, Any]) -> Iterator[Door]:
        documents, resources = stack["data"].get("aws_iam_policy_document", {}), stack["resource"]
        attached = {"aws_s3_bucket_policy": "bucket", "aws_sqs_queue_policy": "queue_url", "aws_sns_topic_policy": "arn"}
        for kind, attribute in attached.items():
            for body in resources.get(kind, {}).values():
                yield Door(body[attribute], _statements(documents, body["policy"]))
        for id_, body in resources.get("aws_kms_key", {}).items():
            yield Door(self._arns[f"aws_kms_key.{id_}"], _statements(documents, body["policy"]))
        for body in resources.get("aws_lambda_permission", {}).values():
            sources = {"aws:SourceArn": body["source_arn"], "aws:SourceAccount": body["source_account"]}
            statement = {
                "Effect": "Allow", "Principal": {"Service": [body["principal"]]}, "Action": [body["action"]],
                "Resource": [body["function_name"]], "Condition": {"StringLike": sources},
            }  # fmt: skip
            yield Door(body["function_name"], (statement,))


def _roles(stack: Mapping[str, Any]) -> Iterator[Role]:
    documents = stack["data"].get("aws_iam_policy_document", {})
    for id_, body in stack["resource"].get("aws_iam_role", {}).items():
        arn = _arn("iam", "", f"role/{body['name']}")
        of_role = (each for each in stack["resource"]["aws_iam_role_policy"].values() if each["role"] == arn)
        policy = tuple(statement for each in of_role for statement in _statements(documents, each["policy"]))
        yield Role(body["name"], _system(id_), policy)


def _statements(documents: Mapping[str, Any], reference: str) -> tuple[Mapping[str, Any], ...]:
    """The statements of the document that an attribute refers to, as IAM writes them."""
    document = re.fullmatch(r"\$\{data\.aws_iam_policy_document\.(\w+)\.json\}", reference)
    assert document, f"{reference} is no policy document; `python -m checks permissions` says where"
    return tuple(_as_iam(each) for each in documents[document[1]]["statement"])


def _as_iam(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions: dict[str, dict[str, Any]] = {}
    for each in statement.get("condition", []):
        conditions.setdefault(each["test"], {})[each["variable"]] = each["values"]
    principals = {each["type"]: each["identifiers"] for each in statement.get("principals", [])}
    return {
        "Sid": statement.get("sid", ""),
        "Effect": statement.get("effect", "Allow"),
        "Action": statement["actions"],
        "Resource": statement.get("resources", []),
        **({"Condition": conditions} if conditions else {}),
        **({"Principal": "*" if "*" in principals else principals} if principals else {}),
    }


def _arn(service: str, region: str, name: str) -> str:
    if service == "s3":
        return f"arn:aws:s3:::{name}"
    return f"arn:aws:{service}:{'' if service == 'iam' else region}:{ACCOUNT}:{name}"


def _in_example(text: str) -> str:
    """With the example's account and partition."""
    text = text.replace("${data.aws_partition.partition.partition}", "aws")
    return text.replace("${data.aws_caller_identity.account.account_id}", ACCOUNT)


def _system(logical_id: str) -> str:
    return next(name for beginning, name in SYSTEMS.items() if logical_id.startswith(beginning))


def _shown(arn: str) -> str:
    """For people: without what all ARNs begin with."""
    _, _, service, _, _, name = arn.split(":", 5)
    return (f"{service} {name}" if service in ("sns", "sqs") else name).replace(ACCOUNT, "ACCOUNT")


# --- the matrix ------------------------------------------------------------------------------------------------------


def matrix(policies: Policies) -> str:
    """A table for each system: every role, what it may do on which resource, and what of SENSITIVE it is refused there."""
    tables: dict[str, list[str]] = {system: [] for system in SYSTEMS.values()}
    questions = granted = 0
    for role, about in policies.answers:
        asked = sum(len(answers) for _, answers in about)
        yes = sum(sum(answers.values()) for _, answers in about)
        questions, granted = questions + asked, granted + yes
        rows = _rows(role, about, policies.sensitive)
        tables[role.system] += [f"| {'' if number else f'`{role.name}`'} | {row}" for number, row in enumerate(rows)]
        tables[role.system].append(f"| | *everything else* | – | *in all {asked - yes:,} of {asked:,} questions* |")
    bundles = (f"*{name}* is {', '.join(f'`{action}`' for action in sorted(actions))}" for name, actions in BUNDLES.items())
    summary = (
        f"{len(policies.roles)} roles were asked about {len(policies.resources)} resources: {questions:,} questions, of which"
        f" {granted:,} are answered *yes*, and only those stand under *May*. On `*`, {'; '.join(bundles)}."
    )
    head = ("| Role | On | May | Refused |", "|---|---|---|---|")
    return "\n\n".join([summary, *("\n".join((f"**{system}**", "", *head, *rows)) for system, rows in tables.items() if rows)])


def _rows(role: Role, about: Iterable[tuple[Resource, Mapping[str, bool]]], sensitive: Collection[str]) -> list[str]:
    """What a role may, where it may anything that it may not do everywhere. Resources with the same answers share a row."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for resource, answers in about:
        may = [action for action, yes in answers.items() if yes]
        if resource.arn != "*" and all(role.may(action, "*") for action in may):
            continue
        refused = [action for action, yes in answers.items() if not yes and action in sensitive and resource.arn != "*"]
        grouped.setdefault((resource.kind, _names(resource, may), _names(resource, refused)), []).append(resource.shown)
    return [
        f"{', '.join(f'`{each}`' for each in shown)} | {may} | {refused or '–'} |"
        for (_, may, refused), shown in grouped.items() if may
    ]  # fmt: skip


def _names(resource: Resource, actions: Iterable[str]) -> str:
    """On a resource of one service its name goes without saying."""
    if resource.kind != "*":
        return ", ".join(action.partition(":")[2] for action in actions)
    single = set(actions)
    bundled = [name for name, each in BUNDLES.items() if single.issuperset(each)]
    return ", ".join([f"*{name}*" for name in bundled] + sorted(single.difference(*(BUNDLES[name] for name in bundled))))


def in_document() -> str:
    """The matrix that docs/security.md shows."""
    return DOCUMENT.read_text(encoding="utf-8").partition(f"{BEGIN}\n\n")[2].partition(f"\n\n{END}")[0]


def write(text: str) -> None:
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def synthesised() -> dict[str, Any]:
    """The stacks of prod with every switch on, whatever this environment's settings are."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**kept, **SWITCHES, "CDKTF_OUTDIR": folder, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"}
        command = [sys.executable, str(ROOT / "main.py")]
        subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        paths = sorted(Path(folder).glob("stacks/*/cdk.tf.json"))
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def main(words: Sequence[str]) -> int:
    text = matrix(Policies(synthesised()))
    if list(words) == ["--write"]:
        write(text)
        return 0
    if words:
        print("usage: python -m checks.matrix [--write]", file=sys.stderr)
        return 2
    if text == in_document():
        return 0
    print("the matrix in docs/security.md is not that of the stacks; read what has changed: python -m checks.matrix --write")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
