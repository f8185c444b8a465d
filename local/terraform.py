"""Terraform as the local run uses it: what must be installed, where the AWS provider comes from (L4), and its commands.

    source = find_provider()                                     # or ProviderMissing, with the remedy
    terraform = Terraform(folder, aws.environment(), source)
    terraform.init({"use_path_style": "true"})
    terraform.apply(progress=lambda text, done, total: print(f"{done}/{total} {text}"))
    terraform.output()

The user's own Terraform configuration is neither read nor changed: a CLI configuration file of ours, under `.local/`, takes its
place by `TF_CLI_CONFIG_FILE`, also where that variable already names another file, present or not.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOCAL = Path(__file__).resolve().parent.parent / ".local"
PROVIDER_VERSION = "5.100.0"
REGISTRY = "https://registry.terraform.io"
REGISTRY_SECONDS = 4
CONVENTIONAL = ("/opt", "/usr/local/share", "/usr/share", "/var/lib")
# The user's variables that would change what a command does or where it keeps its files.
NOT_INHERITED = re.compile(r"TF_(CLI_ARGS.*|WORKSPACE|DATA_DIR|PLUGIN_CACHE_DIR|CLI_CONFIG_FILE|LOG_PATH)")

ProgressCallback = Callable[[str, int, int], None]


class TerraformError(Exception):
    """A command failed. The message is Terraform's own diagnosis, for the user."""


class ProviderMissing(TerraformError):
    """No source of the AWS provider was found. The message says where it was sought and what to do."""


# --- where the provider comes from (L4) ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class ProviderSource:
    """Where Terraform takes the AWS provider from: a mirror folder, or the registry if there is none."""

    description: str
    mirror: Path | None = None

    def cli_configuration(self) -> str:
        """The `provider_installation` block that allows this source and no other."""
        method = f"filesystem_mirror {{\n    path = {json.dumps(str(self.mirror))}\n  }}" if self.mirror else "direct {}"
        return f"# Written by local/terraform.py: {self.description}\nprovider_installation {{\n  {method}\n}}\n"


def find_provider(environment: Mapping[str, str] = os.environ, *, registry: str = REGISTRY,
                  implied: Iterable[Path] | None = None, conventional: Iterable[str | Path] = CONVENTIONAL) -> ProviderSource:
    """The first source that has the provider, in the order of L4: the folder named by TERRAFORM_PROVIDER_MIRROR; the registry,
    if it answers in time; Terraform's implied plugin folders; a `registry.terraform.io` folder in a conventional place.

    Raises ProviderMissing if none has it, or if the named folder, which the user meant, hasn't.
    """
    if named := environment.get("TERRAFORM_PROVIDER_MIRROR"):
        folder = mirror_root(Path(named).expanduser())
        if not holds_provider(folder):
            raise ProviderMissing(f"TERRAFORM_PROVIDER_MIRROR names {named}, which doesn't hold {_wanted()}.\n{_remedy()}")
        return ProviderSource(f"the mirror {folder}, named by TERRAFORM_PROVIDER_MIRROR", folder)
    if registry_answers(registry):
        return ProviderSource(f"the Terraform registry, {registry}")
    implied = list(implied_folders(environment) if implied is None else implied)
    conventional = list(conventional)
    for kind, folders in (("Terraform's implied plugin folder", implied), ("the mirror", mirrors_below(conventional))):
        for folder in folders:
            if holds_provider(folder):
                return ProviderSource(f"{kind} {folder}", folder)
    raise ProviderMissing(
        f"{_wanted()} is not to be had: {registry} doesn't answer within {REGISTRY_SECONDS} s, and no mirror of it is in\n"
        + "".join(f"  {folder}\n" for folder in [*implied, *(f"{root} (two levels deep)" for root in conventional)]) + _remedy())


def _wanted() -> str:
    return f"the Terraform provider hashicorp/aws {PROVIDER_VERSION} for {platform_name()}"


def _remedy() -> str:
    return ("Remedy: where the registry can be reached, run `terraform providers mirror FOLDER` in a folder with this project's "
            "main.tf or cdk.tf.json, copy FOLDER to this machine, and set TERRAFORM_PROVIDER_MIRROR=FOLDER.")


def platform_name() -> str:
    """This machine as Terraform names it: `linux_amd64`, `darwin_arm64`, …"""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}_{ {'x86_64': 'amd64', 'aarch64': 'arm64', 'i686': '386'}.get(machine, machine) }"


