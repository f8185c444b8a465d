"""A REST API on API Gateway, made from its OpenAPI document, and the plan of the key that opens it."""

from __future__ import annotations

import aws_provider  # noqa: F401  (first: it works before CDKTF is imported, or not at all)

# isort: split
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdktf import TerraformResource, TerraformResourceLifecycle
from cdktf_cdktf_provider_aws import (
    api_gateway_account,
    api_gateway_api_key,
    api_gateway_base_path_mapping,
    api_gateway_deployment,
    api_gateway_domain_name,
    api_gateway_gateway_response,
    api_gateway_integration,
    api_gateway_integration_response,
    api_gateway_method,
    api_gateway_method_response,
    api_gateway_method_settings,
    api_gateway_model,
    api_gateway_request_validator,
    api_gateway_resource,
    api_gateway_rest_api,
    api_gateway_stage,
    api_gateway_usage_plan,
    api_gateway_usage_plan_key,
)
from constructs import Construct

from modules import LogGroup, Metric, Place, Region, Role

JSON = "application/json"
API_KEY_HEADER = "X-Api-Key"
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class GatewayError:
    """How API Gateway itself refuses a request: its response type, the status, and the code and message of the body."""

    response_type: str
    status: int | None
    code: str
    message: str


ERRORS = (
    GatewayError("BAD_REQUEST_BODY", 400, "invalid_request", "The body does not fit the schema; see the API's description."),
    GatewayError("BAD_REQUEST_PARAMETERS", 400, "invalid_request", "A required parameter is missing; see the API's description."),
    GatewayError("INVALID_API_KEY", 403, "invalid_api_key", f"Send a valid API key in the header {API_KEY_HEADER}."),
    GatewayError("MISSING_AUTHENTICATION_TOKEN", 404, "no_such_endpoint", "There is no such path, or not with this method."),
    GatewayError("RESOURCE_NOT_FOUND", 404, "no_such_endpoint", "There is no such path, or not with this method."),
    GatewayError("REQUEST_TOO_LARGE", 413, "request_too_large", "The body is too large; use a presigned upload."),
    GatewayError("UNSUPPORTED_MEDIA_TYPE", 415, "unsupported_media_type", f"Send {JSON}."),
    GatewayError("THROTTLED", 429, "throttled", "Too many requests at a time; wait a second and try again."),
    GatewayError("QUOTA_EXCEEDED", 429, "quota_exceeded", "The quota of this API key is used up."),
    GatewayError("WAF_FILTERED", 403, "blocked", "The request was blocked."),
    GatewayError("INTEGRATION_TIMEOUT", 504, "timeout", "The answer took too long; try again."),
    GatewayError("DEFAULT_4XX", None, "refused", "The request was refused."),
    GatewayError("DEFAULT_5XX", None, "internal_error", "Something failed on our side; try again."),
)
"""Errors have a code of their own and a message that is ours: API Gateway's variables may hold unescaped quotes, which would
break the JSON (API Gateway developer guide, "Gateway responses")."""


