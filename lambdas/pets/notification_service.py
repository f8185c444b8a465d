"""Notification service, called by the state machine: tells a person of an image that the labels leave uncertain (P2, P4)."""

import re
from typing import Any

from ..common import aws, log
from . import environment

SUBJECT = "Pet detector: an image needs a look"
"""ASCII, without line ends, below 100 characters: SNS refuses others. No name of a file belongs here."""

# What a reader does not see as it is: in a file's name it could forge lines of the alert, or turn its direction.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``contract``'s payload → its result."""
    settings = environment.notification()
    log.start(context, image_id=event["image_id"], **event["object"])
    answer = aws.client("sns").publish(TopicArn=settings.topic_arn, Subject=SUBJECT, Message=_message(event))
    result = {"message_id": answer["MessageId"]}
    log.info("done", **result)
    return result


def _message(event: dict[str, Any]) -> str:
    lines = (
        "An image could not be classified with confidence: it shows both a cat and a dog, or neither clearly enough.",
        "",
        f"Image:      {event['image_id']}",
        f"Best guess: {event['animal']}, {event['confidence']:g} %",
        f"Filed as:   {event['location']}",
        f"Uploaded:   s3://{event['object']['bucket']}/{event['object']['key']}",
        f"Version:    {event['object']['version_id']}",
        "",
        "What to do: look at the image where it is filed. If the best guess is wrong, correct DetectedAnimal in its record.",
        "If many images end up here, reconsider the confidence threshold.",
    )
    return "\n".join(_UNSEEN.sub("?", line) for line in lines)
