"""Files of many records (R3b). In a module that runs last: whoever looks through the table afterwards looks through these."""

import json
import os
import signal

from lambdas.ingestion import contract
from local.executions import wait_for
from local.ingestion import REGIONS, records_of
from tests.local.ingestion.conftest import lines, logged, numbered, numbers_of

EAST, _ = REGIONS


def test_killed_processor_goes_on_from_its_checkpoint(ingestion, name, workers):
    """R3b: killed when a part was stored; Lambda's retry does not begin again, loses nothing and stores nothing twice."""
    file = ingestion.upload(EAST, f"{name}.json", lines(numbered(name, 2_000)))
    wait_for(lambda: (at := ingestion.checkpoint(file)) and at[contract.OFFSET], 300, lambda: "no checkpoint")
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
    reached = ingestion.checkpoint(file)
    assert reached[contract.DONE] == "false"
    [done] = ingestion.wait([file], seconds=600).values()
    assert [done[each] for each in contract.COUNTS] == [2_000, 2_000, 0, 0, 0]
    assert numbers_of(file, ingestion) == list(range(2_000))
    group = f"/aws/lambda/{ingestion.output('function_name', EAST)}"
    started = [told for told in map(json.loads, logged(ingestion, EAST, group, '"started"')) if told["key"] == file.key]
    assert [told["offset"] for told in started] == [0, reached[contract.OFFSET]]


def test_ten_thousand_records_in_one_file(ingestion, name):
    """R3b: stored = records in the file, provably: by its counts, and by the items themselves."""
    file = ingestion.upload(EAST, f"{name}.json", lines(numbered(name, 10_000)))
    [done] = ingestion.wait([file], seconds=900).values()
    assert [done[each] for each in contract.COUNTS] == [10_000, 10_000, 0, 0, 0]
    own = records_of(file, ingestion.records(EAST))
    assert {item[contract.RECORD_ID] for item in own} == {f"{name}-{number}" for number in range(10_000)}
    assert all(json.loads(item[contract.DATA])["value"] == int(item[contract.RECORD_ID].rpartition("-")[2]) for item in own)