def mirror_root(folder: Path) -> Path:
    """The folder that contains `registry.terraform.io`, if that one itself was named."""
    return folder.parent if folder.name == "registry.terraform.io" else folder


def holds_provider(mirror: Path) -> bool:
    """Whether the folder is a mirror with our version of the provider for this platform, packed or unpacked."""
    provider = mirror / "registry.terraform.io" / "hashicorp" / "aws"
    packed = provider / f"terraform-provider-aws_{PROVIDER_VERSION}_{platform_name()}.zip"
    try:
        return packed.is_file() or any(
            program.is_file() for program in (provider / PROVIDER_VERSION / platform_name()).glob("terraform-provider-aws*"))
    except OSError:  # not ours to read
        return False


def registry_answers(registry: str, seconds: float = REGISTRY_SECONDS) -> bool:
    """Whether the registry offers our version for this platform, and the place it points to answers too, each in time."""
    system, machine = platform_name().split("_")
    try:
        offer = f"{registry}/v1/providers/hashicorp/aws/{PROVIDER_VERSION}/download/{system}/{machine}"
        with urllib.request.urlopen(offer, timeout=seconds) as answer:
            download = json.load(answer)["download_url"]
        with urllib.request.urlopen(urllib.request.Request(download, method="HEAD"), timeout=seconds):
            return True
    except (OSError, ValueError, KeyError):
        return False


def implied_folders(environment: Mapping[str, str], system: str = sys.platform) -> Iterator[Path]:
    """Where Terraform itself looks when nothing is configured (its documentation, "Implied Local Mirror Directories")."""
    home = Path(environment.get("HOME") or Path.home())
    yield home / ".terraform.d" / "plugins"
    if system == "darwin":
        yield home / "Library" / "Application Support" / "io.terraform" / "plugins"
        yield Path("/Library/Application Support/io.terraform/plugins")
    else:
        yield Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "terraform" / "plugins"
        for folder in (environment.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":"):
            yield Path(folder) / "terraform" / "plugins"


def mirrors_below(roots: Iterable[str | Path]) -> Iterator[Path]:
    """Folders that contain a `registry.terraform.io`, from each root to two levels below it."""
    for root, depth in itertools.product(roots, ("", "*/", "*/*/")):
        for registry in sorted(Path(root).glob(f"{depth}registry.terraform.io")):
            yield registry.parent


# --- its commands ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Plan:
    """A saved plan: its file, and its content as of `terraform show -json`."""

    file: Path
    content: dict = field(repr=False)

    @property
    def changes(self) -> dict[str, list[str]]:
        """Address → actions (`create`, `update`, `delete`), of the resources that would change, and of outputs."""
        resources = {each["address"]: each["change"]["actions"] for each in self.content.get("resource_changes", [])}
        outputs = {f"output.{name}": change["actions"] for name, change in self.content.get("output_changes", {}).items()}
        return {address: actions for address, actions in {**resources, **outputs}.items() if actions not in (["no-op"], ["read"])}


