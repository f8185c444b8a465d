"""What the permissions of all roles come to, by policy simulation on the synthesised policies (C8, E11, R6)."""

import re

import pytest

from checks.matrix import ACCOUNT, DOCUMENT, Policies, in_document, matrix
from tests.permissions.flows import FLOWS
from tests.permissions.rights import Permission, unproved


@pytest.fixture(scope="session")
def policies(tap, pets_switched, ingestion, state_backend) -> Policies:
    """Of prod, with every switch on."""
    stacks = {"tap": tap, "pet-detector": pets_switched, "ingestion": ingestion, "state-backend": state_backend}
    return Policies({name: stack.json for name, stack in stacks.items()})


@pytest.fixture(scope="session")
def permissions(policies) -> set[Permission]:
    return {Permission.of(role.name, *pair) for role in policies.roles for pair in role.pairs()}


def test_document_shows_the_matrix(policies):
    """C8: what a reviewer reads in docs/security.md is so. If it is not: python -m checks.matrix --write, and read the change."""
    assert matrix(policies) == in_document()


# --- what is refused -------------------------------------------------------------------------------------------------

GRANTED = {
    "aoss:APIAccessAll", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "kms:Decrypt",
    "kms:GenerateDataKey", "lambda:InvokeFunction", "logs:CreateLogGroup", "logs:FilterLogEvents", "logs:PutLogEvents",
    "s3:DeleteObject", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:PutObject", "sns:Publish", "sqs:SendMessage",
    "states:DescribeExecution", "states:StartExecution", "states:StopExecution",
}  # fmt: skip
"""Of all sensitive actions those that anybody may do at all. Not among them: versions deleted, policies changed, roles passed or
assumed, code replaced, tables scanned or deleted, queues read, secrets read, rules or trails switched off."""


def test_nobody_may_do_anything_else_that_is_sensitive(policies):
    """C8, E4d: on no resource, of these systems or of others."""
    answered = [(action, yes) for _, about in policies.answers for _, answers in about for action, yes in answers.items()]
    assert {"iam:PassRole", "sts:AssumeRole", "s3:DeleteObjectVersion", "secretsmanager:GetSecretValue"} <= dict(answered).keys()
    assert {action for action, yes in answered if yes and action in policies.sensitive} == GRANTED


def test_no_role_reaches_another_system(policies):
    """C8: nothing of the other three, of the other region, or of the rest of the account; save for what IAM knows no resource
    for."""
    reached = {
        (role.name, action, resource.shown)
        for role, about in policies.answers
        for resource, answers in about if resource.system != role.system and resource.arn != "*"
        for action, yes in answers.items() if yes and not role.may(action, "*")
    }  # fmt: skip
    assert reached == set()


def test_every_system_has_roles_and_resources(policies):
    """The tests above ask about something."""
    assert len({role.system for role in policies.roles}) == 6
    assert {resource.system for resource in policies.resources} == {role.system for role in policies.roles} | {"elsewhere"}
    assert all(any(role.may(*pair) for pair in role.pairs()) for role in policies.roles)


# --- resources' own policies, which the embedded AWS does not enforce between services -----------------------------------


def told(statement: dict) -> dict:
    """The facts that fulfil the conditions of a statement."""
    return {name: values[0].replace("*", "x") if isinstance(values, list) else values.replace("*", "x")
            for block in statement.get("Condition", {}).values() for name, values in block.items()}


def test_doors_open_for_nobody_else(policies):
    """C7, C8: what a service may do with a bucket, queue, topic, key or function, it may do on behalf of this account, or of the
    one resource that is named, and no other service may."""
    opened = 0
    for door in policies.doors:
        for statement in door.policy:
            services = statement["Principal"].get("Service", []) if statement["Principal"] != "*" else []
            for service in [services] if isinstance(services, str) else services:
                action, arn = statement["Action"][0], statement["Resource"][0].replace("*", "x")
                facts = told(statement)
                assert door.answer(service, action, arn, facts) == "Allow"
                assert door.answer("ec2.amazonaws.com", action, arn, facts) == "ImplicitDeny"
                assert door.answer(service, "iam:PassRole", arn, facts) == "ImplicitDeny"
                sources = [name for name in facts if name.startswith("aws:Source")]
                assert sources, f"{door.arn} is open to {service} for any account"
                for name in sources:
                    stranger = re.sub(ACCOUNT, "999999999999", facts[name]) if ACCOUNT in facts[name] else f"{facts[name]}-other"
                    assert door.answer(service, action, arn, {**facts, name: stranger}) == "ImplicitDeny", (door.arn, name)
                opened += 1
    assert opened > 30


def test_doors_are_shut_without_tls(policies):
    """C7: every bucket, queue and topic denies it to everybody."""
    kinds = {"s3": "s3:GetObject", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}
    resources = {each.arn: kinds[each.kind.partition(" ")[0]] for each in policies.resources
                 if each.kind in ("s3 bucket", "sqs", "sns") and each.system != "elsewhere"}
    doors = {door.arn: door for door in policies.doors if not door.arn.startswith(("arn:aws:kms", "arn:aws:lambda"))}
    assert set(doors) == set(resources)
    for arn, action in resources.items():
        inside = f"{arn}/x" if action.startswith("s3") else arn
        for role in ("arn:aws:iam::111122223333:role/x", "events.amazonaws.com"):
            assert doors[arn].answer(role, action, inside, {}, tls=False) == "Deny"
            assert doors[arn].answer(role, action, inside, {}, tls=True) != "Deny"


# --- what is necessary -----------------------------------------------------------------------------------------------


def test_every_permission_is_proved_necessary_or_listed(permissions):
    """C8, E11: by a flow of tests/permissions/flows.py (`make test-permissions`), or in unproved.toml; never in both."""
    proved = [permission for flow in FLOWS for permission in flow.proves]
    assert len(proved) == len(set(proved))
    entries = {permission: [entry for entry in unproved() if entry.covers(permission)] for permission in permissions}
    places = {permission: (permission in proved) + len(found) for permission, found in entries.items()}
    assert sorted(str(permission) for permission, number in places.items() if number != 1) == []
    assert sorted(map(str, set(proved) - permissions)) == []


def test_document_tells_the_figures(permissions):
    """C8: those of docs/security.md."""
    aws, asked_for = (
        sum(any(entry.covers(permission) for entry in unproved() if entry.asked_for is kind) for permission in permissions)
        for kind in (False, True)
    )
    proved, document = sum(len(flow.proves) for flow in FLOWS), DOCUMENT.read_text(encoding="utf-8")
    assert f"Of {len(permissions)} permissions, {proved} are proved so, by {len(FLOWS)} flows; {aws} are enforced" in document
    assert f"; {asked_for} are there because a requirement names them" in document


def test_no_entry_is_left_over(permissions):
    """C8: every pattern of unproved.toml stands for something."""
    patterns = [entry._replace(patterns=(pattern,)) for entry in unproved() for pattern in entry.patterns]
    assert [each.patterns for each in patterns if not any(each.covers(permission) for permission in permissions)] == []


def test_names_are_the_same_in_every_environment():
    """What the local run calls `…-local` is what is called `…` or `…-prod` in prod."""
    for name in ("etl-validation", "etl-validation-prod", "etl-validation-local"):
        assert Permission.of(name, "sqs:SendMessage", f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}").on == "etl-validation"
    assert Permission.of("x-production", "s3:GetObject", "arn:aws:s3:::x/raw/*") == ("x-production", "s3:GetObject", "raw/*")
