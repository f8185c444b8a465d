"""What a topic announces, seen as a subscriber sees it."""

from __future__ import annotations

import json
import uuid

from local.emulator import Emulator


class Inbox:
    """A queue subscribed to a topic: what the topic announces, seen as a subscriber sees it."""

    def __init__(self, aws: Emulator, topic_arn: str):
        self._sqs = aws.client("sqs")
        self._url = self._sqs.create_queue(QueueName=f"inbox-{uuid.uuid4()}")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}}}]}
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": json.dumps(policy)})
        self._sns = aws.client("sns")
        self._subscription = self._sns.subscribe(
            TopicArn=topic_arn, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)["SubscriptionArn"]
        self._messages: list[dict] = []

    def messages(self, *containing: str) -> list[dict]:
        """Every notice so far, `{"Subject", "Message"}`, whose subject or body holds all these words."""
        while received := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in received:
                self._messages.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [notice for notice in self._messages
                if all(word in f"{notice.get('Subject')}\n{notice['Message']}" for word in containing)]

    def close(self) -> None:
        """Unsubscribe and remove the queue."""
        self._sns.unsubscribe(SubscriptionArn=self._subscription)
        self._sqs.delete_queue(QueueUrl=self._url)
