"""What a stage switches on, and what a setting overrides (P8a, P8b)."""

import pytest

from pet_detector_stack import PetDetectorStack
from settings import SettingsError
from tests.synth.reading import app, synthesise

OF = {
    "pet_waf": {
        "aws_wafv2_web_acl",
        "aws_wafv2_web_acl_association",
        "aws_wafv2_web_acl_logging_configuration",
        "aws_cloudwatch_log_resource_policy",
    },
    "pet_cloudtrail": {"aws_cloudtrail"},
    "pet_code_deploy": {"aws_codedeploy_app", "aws_codedeploy_deployment_group"},
    "pet_provisioned_concurrency": {
        "aws_lambda_provisioned_concurrency_config",
        "aws_appautoscaling_target",
        "aws_appautoscaling_policy",
    },
    "pet_vpc": {
        "aws_vpc",
        "aws_default_security_group",
        "aws_subnet",
        "aws_route_table",
        "aws_route_table_association",
        "aws_security_group",
        "aws_vpc_endpoint",
        "aws_vpc_security_group_egress_rule",
        "aws_vpc_security_group_ingress_rule",
        "aws_flow_log",
    },
    "pet_domain_name": {"aws_api_gateway_domain_name", "aws_api_gateway_base_path_mapping"},
}
"""What each switch brings, and nothing else does."""
BY_STAGE = ("pet_waf", "pet_cloudtrail", "pet_code_deploy")
CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/0f4b2d0e"
ON = {**dict.fromkeys((*BY_STAGE, "pet_vpc"), True), "pet_provisioned_concurrency": 2, "pet_domain_name": "pets.example.com"}


def stack(**settings):
    if "pet_domain_name" in settings:
        settings["pet_certificate_arn"] = CERTIFICATE
    return synthesise(PetDetectorStack, "pet-detector", **settings)


def switched_on(found):
    """The switches that are on; none is half on."""
    on = {switch for switch, kinds in OF.items() if kinds & found.kinds()}
    assert all(OF[switch] <= found.kinds() for switch in on)
    return on


# --- switches -------------------------------------------------------------------------------------------------------


def test_switches_of_each_stage(pets, pets_staging, pets_dev, pets_switched):
    """P8a, P8b: firewall, trail and releases by CodeDeploy in staging and prod; the rest nowhere, unless switched on."""
    assert switched_on(pets) == switched_on(pets_staging) == set(BY_STAGE)
    assert switched_on(pets_dev) == set()
    assert switched_on(pets_switched) == set(OF)


def test_a_stage_of_another_name_is_no_earnest():
    """P8a: costs nothing that nobody asked for."""
    assert switched_on(stack(environment_suffix="qa")) == set()


def test_a_setting_wins_over_the_stage():
    """P8a: all off in prod, which leaves nothing behind; for each alone, on in dev, see below, and test_settings.py."""
    assert switched_on(stack(**dict.fromkeys(BY_STAGE, False))) == set()


@pytest.mark.parametrize("switch", OF)
def test_a_switch_adds_and_changes_nothing_that_holds_data(pets_dev, switch):
    """P8a: whoever throws it later keeps the bucket, the table, the topic, their keys and the API: same ids, same names."""
    found = stack(environment_suffix="dev", **{switch: ON[switch]})
    assert switched_on(found) == {switch}
    assert {path for _, path, _ in pets_dev.every()} <= {path for _, path, _ in found.every()}
    holding = ("aws_s3_bucket", "aws_dynamodb_table", "aws_sns_topic", "aws_kms_key", "aws_sqs_queue", "aws_api_gateway_api_key")
    for kind in holding:
        for path, body in pets_dev.all(kind).items():
            assert found.readable(found.all(kind)[path]) == pets_dev.readable(body)


def test_switches_bring_their_alarms(pets, pets_dev):
    """P7, P8a: and no alarm watches what is not there."""
    more = set(pets.all("aws_cloudwatch_metric_alarm")) - set(pets_dev.all("aws_cloudwatch_metric_alarm"))
    assert more == {
        "pets/blocked_spike/alarm",
        "pets/live/failing/alarm",
        *(f"pets/trail/{each}/alarm" for each in ("denied_calls", "iam_changes", "bucket_policy_changes", "root_use")),
    }


def test_budget_is_there_in_every_stage(pets, pets_dev, pets_staging, pets_switched):
    """P7: dev spends, too."""
    for found in (pets, pets_dev, pets_staging, pets_switched):
        assert len(found.all("aws_budgets_budget")) == 1


def test_stages_differ_in_nothing_but_their_switches_and_names(pets, pets_staging):
    """P8a: what is tried in staging is what comes to prod."""
    more = {path for _, path, _ in pets_staging.every()} ^ {path for _, path, _ in pets.every()}
    assert all(path.startswith("pets/alerts/email_") for path in more)
    for machine in ("pets/pipeline", "pets/recovery"):
        text = str(pets_staging.machine(machine)).replace("-staging", "")
        assert text == str(pets.machine(machine))


# --- releases -------------------------------------------------------------------------------------------------------


