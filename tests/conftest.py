"""How `make test` deals the tests out to the processes of pytest-xdist. Who runs pytest by hand sees nothing of it."""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

DEPLOYED = {
    "one": tuple(f"tests/local/{name}" for name in ("etl/", "metadata/", "test_operating.py")),
    "another": tuple(f"tests/local/{name}" for name in ("ingestion/", "pets/")),
}
"""Whose tests share the deployed stacks: each process deploys them once."""


def _deployment(nodeid: str) -> str | None:
    return next((name for name, paths in DEPLOYED.items() if nodeid.startswith(paths)), None)


class WholeFiles(LoadScopeScheduling):
    """Each file goes to one process, so what its tests share is made once; all that shares deployed stacks goes to one."""

    def _split_scope(self, nodeid: str) -> str:
        return _deployment(nodeid) or nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # or files of many tests would come first
    return WholeFiles(config, log)


def pytest_collection_modifyitems(config, items):
    """What takes longest begins first: it mostly waits, for Terraform above all, and the others compute meanwhile."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (_deployment(item.nodeid) is None, not item.nodeid.startswith("tests/local/")))


def pytest_runtest_setup(item):
    """The processes with the deployed stacks are the last ones to end: the others let them go first."""
    if hasattr(item.config, "workerinput") and _deployment(item.nodeid) is None:
        os.nice(max(10 - os.nice(0), 0))
