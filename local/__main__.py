"""The local run: `python -m local run | up | down | plan STACK | search [QUERY]` (`make local`, `make local-up`, …)."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from local.deployment import LOCAL_SETTINGS, STACKS, Deployment, SynthesisError, files_of, synthesise
from local.emulator import ACCESS_KEY, LOCAL, ROOT, SECRET_KEY, Emulator, EmulatorError
from local.executions import PipelineTimeout
from local.exercise import SamplesError, exercise
from local.metadata import Metadata, SearchError, pretty
from local.metadata_exercise import MetadataSystem
from local.pets import ApiError
from local.prerequisites import prerequisites
from local.report import RunFacts, write_report
from local.systems import SYSTEMS
from local.terraform import PROVIDER_VERSION, Terraform, TerraformError, find_provider, interrupt
from settings import SettingsError, load, read_context

OUTPUTS = LOCAL / "outputs.json"
REPORT = LOCAL / "report.html"
RUN = "run"
"""The name under which `run` starts its embedded AWS, beside the one that `up` leaves running."""
USER_ERRORS = (ApiError, EmulatorError, PipelineTimeout, SamplesError, SearchError, SynthesisError, TerraformError)
"""What is told in words; anything else is a bug and shows its traceback."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else 150, soft_wrap=not sys.stdout.isatty())


class Phases:
    """The steps of a run: each shown while it goes on, and its seconds kept."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, title: str) -> Iterator[_Step]:
        began = time.monotonic()
        with _Step(title) as step:
            yield step
        self.seconds[title] = time.monotonic() - began
        console.print(f"[green]✓[/] {title} [dim]{self.seconds[title]:.1f} s[/]")


class _Step:
    """One running step: a bar on a terminal, a line every ten seconds elsewhere."""

    _QUIET_SECONDS = 10

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("[dim]{task.fields[text]}", markup=True), console=console, transient=True)
        self._task = self._bar.add_task(title, total=None, text="")
        self._said = time.monotonic()

    def __enter__(self) -> _Step:
        if console.is_terminal:
            self._bar.start()
        else:
            console.print(f"… {self._title}")
        return self

    def __exit__(self, *_: object) -> None:
        if console.is_terminal:
            self._bar.stop()

    def __call__(self, text: str, done: int = 0, total: int = 0) -> None:
        """Tell what happens now, and how many of how many are done (0: unknown)."""
        if console.is_terminal:
            self._bar.update(self._task, text=Text(text[:80]).markup)
            if total:
                self._bar.update(self._task, completed=done, total=total)
        elif time.monotonic() - self._said > self._QUIET_SECONDS:
            console.print(Text(f"  {f'{done}/{total} ' if total else ''}{text}"))
            self._said = time.monotonic()


def run() -> int:
    """Deploy, send the samples through, report, tear down. 0 only if every sample ended as it must."""
    phases, started = Phases(), datetime.now().astimezone()
    samples = {system: system.samples() for system in SYSTEMS}
    deployment = _deployed(phases, Emulator(name=RUN))
    try:
        with phases(f"send {sum(map(len, samples.values()))} samples through") as step:
            results = exercise(
                samples, deployment.aws, deployment.outputs, lambda done, total: step("files ended", done, total))
        for result in results:
            console.print(result.system.table(result.outcomes))
        write_report(REPORT, results, RunFacts(
            when=started, phases=phases.seconds, versions=_versions(), outputs=deployment.outputs,
            suffix=deployment.environment["ENVIRONMENT_SUFFIX"]))
        with phases("destroy with Terraform") as step:
            deployment.destroy(progress=step)
    finally:
        _stopped(deployment.aws)
    console.print(Text(f"The report, with pictures and every execution: {REPORT.relative_to(ROOT)}"))
    wrong = [(result.system, outcome) for result in results for _, outcome in result.faulty]
    for system, outcome in wrong:
        console.print(Text(f"✗ {system.name}/{outcome.sample.file_name}: {'; '.join(outcome.faults)}", style="red"))
    if not wrong:
        count = sum(len(result.outcomes) for result in results)
        console.print(f"[green]Every one of the {count} samples ended as its expected.toml says.[/]")
    return 1 if wrong else 0


def up(port: int) -> int:
    """Start, deploy and leave it running; `.local/outputs.json` tells where (L3)."""
    deployment = _deployed(Phases(), Emulator(port=port))
    aws = deployment.aws
    where = {"endpoint": aws.endpoint, "region": aws.region, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    OUTPUTS.write_text(json.dumps({**where, **deployment.outputs}, indent=2) + "\n", encoding="utf-8")
    hints = "".join(f"  {system.hint(deployment.outputs[system.stack])}\n" for system in SYSTEMS)
    console.print(Text(
        f"It runs at {aws.endpoint}; outputs are in {OUTPUTS.relative_to(ROOT)}. Try:\n"
        f"  export AWS_ENDPOINT_URL={aws.endpoint} AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} "
        f"AWS_REGION={aws.region} AWS_DEFAULT_REGION={aws.region}\n"
        f"{hints}  .venv/bin/python -m ops status --suffix {LOCAL_SETTINGS['ENVIRONMENT_SUFFIX']}\n"
        "Stop it with: make local-down"))
    return 0


def down() -> int:
    """Stop what `up` started, or a `run` that was killed, and remove everything it made."""
    running = [aws for aws in (Emulator.running(), Emulator.running(name=RUN)) if aws]
    for aws in running:
        _stopped(aws)
    console.print("The embedded AWS is stopped, its data removed." if running else "The embedded AWS is not running.")
    OUTPUTS.unlink(missing_ok=True)
    return 0


def plan(stack: str) -> int:
    """Show what Terraform would change: in the embedded AWS that `up` left running, else in the AWS of your credentials."""
    source = find_provider()
    aws = Emulator.running()
    if aws:
        deployment = Deployment(aws, source)
        deployment.synthesise()
        terraform = deployment.terraform(stack)
        console.print(f"Planning {stack} against the embedded AWS at {aws.endpoint}.")
    else:
        terraform = Terraform(synthesise(ROOT, os.environ) / stack, os.environ, source)
        console.print(f"Planning {stack} against AWS with your credentials (for the embedded AWS: make local-up first).")
    terraform.init()
    print(terraform.show(terraform.plan()))
    return 0


def search(query: str, count: int) -> int:
    """Print the newest metadata documents of the environment that `up` left running, as JSON."""
    aws = Emulator.running()
    if not aws or not OUTPUTS.exists():
        raise EmulatorError("The embedded AWS is not running, or not deployed yet. Remedy: make local-up, and wait for its end")
    try:
        wanted = json.loads(query)
    except ValueError as error:
        raise SearchError(f"The query is not JSON: {error}. Remedy: such as '{{\"term\": {{\"name\": \"ledger\"}}}}'") from None
    metadata = Metadata(aws, json.loads(OUTPUTS.read_text(encoding="utf-8"))[MetadataSystem.stack])
    print(pretty(metadata.newest(count, wanted)))
    return 0


def _deployed(phases: Phases, aws: Emulator) -> Deployment:
    """The stacks on this embedded AWS, started for them; stopped again if that fails."""
    load(read_context(ROOT / "cdktf.json"), {**os.environ, **LOCAL_SETTINGS})  # bad settings are told before anything starts
    source = find_provider()
    console.print(Text(f"The AWS provider {PROVIDER_VERSION} comes from {source.description}."))
    with phases("start the embedded AWS, IAM enforced") as step:
        aws.start(progress=step)
    deployment = Deployment(aws, source)
    try:
        with phases("deploy with Terraform") as step:
            deployment.deploy(progress=step)
    except BaseException:
        _stopped(aws)
        raise
    return deployment


def _stopped(aws: Emulator) -> None:
    """Stop it and remove everything that it, the synthesis and Terraform wrote."""
    aws.stop()
    shutil.rmtree(files_of(aws), ignore_errors=True)


def _interrupt(*_: object) -> None:
    """Stop in good order, whoever asks for it: a person, a closing terminal, a supervisor."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # once is enough; a second Ctrl-C still gets through
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console.print("Stopping; Terraform first finishes what it has begun …")
    interrupt()
    raise KeyboardInterrupt


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text} is no port; a port is a number from 0 to 65535")
    return int(text)