def test_with_code_deploy_a_plan_leaves_the_alias_where_it_is(pets, pets_staging):
    """P8b: version and routing are CodeDeploy's, and only these."""
    for found in (pets, pets_staging):
        alias = found.one("aws_lambda_alias")
        assert alias["lifecycle"] == {"ignore_changes": ["function_version", "routing_config"]}


def test_without_code_deploy_the_alias_follows_each_version(pets_dev):
    """P8b: at once."""
    alias = pets_dev.readable(pets_dev.one("aws_lambda_alias"))
    assert "lifecycle" not in alias
    assert (alias["name"], alias["function_version"]) == ("live", "<aws_lambda_function pets/image_api/function version>")


def test_a_release_goes_back_on_its_alarm(pets):
    """P8b: that of the alias, which exists, and of which the topic hears, too."""
    group = pets.one("aws_codedeploy_deployment_group")
    alarm = pets.one("aws_cloudwatch_metric_alarm", "pets/live/failing")
    assert group["alarm_configuration"]["alarms"] == [alarm["alarm_name"]]
    assert group["auto_rollback_configuration"]["enabled"] is True
    dimensions = [each["metric"]["dimensions"] for each in alarm["metric_query"] if "metric" in each]
    assert dimensions == [{"FunctionName": "serverlessapp-image-api", "Resource": "serverlessapp-image-api:live"}] * 2
    assert group["app_name"] == f"${{{pets.address('aws_codedeploy_app', 'pets/live/application')}.name}}"


# --- warm instances -------------------------------------------------------------------------------------------------


def test_provisioned_concurrency_tracks_its_target(pets_switched):
    """P8a: of the alias, from the least to the most of the settings; a plan does not take the number back."""
    warm = pets_switched.readable(pets_switched.one("aws_lambda_provisioned_concurrency_config"))
    assert warm["provisioned_concurrent_executions"] == 2
    assert warm["function_name"] == "<aws_lambda_function pets/image_api/function function_name>"
    assert warm["qualifier"] == "<aws_lambda_alias pets/live/alias name>"
    assert warm["lifecycle"] == {"ignore_changes": ["provisioned_concurrent_executions"]}
    target = pets_switched.one("aws_appautoscaling_target")
    assert (target["min_capacity"], target["max_capacity"]) == (2, 10)
    assert target["resource_id"] == "function:serverlessapp-image-api:live"
    more = stack(pet_provisioned_concurrency=5, pet_max_provisioned_concurrency=50).one("aws_appautoscaling_target")
    assert (more["min_capacity"], more["max_capacity"]) == (5, 50)


# --- private network ------------------------------------------------------------------------------------------------


def test_every_function_stands_in_the_private_network(pets, pets_switched):
    """P8a: in both subnets, in the group that reaches the endpoints; without the switch in none."""
    assert not [path for path, body in pets.all("aws_lambda_function").items() if "vpc_config" in body]
    functions = pets_switched.readable(list(pets_switched.all("aws_lambda_function").values()))
    assert len(functions) == 4
    for body in functions:
        assert body["vpc_config"] == {
            "subnet_ids": [f"<aws_subnet pets/network/private{number} id>" for number in (0, 1)],
            "security_group_ids": ["<aws_security_group pets/network/functions id>"],
        }


def test_private_network_has_no_way_to_the_internet(pets_switched):
    """P8a: no gateway of any kind, and no rule that names addresses."""
    assert not [kind for kind in pets_switched.kinds() if "gateway" in kind and not kind.startswith("aws_api_gateway_")]
    assert "aws_route" not in pets_switched.kinds()
    for kind in ("egress", "ingress"):
        for body in pets_switched.all(f"aws_vpc_security_group_{kind}_rule").values():
            assert not {"cidr_ipv4", "cidr_ipv6"} & set(body)
            assert (body["ip_protocol"], body["from_port"], body["to_port"]) == ("tcp", 443, 443)


def test_functions_in_the_private_network_reach_what_they_use(pets_switched):
    """P8a: an endpoint for each service that their roles name; Lambda itself sends logs, traces and dead letters."""
    endpoints = {body["service_name"].rpartition(".")[2] for body in pets_switched.all("aws_vpc_endpoint").values()}
    used = {
        action.partition(":")[0]
        for path in pets_switched.all("aws_lambda_function")
        for action, _ in pets_switched.permissions(f"{path.removesuffix('/function')}/role", "grants")
    }
    assert endpoints == used - {"kms"} == {"s3", "dynamodb", "rekognition", "sns"}


# --- settings that cannot be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"pet_domain_name": "pets.example.com"}, "belong together"),
        ({"pet_certificate_arn": CERTIFICATE}, "belong together"),
        ({"pet_provisioned_concurrency": 11}, "must not be below pet_provisioned_concurrency"),
        ({"aws_region": "eu-west-1"}, "must be us-east-1"),
    ],
)
def test_settings_that_cannot_be_are_told_before_synthesis(settings, says):
    """C5a, P8a."""
    with pytest.raises(SettingsError, match=says):
        PetDetectorStack(app(), "x", **settings)
