"""The embedded AWS as a process: start, wait, talk to it, stop it and leave nothing behind.

    with Emulator() as aws:                       # a free port; stopped at the end of the block
        aws.client("s3").create_bucket(Bucket="b")

    aws = Emulator(port=4566).start()             # goes on running when this process ends; its state is on disk
    Emulator.running().stop()                     # found again by another process

Everything lives under `.local/`: `emulator.json` (pid, port, when started), `emulator.log`, and `emulator-PORT/` with the
emulator's data and the Lambda workers' folders, which `stop` removes.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import boto3
import botocore.session
from botocore.config import Config

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
REGION = "us-east-1"
ACCESS_KEY = SECRET_KEY = "test"
START_SECONDS = 60
STOP_SECONDS = 10
# What the emulator may see of the user's environment: how to find and run programs, a real OpenSearch, and what takes the place
# of our stand-in for Rekognition (botocore in the functions reads it by itself); nothing else of AWS.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "OPENSEARCH_URL",
             "AWS_ENDPOINT_URL_REKOGNITION")
LOOPBACK = "127.0.0.1,localhost,::1"


class EmulatorError(Exception):
    """The embedded AWS did not start, or is not there. The message is for the user."""


class Emulator:
    """One embedded AWS.

    port: where it listens, on loopback only; 0 takes a free one.
    folder: where state, log and data live.
    name: the file name of state and log, for several emulators side by side.
    settings: further environment variables of the emulator, which Lambda functions see too (such as
        `AWS_ENDPOINT_URL_REKOGNITION` of another stand-in).
    """

    def __init__(self, port: int = 0, *, folder: Path = LOCAL, name: str = "emulator", settings: Mapping[str, str] | None = None):
        self.port = port
        self.region = REGION
        self.pid: int | None = None
        self.started: str | None = None
        self._folder = folder
        self._name = name
        self._settings = dict(settings or {})

    @classmethod
    def running(cls, *, folder: Path = LOCAL, name: str = "emulator") -> Emulator | None:
        """The emulator that an earlier process started and that still runs; None if there is none. A stale file is removed."""
        emulator = cls(folder=folder, name=name)
        try:
            state = json.loads(emulator.state_file.read_text())
            emulator.pid, emulator.port, emulator.started = state["pid"], state["port"], state["started"]
        except (OSError, ValueError, KeyError):
            return None
        if emulator.pid is not None and emulator._is_ours(emulator.pid):
            return emulator
        emulator._remove_traces()
        return None

    @property
    def endpoint(self) -> str:
        """The URL every service answers at."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def state_file(self) -> Path:
        """Where a running emulator is noted: pid, port, started."""
        return self._folder / f"{self._name}.json"

    @property
    def log_file(self) -> Path:
        """What the emulator writes while it runs; kept after it has stopped."""
        return self._folder / f"{self._name}.log"

    @property
    def data_folder(self) -> Path:
        """Data and temporary files of the emulator and its Lambda workers."""
        return self._folder / f"{self._name}-{self.port}"

    def start(self, progress: Callable[[str], None] = lambda line: None) -> Self:
        """Start it and return once it answers. `progress` is told about each step, in words.

        Raises EmulatorError if the port is taken, one with this name runs already, or it does not answer within a minute.
        """
        if other := Emulator.running(folder=self._folder, name=self._name):
            raise EmulatorError(f"The embedded AWS is already running at {other.endpoint}. Remedy: make local-down")
        self.port = self.port or free_port()
        if not can_bind(self.port):
            raise EmulatorError(f"Port {self.port} is in use. Remedy: stop what listens there, or choose another port.")
        temporary = self.data_folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        progress(f"starting the embedded AWS on port {self.port}")
        with self.log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "local.launcher"], cwd=ROOT, env=self._process_environment(temporary),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.pid, self.started = process.pid, datetime.now(UTC).isoformat(timespec="seconds")
        self.state_file.write_text(json.dumps({"pid": self.pid, "port": self.port, "started": self.started}) + "\n")
        try:
            self._wait_until_healthy(process, progress)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop it with all its Lambda workers, and remove its data. Does nothing if it has already gone."""
        if self.pid is not None and self._is_ours(self.pid):
            signal_group(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while group_alive(self.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            signal_group(self.pid, signal.SIGKILL)  # workers that ignore the polite signal
        self._remove_traces()
        self.pid = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    @functools.cache  # noqa: B019  an emulator lives as long as the process that uses it
    def client(self, service: str, region: str | None = None):
        """A boto3 client of the emulator's root, the same one each time."""
        return self.session(region).client(service, endpoint_url=self.endpoint, config=Config(
            s3={"addressing_style": "path"}, proxies={}, read_timeout=900, retries={"mode": "standard"},
            max_pool_connections=64))

    def session(self, region: str | None = None) -> boto3.Session:
        """A boto3 session of the emulator's root that reads neither the user's files nor AWS_PROFILE."""
        # botocore's session variables: (key in the file, environment variable, default, conversion)
        nothing = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None),
                   "credentials_file": (None, None, os.devnull, None)}
        return boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=region or self.region,
                             botocore_session=botocore.session.Session(nothing))

    def environment(self) -> dict[str, str]:
        """Environment for a subprocess (Terraform, the AWS CLI, our own commands) that shall see this AWS and no other."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            **isolation(),
        }

    def reset(self) -> None:
        """Wipe everything in it, as if it had just been started."""
        self._request("/_ministack/reset", method="POST", timeout=60)

    def _process_environment(self, temporary: Path) -> dict[str, str]:
        data = self.data_folder
        return {
            **{key: os.environ[key] for key in INHERITED if key in os.environ},
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": self.region,
            "AUTH": "true",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(temporary),
            "S3_DATA_DIR": str(data / "s3"),
            "STATE_DIR": str(data / "state"),
            # Lambda functions occupy a thread each and call back into the emulator: few threads would be a deadlock.
            "MINISTACK_WORKER_THREADS": "512",
            # Each worker takes 55 MiB; MiniStack plans with 21 and would let a burst of uploads fill the memory.
            "LAMBDA_ACCOUNT_CONCURRENCY": "100",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            **isolation(),
            **self._settings,
        }

    def _wait_until_healthy(self, process: subprocess.Popen, progress: Callable[[str], None]) -> None:
        began = time.monotonic()
        while time.monotonic() - began < START_SECONDS:
            if process.poll() is not None:
                raise EmulatorError(f"The embedded AWS stopped while starting:\n{self._log_tail()}")
            try:
                self._request("/_ministack/health", timeout=2)
                progress(f"the embedded AWS answers at {self.endpoint} after {time.monotonic() - began:.1f} s")
                return
            except OSError:  # URLError is one
                time.sleep(0.05)
        raise EmulatorError(f"The embedded AWS did not answer within {START_SECONDS} s:\n{self._log_tail()}")

    def _request(self, path: str, *, timeout: float, method: str = "GET") -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.endpoint + path, method=method), timeout=timeout) as answer:
            return answer.read()

    def _is_ours(self, pid: int) -> bool:
        """Whether the process is still our emulator and not another program that was given its old number."""
        if not group_alive(pid):
            return False
        try:
            return b"local.launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:  # no /proc on this system: ask whoever listens on our port
            try:
                return b'"services"' in self._request("/_ministack/health", timeout=2)
            except OSError:  # URLError is one
                return False

    def _log_tail(self, lines: int = 15) -> str:
        text = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return "\n".join(text[-lines:])

    def _remove_traces(self) -> None:
        self.state_file.unlink(missing_ok=True)
        if self.port:
            shutil.rmtree(self.data_folder, ignore_errors=True)


def isolation() -> dict[str, str]:
    """Environment variables that keep AWS clients from the user's files, from the metadata service and from proxies."""
    return {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def can_bind(port: int) -> bool:
    """Whether the port is free on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def group_alive(group: int) -> bool:
    """Whether the process group has a member that is more than a zombie of ours."""
    try:
        os.waitpid(group, os.WNOHANG)  # if it is our child and has ended, let go of it
    except ChildProcessError:
        pass
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal every process of the group, if there is any."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass
