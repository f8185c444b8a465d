"""The project's stacks on an embedded AWS: the real synthesis, the real Terraform, the real remote state.

    deployment = Deployment(aws, find_provider())
    deployment.deploy()                  # state-backend with local state, then the others, side by side, through S3 and DynamoDB
    deployment.outputs["tap"]["etl_bucket_name"]
    deployment.destroy()
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from botocore.exceptions import ClientError

from local.emulator import LOCAL, ROOT, Emulator
from local.terraform import Plan, ProviderSource, Terraform

BACKEND_STACK = "state-backend"
STACKS = ("tap", "pet-detector", "ingestion")
"""Stacks with remote state; they don't know of each other."""

# Settings of the local environment. The user's own environment variables may add others, such as ETL_MAX_REJECT_RATIO.
LOCAL_SETTINGS = {
    "ENVIRONMENT_SUFFIX": "local",
    "TERRAFORM_STATE_BUCKET": "local-terraform-state",
    "RETAIN_DATA": "false",
    "S3_USE_PATH_STYLE": "true",
}

POLL_SECONDS = 0.5

Progress = Callable[[str, int, int], None]
"""Told what happens, in words, and how many resources of how many are done (0: unknown)."""


class SynthesisError(Exception):
    """main.py did not synthesise; the message is its own."""


def synthesise(folder: Path, environment: Mapping[str, str], project: Path = ROOT) -> Path:
    """Run the project's main.py in this folder, as `cdktf synth` would; the folder of the stacks, in its `cdktf.out`. Raises
    SynthesisError.

    The state of `state-backend` lies in the folder itself, and stays.
    """
    output = folder / "cdktf.out"
    shutil.rmtree(output, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, str(project / "main.py")],
        check=False,
        cwd=folder,
        env={"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20", **environment, "CDKTF_OUTDIR": str(output)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SynthesisError(done.stderr.strip() or done.stdout.strip())
    return output / "stacks"


def files_of(aws: Emulator, folder: Path = LOCAL) -> Path:
    """Where synthesis and Terraform write for this embedded AWS."""
    return folder / f"deployment-{aws.port}"


class Deployment:
    """The project's stacks on one embedded AWS. Its files live in `.local/deployment-PORT`, which `destroy` removes.

    settings: environment variables for the synthesis, over LOCAL_SETTINGS. project: what is synthesised, such as an earlier
    release.
    """

    def __init__(self, aws: Emulator, source: ProviderSource, *, settings: Mapping[str, str] | None = None, folder: Path = LOCAL,
                 project: Path = ROOT):
        self.environment = {**aws.environment(), **LOCAL_SETTINGS, **(settings or {})}
        self.outputs: dict[str, dict[str, str]] = {}
        self.folder = files_of(aws, folder)
        self.aws = aws
        self.project = project
        self._source = source
        self._terraform_folder = folder

    def synthesise(self) -> None:
        """Write the Terraform JSON of every stack. Raises SynthesisError."""
        synthesise(self.folder, self.environment, self.project)

    def stacks(self) -> list[str]:
        """The synthesised stacks with remote state; an earlier release may have fewer."""
        return [stack for stack in STACKS if (self.folder / "cdktf.out" / "stacks" / stack).is_dir()]

    def terraform(self, stack: str) -> Terraform:
        """Terraform in the folder of a synthesised stack, not initialised."""
        directory = self.folder / "cdktf.out" / "stacks" / stack
        return Terraform(directory, self.environment, self._source, folder=self._terraform_folder)

    def deploy(self, progress: Progress = lambda *_: None) -> None:
        """Synthesise, then init, plan and apply each stack. Raises SynthesisError or TerraformError.

        All at once, those with remote state as soon as it has a place to lie: Terraform's provider waits a minute in each apply,
        until the new lifecycle rules are stable.
        """
        progress("synthesising", 0, 0)
        self.synthesise()
        with ThreadPoolExecutor(1) as beside:
            backend = beside.submit(self.apply, BACKEND_STACK, lambda text, *_: progress(text, 0, 0))
            while not (backend.done() or self._has_backend()):
                time.sleep(POLL_SECONDS)
            if backend.done():
                backend.result()  # it may have failed
            each_of(self.stacks(), self.apply, progress)
            backend.result()

    def _has_backend(self) -> bool:
        """Whether the versioned bucket and the lock table that the stacks name are there."""
        configuration = json.loads((self.folder / "cdktf.out" / "stacks" / STACKS[0] / "cdk.tf.json").read_text(encoding="utf-8"))
        backend = configuration["terraform"]["backend"]["s3"]
        try:
            versioning = self.aws.client("s3").get_bucket_versioning(Bucket=backend["bucket"])
            self.aws.client("dynamodb").describe_table(TableName=backend["dynamodb_table"])
        except ClientError:
            return False
        return versioning.get("Status") == "Enabled"

    def apply(self, stack: str, progress: Progress = lambda *_: None) -> Plan:
        """Plan and apply one synthesised stack and keep its outputs; the plan. Raises TerraformError."""
        terraform = self._initialised(stack, progress)
        plan = terraform.plan(progress=_of(stack, progress))
        terraform.apply(plan, progress=_of(stack, progress))
        self.outputs[stack] = {name: self._reachable(value) for name, value in terraform.output().items()}
        return plan

    def _reachable(self, output: str) -> str:
        """The output, with the address of a REST API as the embedded AWS serves it."""
        return re.sub(r"^https://(\w+)\.execute-api\.[\w.-]+", rf"{self.aws.endpoint}/_aws/execute-api/\1", output)

    def plan(self, stack: str, progress: Progress = lambda *_: None) -> Plan:
        """What another apply of a deployed stack would change. Raises TerraformError."""
        return self._initialised(stack, progress).plan(progress=_of(stack, progress))

    def _initialised(self, stack: str, progress: Progress) -> Terraform:
        terraform = self.terraform(stack)
        progress(f"{stack}: terraform init", 0, 0)
        terraform.init()
        return terraform

    def destroy(self, progress: Progress = lambda *_: None) -> None:
        """Destroy every deployed stack at once, then what held their state. Raises TerraformError."""
        def destroy(stack: str, progress: Progress) -> None:
            self.terraform(stack).destroy(progress=_of(stack, progress))
            del self.outputs[stack]

        for stacks in (STACKS, (BACKEND_STACK,)):
            each_of([stack for stack in stacks if stack in self.outputs], destroy, progress)
        self.remove_files()

    def remove_files(self) -> None:
        """Remove what synthesis and Terraform wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)


def each_of(stacks: Sequence[str], work: Callable[[str, Progress], object], progress: Progress) -> None:
    """Do the work for all stacks side by side; `progress` is told of each, with the sums of all. Raises what the first of them
    raised, once all have come to an end.
    """
    counts: dict[str, tuple[int, int]] = dict.fromkeys(stacks, (0, 0))

    def told(stack: str) -> Progress:
        def tell(text: str, done: int, total: int) -> None:
            counts[stack] = max((done, total), counts[stack])  # some steps count nothing
            progress(text, *map(sum, zip(*counts.values(), strict=True)))
        return tell

    with ThreadPoolExecutor(max(len(stacks), 1)) as threads:
        running = [threads.submit(work, stack, told(stack)) for stack in stacks]
    for each in running:
        each.result()


def _of(stack: str, progress: Progress) -> Progress:
    return lambda text, done, total: progress(f"{stack}: {text}", done, total)


