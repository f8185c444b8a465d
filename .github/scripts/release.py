"""Releases the newest version of the API function through CodeDeploy: ``release.py OUTPUTS_JSON``.

The file is what ``terraform output -json`` prints; its output ``pet_api_release`` says which function, alias, application and
deployment group (modules_release.LiveAlias). Waits for the end. Exit code 1 if the deployment failed or was rolled back; 0 also
where there is nothing to release, or no CodeDeploy.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

OUTPUT = "pet_api_release"
SECONDS_BETWEEN_LOOKS = 10
LOOKS = 270  # 45 minutes: CodeDeploy's longest canary takes 30
ENDS = ("Succeeded", "Failed", "Stopped")


class ReleaseError(Exception):
    """The new version is not live. In words for whoever reads the job's log."""


def revision(function: str, alias: str, current: str, target: str) -> dict[str, Any]:
    """What CodeDeploy deploys: an AppSpec that moves the alias from one version to another."""
    properties = {"Name": function, "Alias": alias, "CurrentVersion": current, "TargetVersion": target}
    resources = [{"function": {"Type": "AWS::Lambda::Function", "Properties": properties}}]
    content = json.dumps({"version": 0.0, "Resources": resources})
    digest = hashlib.sha256(content.encode()).hexdigest()
    return {"revisionType": "AppSpecContent", "appSpecContent": {"content": content, "sha256": digest}}


def newest(functions: Any, name: str) -> str:
    """The number of the version published last."""
    pages = functions.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    numbers = [int(each["Version"]) for page in pages for each in page["Versions"] if each["Version"] != "$LATEST"]
    if not numbers:
        raise ReleaseError(f"{name} has no published version")
    return str(max(numbers))


def release(
    told: Mapping[str, str], functions: Any, deployments: Any, *, say: Callable[[str], None], wait: Callable[[], None]
) -> None:
    """Move the alias to the newest version and wait for the end. Raises ReleaseError if it did not get there."""
    function, alias = told["function"], told["alias"]
    current = functions.get_alias(FunctionName=function, Name=alias)["FunctionVersion"]
    target = newest(functions, function)
    if current == target:
        say(f"{function}:{alias} is at version {current} already")
        return
    id_ = deployments.create_deployment(
        applicationName=told["application"],
        deploymentGroupName=told["group"],
        revision=revision(function, alias, current, target),
        description=f"Version {current} to {target}",
    )["deploymentId"]
    say(f"{function}:{alias} goes from version {current} to {target}, deployment {id_}")
    for _ in range(LOOKS):
        found = deployments.get_deployment(deploymentId=id_)["deploymentInfo"]
        if found["status"] in ENDS:
            break
        wait()
    if found["status"] != "Succeeded":
        why = found.get("errorInformation", {}).get("message", "CodeDeploy gives no reason")
        raise ReleaseError(
            f"deployment {id_} is {found['status']}: {why}\nLook: aws deploy get-deployment --deployment-id {id_}, and the "
            f"alarms. The alias is at version {functions.get_alias(FunctionName=function, Name=alias)['FunctionVersion']}."
        )
    say(f"{function}:{alias} is at version {target}")


def main(words: list[str]) -> int:
    if len(words) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    outputs = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    told = outputs.get(OUTPUT, {}).get("value")
    if not told:
        print("There is no CodeDeploy here: the alias follows each version by itself")
        return 0
    try:
        release(
            json.loads(told),
            boto3.client("lambda"),
            boto3.client("codedeploy"),
            say=lambda line: print(line, flush=True),
            wait=lambda: time.sleep(SECONDS_BETWEEN_LOOKS),
        )
    except (ReleaseError, BotoCoreError, ClientError) as error:
        print(f"Not released: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
