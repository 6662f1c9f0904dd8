"""Requests as the endpoints take them: what a body or a query holds, read as FastAPI does it.

A refusal is a 422 whose `detail` is a list; each entry names its place in `loc` and echoes the input.
"""

import json
from collections.abc import Collection, Mapping
from email.message import Message
from typing import Any, NoReturn, cast
from urllib.parse import parse_qsl

from omi_async.sandbox.fields import BadInputError, Field, bad, fields_of, members
from omi_async.sandbox.replies import UNREADABLE_BODY, ReplyError, refusal


def read_json(body: bytes, content_type: str | None) -> object:
    """Return the parsed *body*, the raw bytes if *content_type* is not JSON, or None if there is no body.

    This step knows nothing of the endpoint and runs before the key is looked at. Raises `ReplyError` with
    the 422 of broken JSON, or the 400 of bytes in no Unicode encoding.
    """
    if not body:
        return None
    if content_type and not _is_json(content_type):
        return body
    try:
        return cast(object, json.loads(body))
    except json.JSONDecodeError as error:
        _refuse(bad("json_invalid", ("body", error.pos), "JSON decode error", {}, {"error": error.msg}))
    except (ValueError, RecursionError) as error:
        raise ReplyError(refusal(400, UNREADABLE_BODY)) from error


def read_query(query: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return what the *query* string has for *fields*; unknown names are ignored.

    Raises `ReplyError` with the 422 that lists every bad value, as `read_body` does.
    """
    try:
        # Of a name that comes twice the last value counts.
        return members(dict(parse_qsl(query, keep_blank_values=True)), ("query",), fields, None)
    except BadInputError as error:
        _refuse(error)


def read_body(content: object, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return what the parsed body *content* has for *fields*; unknown names are ignored."""
    try:
        if content is None:
            raise bad("missing", ("body",), "Field required", None)
        value = content.decode() if isinstance(content, bytes) else content
        return cast(dict[str, Any], fields_of(fields)(value, ("body",)))
    except BadInputError as error:
        _refuse(error)


def read_categories(names: str | None, known: Collection[str], enum: str, *, quoted: bool) -> list[str]:
    """Return the categories in the comma list *names*; empty parts are dropped.

    Raises `ReplyError` with the 400 of one that is not *known* to the server's *enum*; older servers say it
    *quoted*.
    """
    found = [name for name in map(str.strip, (names or "").split(",")) if name]
    for name in found:
        if name not in known:
            trouble = f" {name!r} is not a valid {enum}" if quoted else ". Please provide a valid category."
            raise ReplyError(refusal(400, f"Invalid category{trouble}"))
    return found


def _is_json(content_type: str) -> bool:
    header = Message()
    header["content-type"] = content_type
    subtype = header.get_content_subtype()
    return header.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _refuse(error: BadInputError) -> NoReturn:
    raise ReplyError(refusal(422, list(error.problems))) from error