class RestApi(Construct):
    """A regional REST API whose every operation invokes one function, with an API key, schema validation and access logs.

    The OpenAPI document is the one source: its paths become resources, its operations methods, the schemas of its request
    bodies models. Discrete resources, rather than an import of the document, so that a plan says what changes.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        document: Path,
        invoke_arn: str,
        allowed_origin: str,
        requests_per_second: int,
        burst: int,
        domain_name: str | None = None,
        certificate_arn: str | None = None,
    ) -> None:
        """``invoke_arn`` is the function's, as integrations name it; ``allowed_origin`` of browsers, or ``*``;
        ``requests_per_second`` and ``burst`` limit the whole stage. With ``domain_name`` and its certificate the API answers
        there alone, from TLS 1.2 on: API Gateway's own address negotiates TLS 1.0 too."""
        super().__init__(scope, id_)
        place = Place.around(self)
        self.name = place.name(name, 255)
        self.stage_name = place.settings.environment_suffix
        spec = json.loads(document.read_text(encoding="utf-8"))
        self._api = api_gateway_rest_api.ApiGatewayRestApi(
            self,
            "api",
            name=self.name,
            description=spec["info"]["title"],
            api_key_source="HEADER",
            disable_execute_api_endpoint=bool(domain_name),
            endpoint_configuration=api_gateway_rest_api.ApiGatewayRestApiEndpointConfiguration(types=["REGIONAL"]),
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )
        self.id = self._api.id
        self._cors = {"Access-Control-Allow-Origin": allowed_origin}
        self._validator = api_gateway_request_validator.ApiGatewayRequestValidator(
            self,
            "validator",
            rest_api_id=self.id,
            name="body-and-parameters",
            validate_request_body=True,
            validate_request_parameters=True,
        )
        self._models: dict[str, api_gateway_model.ApiGatewayModel] = {}
        parts = [*self._paths(spec, invoke_arn), *self._errors()]
        deployment = api_gateway_deployment.ApiGatewayDeployment(
            self,
            "deployment",
            rest_api_id=self.id,
            # A deployment is a snapshot: without a new one no change of the API would be seen. What holds references of
            # Terraform stands as it is: hashed here, it would change with the order in which constructs are made.
            triggers={
                "document": _digest([spec, [vars(error) for error in ERRORS]]),
                "origin": allowed_origin,
                "integration": invoke_arn,
                # Whether the default endpoint answers counts from the next deployment on (developer guide, "Disable the
                # default endpoint for REST APIs").
                "domain": domain_name or "",
            },
            depends_on=parts,
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )
        self.access_logs = LogGroup(self, "access_logs", name=f"/aws/apigateway/{self.name}")
        # API Gateway would make this group itself, without retention.
        execution_logs = LogGroup(
            self, "execution_logs", name=f"API-Gateway-Execution-Logs_{self.id}/{self.stage_name}"
        )
        self._stage = api_gateway_stage.ApiGatewayStage(
            self,
            "stage",
            rest_api_id=self.id,
            deployment_id=deployment.id,
            stage_name=self.stage_name,
            xray_tracing_enabled=True,
            access_log_settings=api_gateway_stage.ApiGatewayStageAccessLogSettings(
                destination_arn=self.access_logs.group.arn, format=json.dumps(_ACCESS_LOG, separators=(",", ":"))
            ),
            depends_on=[execution_logs.group],
        )
        settings = api_gateway_method_settings
        settings.ApiGatewayMethodSettings(
            self,
            "settings",
            rest_api_id=self.id,
            stage_name=self._stage.stage_name,
            method_path="*/*",
            settings=settings.ApiGatewayMethodSettingsSettings(
                metrics_enabled=False,  # of each method, for a price; those of the stage come anyway
                logging_level="ERROR",
                data_trace_enabled=False,  # would log bodies, hence images
                throttling_rate_limit=requests_per_second,
                throttling_burst_limit=burst,
            ),
        )
        self.stage_arn = self._stage.arn
        self.url = self._stage.invoke_url
        if domain_name:
            self.url = f"https://{domain_name}"
            self._answer_at(domain_name, certificate_arn)
        self.requests, self.client_errors, self.server_errors = (
            Metric(metric.lower(), "AWS/ApiGateway", metric, {"ApiName": self.name, "Stage": self.stage_name})
            for metric in ("Count", "4XXError", "5XXError")
        )
        self.latency = Metric("latency", "AWS/ApiGateway", "Latency", dict(self.requests.dimensions), "p95")

    @property
    def stage(self) -> TerraformResource:
        return self._stage

    @property
    def source_arn(self) -> str:
        """Any operation of this stage, as a function's permission names it."""
        return Place.around(self).arn("execute-api", f"{self.id}/{self.stage_name}/*")

    def _paths(self, spec: Mapping[str, Any], invoke_arn: str) -> Iterator[TerraformResource]:
        resources: dict[str, str] = {"": self._api.root_resource_id}
        for path, item in spec["paths"].items():
            above = ""
            for segment in path.strip("/").split("/"):
                here = f"{above}/{segment}"
                if here not in resources:
                    resource = api_gateway_resource.ApiGatewayResource(
                        self,
                        f"path{_name(here)}",
                        rest_api_id=self.id,
                        parent_id=resources[above],
                        path_part=segment,
                    )
                    resources[here] = resource.id
                above = here
            operations = {method: item[method] for method in METHODS if method in item}
            for method, operation in operations.items():
                yield from self._operation(resources[path], f"{method}{_name(path)}", method.upper(), operation, spec, invoke_arn)
            yield from self._preflight(resources[path], _name(path), [method.upper() for method in operations])

    def _operation(
        self, resource_id: str, id_: str, http_method: str, operation: Mapping[str, Any], spec: Mapping[str, Any], invoke_arn: str
    ) -> Iterator[TerraformResource]:
        models = {}
        if body := operation.get("requestBody"):
            models[JSON] = self._model(body["content"][JSON]["schema"]["$ref"], spec).name
        places = {"query": "querystring", "path": "path", "header": "header"}
        method = api_gateway_method.ApiGatewayMethod(
            self,
            id_,
            rest_api_id=self.id,
            resource_id=resource_id,
            http_method=http_method,
            operation_name=operation["operationId"],
            authorization="NONE",
            api_key_required=True,
            request_validator_id=self._validator.id,
            request_models=models or None,
            request_parameters={
                f"method.request.{places[each['in']]}.{each['name']}": each.get("required", False)
                for each in (_resolve(parameter, spec) for parameter in operation.get("parameters", ()))
            }
            or None,
        )
        integration = api_gateway_integration.ApiGatewayIntegration(
            self,
            f"{id_}_integration",
            rest_api_id=self.id,
            resource_id=resource_id,
            http_method=method.http_method,
            type="AWS_PROXY",
            integration_http_method="POST",
            uri=invoke_arn,
            timeout_milliseconds=29_000,
        )
        yield from (method, integration)

    def _model(self, reference: str, spec: Mapping[str, Any]) -> api_gateway_model.ApiGatewayModel:
        name = reference.rpartition("/")[2]
        if name not in self._models:
            self._models[name] = api_gateway_model.ApiGatewayModel(
                self,
                f"model_{name}",
                rest_api_id=self.id,
                name=name,
                content_type=JSON,
                schema=json.dumps(
                    {"$schema": "http://json-schema.org/draft-04/schema#", "title": name, **_schema({"$ref": reference}, spec)},
                    sort_keys=True,
                    separators=(",", ":"),
                ),
            )
        return self._models[name]

    def _preflight(self, resource_id: str, id_: str, methods: list[str]) -> Iterator[TerraformResource]:
        """OPTIONS, which browsers ask without a key before they send anything (CORS)."""
        names = {
            **self._cors,
            "Access-Control-Allow-Methods": ",".join([*methods, "OPTIONS"]),
            "Access-Control-Allow-Headers": f"Content-Type,{API_KEY_HEADER}",
            "Access-Control-Max-Age": "3600",
        }
        where: dict[str, Any] = {"rest_api_id": self.id, "resource_id": resource_id}
        method = api_gateway_method.ApiGatewayMethod(
            self,
            f"options{id_}",
            **where,
            http_method="OPTIONS",
            authorization="NONE",
            request_validator_id=self._validator.id,
        )
        integration = api_gateway_integration.ApiGatewayIntegration(
            self,
            f"options{id_}_integration",
            **where,
            http_method=method.http_method,
            type="MOCK",
            request_templates={JSON: '{"statusCode":204}'},
        )
        response = api_gateway_method_response.ApiGatewayMethodResponse(
            self,
            f"options{id_}_response",
            **where,
            http_method=method.http_method,
            status_code="204",
            response_parameters={f"method.response.header.{name}": True for name in names},
        )
        answer = api_gateway_integration_response.ApiGatewayIntegrationResponse(
            self,
            f"options{id_}_integration_response",
            **where,
            http_method=method.http_method,
            status_code=response.status_code,
            response_parameters={f"method.response.header.{name}": f"'{value}'" for name, value in names.items()},
            depends_on=[integration],
        )
        yield from (method, integration, response, answer)

    def _errors(self) -> Iterator[TerraformResource]:
        for error in ERRORS:
            body = {"code": error.code, "message": error.message, "request_id": "$context.requestId"}
            yield api_gateway_gateway_response.ApiGatewayGatewayResponse(
                self,
                f"error_{error.response_type.lower()}",
                rest_api_id=self.id,
                response_type=error.response_type,
                status_code=str(error.status) if error.status else None,
                response_templates={JSON: json.dumps(body)},
                response_parameters={f"gatewayresponse.header.{name}": f"'{value}'" for name, value in self._cors.items()},
            )

    def _answer_at(self, domain_name: str, certificate_arn: str | None) -> None:
        domain = api_gateway_domain_name.ApiGatewayDomainName(
            self,
            "domain",
            domain_name=domain_name,
            regional_certificate_arn=certificate_arn,
            security_policy="TLS_1_2",
            endpoint_configuration=api_gateway_domain_name.ApiGatewayDomainNameEndpointConfiguration(types=["REGIONAL"]),
        )
        api_gateway_base_path_mapping.ApiGatewayBasePathMapping(
            self, "domain_mapping", api_id=self.id, stage_name=self._stage.stage_name, domain_name=domain.domain_name
        )