def _versions() -> dict[str, str]:
    terraform = subprocess.run(["terraform", "version", "-json"], check=True, capture_output=True, text=True,
                               env={**os.environ, "CHECKPOINT_DISABLE": "1"}).stdout
    return {"Python": platform.python_version(), "Terraform": json.loads(terraform)["terraform_version"],
            "AWS provider": PROVIDER_VERSION, "CDKTF": version("cdktf"), "MiniStack": version("ministack")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help=run.__doc__)
    commands.add_parser("up", help=up.__doc__).add_argument("--port", type=_port, default=0, help="default: a free one")
    commands.add_parser("down", help=down.__doc__)
    commands.add_parser("plan", help=plan.__doc__).add_argument("stack", choices=("state-backend", *STACKS))
    searching = commands.add_parser("search", help=search.__doc__)
    searching.add_argument("query", nargs="?", default='{"match_all": {}}', help="in OpenSearch's query language; default: all")
    searching.add_argument("--count", type=int, default=10, help="how many at most; default: 10")
    arguments = vars(parser.parse_args())
    command = {"run": run, "up": up, "down": down, "plan": plan, "search": search}[arguments.pop("command")]
    if command not in (down, search) and (faults := prerequisites()):
        console.print(Text("\n".join(faults), style="red"))
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return command(**arguments)
    except SettingsError as error:
        console.print(Text(str(error), style="red"))
        return 2
    except USER_ERRORS as error:
        console.print(Text(str(error), style="red"))
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
