"""R5: whoever counts the lines of a long log sees all of them."""

import time

import pytest


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_long_logs_come_in_pages(aws, make, at_once):
    """Each event once, in order, also where a page ends among events of one time."""
    logs, group = aws.client("logs"), make.name("group")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now, texts = int(time.time() * 1000), [str(number) for number in range(at_once * 4)]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[
        {"timestamp": now + number // at_once, "message": text} for number, text in enumerate(texts)])
    pages = list(logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, PaginationConfig={"PageSize": 2 * at_once + 1}))
    assert len(pages) > 1
    assert [event["message"] for page in pages for event in page["events"]] == texts