class ApiKey(Construct):
    """A key of one API, with the plan that limits what it may ask for."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        api: RestApi,
        requests_per_second: int,
        burst: int,
        requests_per_day: int,
    ) -> None:
        """AWS makes the key's value up; it stands in Terraform's state, and nowhere else: ``aws apigateway get-api-key
        --include-value`` shows it to who may."""
        super().__init__(scope, id_)
        full_name = Place.around(self).name(name, 128)
        key = api_gateway_api_key.ApiGatewayApiKey(self, "key", name=full_name, description=f"Opens {api.name}")
        of = api_gateway_usage_plan
        plan = of.ApiGatewayUsagePlan(
            self,
            "plan",
            name=full_name,
            description=f"What a key of {api.name} may ask for",
            api_stages=[of.ApiGatewayUsagePlanApiStages(api_id=api.id, stage=api.stage_name)],
            throttle_settings=of.ApiGatewayUsagePlanThrottleSettings(rate_limit=requests_per_second, burst_limit=burst),
            quota_settings=of.ApiGatewayUsagePlanQuotaSettings(limit=requests_per_day, period="DAY"),
            depends_on=[api.stage],
        )
        api_gateway_usage_plan_key.ApiGatewayUsagePlanKey(
            self, "plan_key", key_id=key.id, key_type="API_KEY", usage_plan_id=plan.id
        )
        self.id = key.id


class ApiGatewayLogging(Construct):
    """The role under which API Gateway writes logs: one per account and region, so no stack but one may own it (C3)."""

    _WRITE = (
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:DescribeLogGroups",
        "logs:DescribeLogStreams",
        "logs:FilterLogEvents",
        "logs:GetLogEvents",
        "logs:PutLogEvents",
    )

    def __init__(self, scope: Construct, id_: str, *, name: str, region: str) -> None:
        """``region`` is where the APIs stand."""
        super().__init__(scope, id_)
        there = Region(self, "there", region=region)
        role = Role(self, "role", name=name, service="apigateway.amazonaws.com", description="API Gateway writes logs")
        # API Gateway looks for these very actions on every log group before it takes the role (API Gateway developer guide,
        # "Set up CloudWatch logging for REST APIs").
        role.allow_runtime("Logs", self._WRITE, ["*"])
        api_gateway_account.ApiGatewayAccount(
            there, "account", cloudwatch_role_arn=role.arn, reset_on_delete=True, depends_on=role.runtime
        )


_ACCESS_LOG = {
    "request_id": "$context.requestId",
    "time": "$context.requestTime",
    "ip": "$context.identity.sourceIp",
    "api_key_id": "$context.identity.apiKeyId",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "resource": "$context.resourcePath",
    "status": "$context.status",
    "error": "$context.error.responseType",
    "latency_ms": "$context.responseLatency",
    "response_bytes": "$context.responseLength",
}


def _name(path: str) -> str:
    """A construct's id from a path: ``/images/{id}`` is ``_images_id``."""
    return "".join(f"_{segment.strip('{}')}" for segment in path.strip("/").split("/"))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _resolve(value: Mapping[str, Any], spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a ``$ref`` of the document means. Raises KeyError if it means nothing."""
    while "$ref" in value:
        target: Any = spec
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


def _schema(value: Any, spec: Mapping[str, Any]) -> Any:
    """A schema as a model of API Gateway: references resolved, and without the examples that models do not know (API Gateway
    developer guide, "Amazon API Gateway important notes")."""
    if isinstance(value, Mapping):
        return {name: _schema(part, spec) for name, part in _resolve(value, spec).items() if name != "example"}
    if isinstance(value, list):
        return [_schema(part, spec) for part in value]
    return value
