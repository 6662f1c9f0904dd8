"""A WSGI application for gunicorn's workers.

gunicorn --preload --workers 2 --threads 4 gunicorn_app:app
"""

import json
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from omi_sync import OmiClient, OmiError

omi = OmiClient()  # with --preload in the master; each worker's copy starts afresh


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    conversation_id = environ["PATH_INFO"].rpartition("/")[2]
    title = json.load(environ["wsgi.input"])["title"]
    try:
        conversation = omi.conversations.update(conversation_id, title=title)
        status, answer = "200 OK", {"id": conversation.id, "title": conversation.structured.title}
    except OmiError as error:
        status, answer = "502 Bad Gateway", {"error": error.text, "outcome": error.outcome}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
