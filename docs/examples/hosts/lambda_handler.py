"""An AWS Lambda function; its handler is `lambda_handler.handler`."""

from typing import Any

from omi_sync import OmiClient

omi = OmiClient()  # outside of the handler: warm invocations find its connections


def handler(event: dict[str, str], context: Any) -> dict[str, str]:
    left = context.get_remaining_time_in_millis() / 1000
    conversation = omi.conversations.update(event["id"], title=event["title"], timeout=left - 1)
    return {"id": conversation.id, "title": conversation.structured.title}
