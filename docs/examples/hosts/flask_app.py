"""A Flask application that renames conversations.

flask --app flask_app run
"""

from flask import Flask, request

from omi_sync import InvalidRequestError, NotFoundError, OmiClient, OmiError

app = Flask(__name__)
omi = OmiClient()


@app.patch("/conversations/<conversation_id>")
def rename(conversation_id: str) -> dict[str, str]:
    conversation = omi.conversations.update(conversation_id, title=request.get_json()["title"])
    return {"id": conversation.id, "title": conversation.structured.title}


@app.errorhandler(OmiError)
def failed(error: OmiError) -> tuple[dict[str, str], int]:
    status = {InvalidRequestError: 400, NotFoundError: 404}.get(type(error), 502)
    return {"error": error.text, "outcome": error.outcome}, status