class Terraform:
    """Terraform's commands in one folder.

    environment: of the commands, such as `Emulator.environment()`. source: from `find_provider`. folder: for our own files.
    Every command raises TerraformError with Terraform's diagnosis.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], source: ProviderSource, *, folder: Path = LOCAL):
        self.directory = Path(directory)
        self.environment = terraform_environment(environment, source, folder)

    def init(self, backend: Mapping[str, str] | None = None) -> None:
        """Install the provider and configure the backend, whose settings these add to, as `-backend-config` does.

        One after the other, other processes' too: Terraform's plugin cache isn't made for several at once.
        """
        with Path(self.environment["TF_PLUGIN_CACHE_DIR"]).with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            self._run("init", "-reconfigure", *(f"-backend-config={key}={value}" for key, value in (backend or {}).items()))

    def validate(self) -> None:
        """Check the configuration without asking AWS."""
        result = json.loads(self._run("validate", "-json", check=False))
        if not result["valid"]:
            raise TerraformError(_told(result["diagnostics"]))

    def plan(self, file: Path | None = None, *, destroy: bool = False, progress: ProgressCallback = lambda *_: None) -> Plan:
        """What apply (or destroy) would do, saved to the file (default: `tfplan` in the folder)."""
        file = (file or self.directory / "tfplan").resolve()
        self._stream("plan", "-detailed-exitcode", f"-out={file}", *(["-destroy"] if destroy else []), progress=progress)
        return Plan(file, json.loads(self._run("show", "-json", str(file))))

    def show(self, plan: Plan) -> str:
        """The plan as Terraform shows it to people."""
        return self._run("show", str(plan.file))

    def apply(self, plan: Plan | None = None, *, progress: ProgressCallback = lambda *_: None) -> None:
        """Make it so: the saved plan, or a new one."""
        arguments = [str(plan.file)] if plan else ["-auto-approve"]
        self._stream("apply", *arguments, progress=progress, total=len(plan.changes) if plan else 0)

    def destroy(self, *, progress: ProgressCallback = lambda *_: None) -> None:
        """Remove everything this folder's state knows."""
        self._stream("destroy", "-auto-approve", progress=progress)

    def output(self) -> dict:
        """Outputs as plain `{name: value}`."""
        return {name: output["value"] for name, output in json.loads(self._run("output", "-json")).items()}

    def _run(self, command: str, *arguments: str, check: bool = True) -> str:
        """Run to the end and return what it printed."""
        no_color = [] if command == "output" else ["-no-color"]
        done = subprocess.run(["terraform", command, *no_color, *arguments], check=False, cwd=self.directory,
                              env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode:
            told = _without_frame(done.stderr or done.stdout)
            raise TerraformError(f"terraform {command} in {self.directory} failed:\n{told}")
        return done.stdout

    def _stream(self, command: str, *arguments: str, progress: ProgressCallback, total: int = 0) -> None:
        """Run with `-json` and tell each step as it happens: its text, how many changes are done, of how many (0: unknown)."""
        done, faults, other = 0, [], []
        process = subprocess.Popen(
            ["terraform", command, "-json", "-input=false", *arguments], cwd=self.directory, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        _running.add(process)
        if _interrupted.is_set():  # meanwhile, so that nobody has told this one
            process.send_signal(signal.SIGINT)
        try:
            for line in process.stdout or ():
                try:
                    message = json.loads(line)
                except ValueError:
                    other.append(line.rstrip())
                    continue
                kind = message.get("type")
                if kind == "diagnostic" and message["diagnostic"]["severity"] == "error":
                    faults.append(message["diagnostic"])
                elif kind == "change_summary" and message["changes"]["operation"] == "plan":
                    total = sum(message["changes"][action] for action in ("add", "change", "remove"))
                    progress(message["@message"], done, total)
                elif kind == "apply_complete" and message["hook"]["action"] != "read":
                    done += 1
                    progress(message["@message"], done, total)
                elif kind in ("apply_start", "apply_progress", "apply_errored", "refresh_start"):
                    progress(message["@message"], done, total)
        finally:  # also when interrupted: Terraform finishes its step and unlocks the state
            code = process.wait()
            _running.discard(process)
        if code not in (0, 2):
            raise TerraformError(f"terraform {command} in {self.directory} failed:\n" + (_told(faults) or "\n".join(other)))


_running: set[subprocess.Popen] = set()
_interrupted = threading.Event()


def interrupt() -> None:
    """Ask every Terraform that runs to stop, and those that start later; one that a terminal's Ctrl-C has asked already stops at
    once.
    """
    _interrupted.set()
    for process in list(_running):
        process.send_signal(signal.SIGINT)


def terraform_environment(environment: Mapping[str, str], source: ProviderSource, folder: Path = LOCAL) -> dict[str, str]:
    """The environment in which Terraform (and cdktf, which calls it) takes the provider from this source and asks nothing."""
    cache = folder / "terraform-plugins"
    cache.mkdir(parents=True, exist_ok=True)
    configuration = folder / "terraform.rc"
    fresh = folder / f"terraform.rc-{uuid.uuid4().hex}"
    fresh.write_text(source.cli_configuration())
    fresh.replace(configuration)  # atomic: another process's Terraform may be reading it
    return {
        **{key: value for key, value in environment.items() if not NOT_INHERITED.fullmatch(key)},
        "TF_CLI_CONFIG_FILE": str(configuration),
        "TF_PLUGIN_CACHE_DIR": str(cache),
        # A fresh folder has no lock file, and without this Terraform wouldn't take the provider from its cache.
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
    }


def _told(diagnostics: Iterable[dict]) -> str:
    """Diagnostics as paragraphs: what, where, why."""
    return "\n\n".join("\n".join(filter(None, (
        each["summary"], each.get("address") and f"  {each['address']}", each.get("detail")))) for each in diagnostics)


def _without_frame(text: str) -> str:
    """Terraform's message without the box it draws around it."""
    return "\n".join(re.sub(r"^[╷│╵] ?", "", line) for line in text.splitlines()).strip()
