"""The request of `client.request`: an operation of the API that has no method of its own."""

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from ..models.shared import RawResponse
from . import arguments
from .arguments import refused
from .convert import Unreadable, encode, parse
from .meaning import checked
from .request import Answer, Request, builder

# The same care as for ids: every segment is plain, so that the path means what it says.
_PATH = re.compile("/v1(/[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}){1,16}")

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@builder
def raw(
    method: str,
    path: str,
    params: Mapping[str, str | float] | None,
    document: object,
    repeatable: bool,
    windows: Callable[[str, str], tuple[str, ...]],
) -> Request[RawResponse]:
    """Build a request for any path of the API; `windows` tells the rate windows of a method and a path."""
    method = str.__str__(method) if isinstance(method, str) else method
    if method not in _METHODS:
        raise refused(f"method must be one of {', '.join(_METHODS)}.")
    if not isinstance(path, str):
        raise TypeError(f"path must be a str, not {arguments.kind(path)}")
    path = str.__str__(path)
    if not _PATH.fullmatch(path):
        raise refused(
            "path must begin with /v1/ and be made of plain segments: no host, no percent sign, no query (use params)."
        )
    arguments.check_no_key(path, "path")
    if method == "GET" and document is not None:
        raise refused("a GET takes params, no json.")
    repeat = arguments.flag(repeatable, "repeatable")
    target = path + arguments.query(_params(params))
    return Request(
        f"{method} {path}",
        method,
        target,
        _read,
        windows(method, target),
        None if document is None else _body(document),
        "none" if method == "GET" else "repeatable" if repeat else "once",
    )


def _params(params: Mapping[str, str | float] | None) -> dict[str, str]:
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping, not {arguments.kind(params)}")
    texts: dict[str, str] = {}
    for name, value in params.items():
        if not isinstance(name, str) or not isinstance(value, (str, int, float)):
            raise TypeError("params must have names that are str and values that are str, int, float or bool")
        texts[str.__str__(name)] = _param(value)
    for each in (*texts, *texts.values()):
        arguments.check_no_key(each, "params")
    return texts


def _param(value: str | float) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > arguments.LARGEST_INTEGER:
        raise refused("params must not contain integers beyond 2**53.")
    if isinstance(value, float) and not isfinite(value):
        raise refused("params must not contain NaN or infinity.")
    return str(value)


def _body(document: object) -> bytes:
    try:
        return encode(document)
    except (TypeError, ValueError, RecursionError):
        pass
    # Raised here, not above: the encoder's error shows what could not be encoded.
    raise refused("json must be a value that JSON has: no NaN, no lone surrogates, no other types.")


def _finite(document: Any) -> Any:
    """The document itself, with numbers that every reader of JSON gives alike."""
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, (int, float)) and abs(value) > arguments.LARGEST_INTEGER:
            raise Unreadable("a number that is too large")
    return document


def _read(answer: Answer) -> RawResponse:
    headers = {name.lower(): ", ".join(answer.headers.getall(name)) for name in answer.headers}
    document: Any = None
    if answer.body or answer.status != 204:  # only a 204 may be empty
        document = checked(answer, _finite, parse)
    return RawResponse(status=answer.status, headers=headers, json=document)
