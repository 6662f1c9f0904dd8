"""Celery tasks that are tried again later where that can help.

CELERY_BROKER_URL=redis://127.0.0.1 CELERY_RESULT_BACKEND=redis://127.0.0.1 celery --app celery_tasks worker
"""

from typing import Any

from celery import Celery, Task

from omi_sync import OmiClient, OmiError, is_retryable, to_dict

app = Celery("celery_tasks")
omi = OmiClient()  # in the parent; each worker process starts afresh


@app.task(bind=True, max_retries=5, acks_late=True, reject_on_worker_lost=True)
def rename(self: Task, conversation_id: str, title: str) -> dict[str, Any]:
    try:
        return to_dict(omi.conversations.update(conversation_id, title=title))
    except OmiError as error:
        if is_retryable(error):
            raise self.retry(exc=error, countdown=error.retry_after or 2**self.request.retries) from None
        raise
