"""Makes the package of the AWS provider load resource by resource. Import it before anything of CDKTF.

``cdktf_cdktf_provider_aws`` loads all 1,500 resources at every synth, once in Python and once more in the Node process
that jsii talks to; a stack uses some forty of them. Each half has its remedy here. Either one changes nothing but the time
(``tests/synth/test_aws_provider.py``), which ``bench/synth.py`` measures. A process that has loaded the whole package, or
started jsii, before this module was imported stays as it is.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = "cdktf_cdktf_provider_aws"
LAZY_IN_NODE = Path(__file__).with_suffix(".cjs")


def _lazy_in_python() -> None:
    """Puts a bare module with the package's search path in its place: its ``__init__``, which imports all, never runs."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations is not None, f"{PACKAGE} is not installed"
    bare = ModuleType(PACKAGE)
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules[PACKAGE] = bare


def _lazy_in_node() -> None:
    """Starts jsii's Node process with ``aws_provider.cjs`` preloaded; programs started later do not inherit it."""
    before = os.environ.get("NODE_OPTIONS")
    quoted = str(LAZY_IN_NODE).replace("\\", "\\\\").replace('"', '\\"')
    os.environ["NODE_OPTIONS"] = f'{before or ""} --require "{quoted}"'.lstrip()
    try:
        importlib.import_module("constructs")  # the first library of jsii: loading it starts Node
    finally:
        if before is None:
            del os.environ["NODE_OPTIONS"]
        else:
            os.environ["NODE_OPTIONS"] = before


if PACKAGE not in sys.modules:
    _lazy_in_python()
    if "constructs" not in sys.modules:
        _lazy_in_node()
