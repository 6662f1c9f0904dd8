"""Request bodies and query values, read and refused as FastAPI and pydantic 2 do it.

A refusal is a 422 whose `detail` is a list; each entry names its place in `loc` and echoes the input.
"""

import json
from collections.abc import Mapping
from email.message import Message
from typing import Any, NoReturn, cast

import attrs

from omi_async.sandbox.answers import UNREADABLE_BODY, RefusedError, refusal

TITLE_CHARACTERS = 500
"""The longest title, counted before blanks are stripped."""

_TRUE_WORDS = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE_WORDS = frozenset({"false", "f", "no", "n", "off", "0"})
# Beyond 64 bits pydantic no longer looks at a number as an integer, and words its refusal differently.
_INT_LIMIT = 2**63


@attrs.frozen
class ConversationUpdate:
    """A PATCH body that passed the schema; None leaves a field as it is, and so does leaving it out."""

    title: str | None
    discarded: bool | None


def read_json(body: bytes, content_type: str | None) -> object:
    """Return the parsed *body*, the raw bytes if *content_type* is not JSON, or None if there is no body.

    This step knows nothing of the endpoint and runs before the key is looked at. Raises `RefusedError` with
    the 422 of broken JSON, or the 400 of bytes in no Unicode encoding.
    """
    if not body:
        return None
    if content_type and not _is_json(content_type):
        return body
    try:
        return cast(object, json.loads(body))
    except json.JSONDecodeError as error:
        _refuse(_problem("json_invalid", ["body", error.pos], "JSON decode error", {}, {"error": error.msg}))
    except (ValueError, RecursionError) as error:
        raise RefusedError(refusal(400, UNREADABLE_BODY)) from error


def read_update(content: object) -> ConversationUpdate:
    """Return the update that *content* asks for; unknown fields are ignored.

    Raises `RefusedError` with the 422 that lists every bad field.
    """
    if content is None:
        _refuse(_problem("missing", ["body"], "Field required", None))
    if not isinstance(content, dict):
        echo = content.decode() if isinstance(content, bytes) else content
        message = "Input should be a valid dictionary or object to extract fields from"
        _refuse(_problem("model_attributes_type", ["body"], message, echo))
    fields = cast(dict[str, Any], content)
    title, discarded = fields.get("title"), fields.get("discarded")
    problems: list[dict[str, object]] = []
    if title is not None and (problem := _title_problem(title)) is not None:
        problems.append(problem)
    if discarded is not None and _flag(discarded) is None:
        problems.append(_flag_problem(discarded, ["body", "discarded"]))
    if problems:
        _refuse(*problems)
    return ConversationUpdate(title, _flag(discarded))


def read_query_flag(query: Mapping[str, str], name: str) -> bool:
    """Return the flag *name* of the query, False if it is absent; raises `RefusedError` for an odd value."""
    value = query.get(name)
    if value is None:
        return False
    flag = _flag(value)
    if flag is None:
        _refuse(_flag_problem(value, ["query", name]))
    return flag


def _is_json(content_type: str) -> bool:
    header = Message()
    header["content-type"] = content_type
    subtype = header.get_content_subtype()
    return header.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _title_problem(title: object) -> dict[str, object] | None:
    place: list[str | int] = ["body", "title"]
    if not isinstance(title, str):
        return _problem("string_type", place, "Input should be a valid string", title)
    if any("\ud800" <= character <= "\udfff" for character in title):
        message = "Input should be a valid string, unable to parse raw data as a unicode string"
        return _problem("string_unicode", place, message, title)
    if not title:
        message = "String should have at least 1 character"
        return _problem("string_too_short", place, message, title, {"min_length": 1})
    if len(title) > TITLE_CHARACTERS:
        message = f"String should have at most {TITLE_CHARACTERS} characters"
        return _problem("string_too_long", place, message, title, {"max_length": TITLE_CHARACTERS})
    if not title.strip():
        # The validator's exception reaches the client as an empty object.
        return _problem("value_error", place, "Value error, title cannot be empty", title, {"error": {}})
    return None


def _flag(value: object) -> bool | None:
    """Return *value* as pydantic's lax mode reads it, or None if it is no flag."""
    if isinstance(value, str):
        word = value.lower()
        return True if word in _TRUE_WORDS else False if word in _FALSE_WORDS else None
    if isinstance(value, int | float) and value in {0, 1}:
        return bool(value)
    return None


def _flag_problem(value: object, place: list[str | int]) -> dict[str, object]:
    if isinstance(value, str) or (
        isinstance(value, int | float) and value == value // 1 and -_INT_LIMIT <= value < _INT_LIMIT
    ):
        message = "Input should be a valid boolean, unable to interpret input"
        return _problem("bool_parsing", place, message, value)
    return _problem("bool_type", place, "Input should be a valid boolean", value)


def _problem(
    kind: str, place: list[str | int], message: str, echo: object, context: dict[str, object] | None = None
) -> dict[str, object]:
    problem = {"type": kind, "loc": place, "msg": message, "input": echo}
    return problem if context is None else {**problem, "ctx": context}


def _refuse(*problems: dict[str, object]) -> NoReturn:
    raise RefusedError(refusal(422, list(problems)))
