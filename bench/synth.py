"""How long a full synth takes with our import of the AWS provider, resource by resource, against the plain import.

Both run the same main.py as a process of its own, in turns, after one run each that is not counted (it writes Python's
caches and reads the files into memory). Prints the medians and their ratio, and exits with 1 if ours takes more than a fifth.

    python bench/synth.py [RUNS]
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AT_MOST = 1 / 5

OURS = "import runpy; runpy.run_path('main.py', run_name='__main__')"
PLAIN = f"import cdktf_cdktf_provider_aws; {OURS}"
"""aws_provider.py leaves a process alone that imported the package before."""


def seconds(program: str) -> float:
    """The time of one synth into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CDKTF_OUTDIR": folder, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"}
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
        taken = time.monotonic() - start
        stacks = sorted(each.parent.name for each in Path(folder).glob("stacks/*/cdk.tf.json"))
        assert "tap" in stacks, stacks
        return taken


def main(runs: int) -> int:
    programs = {"resource by resource": OURS, "the whole package": PLAIN}
    times: dict[str, list[float]] = {name: [] for name in programs}
    print(f"{runs} runs each, in turns · Python {platform.python_version()} · {os.cpu_count()} CPUs · {platform.machine()}")
    for turn in range(runs + 1):
        for name, program in programs.items():
            taken = seconds(program)
            if turn:
                times[name].append(taken)
            print(f"  {name:<22} {taken:6.2f} s{'' if turn else '  (not counted)'}", flush=True)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    ours, plain = medians.values()
    for name, median in medians.items():
        print(f"median, {name:<22} {median:6.2f} s")
    print(f"ratio {ours / plain:.3f}, at most {AT_MOST} wanted: 1 / {plain / ours:.1f}")
    return 0 if ours / plain <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main(max(3, int(sys.argv[1])) if len(sys.argv) > 1 else 3))
