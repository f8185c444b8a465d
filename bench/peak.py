"""The peak memory of this process."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak() -> int:
    """Bytes. Linux's ``ru_maxrss`` would count what the process that started this one holds."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # no /proc on this system
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) * 1024
