"""How `make test` deals the tests out to the processes of pytest-xdist. Who runs pytest by hand sees nothing of it."""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

DEPLOYED = tuple(f"tests/local/{name}" for name in ("etl/", "ingestion/", "metadata/", "pets/", "test_operating.py"))
"""Whose tests share the deployed stacks."""


class WholeFiles(LoadScopeScheduling):
    """Each file goes to one process, so what its tests share is made once; all that shares the deployed stacks goes to one."""

    def _split_scope(self, nodeid: str) -> str:
        return "deployed" if nodeid.startswith(DEPLOYED) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # or files of many tests would come first
    return WholeFiles(config, log)


def pytest_collection_modifyitems(config, items):
    """What takes longest begins first: it mostly waits, for Terraform above all, and the others compute meanwhile."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (not item.nodeid.startswith(DEPLOYED), not item.nodeid.startswith("tests/local/")))


def pytest_runtest_setup(item):
    """The process with the deployed stacks is the last one to end: the others let it go first."""
    if hasattr(item.config, "workerinput") and not item.nodeid.startswith(DEPLOYED):
        os.nice(10 - os.nice(0))
