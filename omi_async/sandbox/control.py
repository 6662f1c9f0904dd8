"""The control path: what `Sandbox` offers in Python, for programs in other languages, over HTTP."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from omi_async.sandbox.allowance import Allowance
from omi_async.sandbox.api import Incoming, Route
from omi_async.sandbox.faults import FaultQueue, read_fault
from omi_async.sandbox.records import read_records
from omi_async.sandbox.replies import Kind, Reply, ReplyError, refusal
from omi_async.sandbox.store import Store

_KIND = Kind("Setting")
_DONE = Reply(204)


class Control:
    """Scripts faults, sets limits and records, and resets. Any key will do, and nothing is counted."""

    def __init__(
        self, stores: Mapping[str, Store[Any]], allowance: Allowance, faults: FaultQueue, reset: Callable[[], None]
    ) -> None:
        self._stores = stores
        self._allowance = allowance
        self._faults = faults
        self._reset = reset

    @property
    def routes(self) -> tuple[Route, ...]:
        """All of them lie outside of the API's own paths."""
        return tuple(
            Route(method=method, path=f"/sandbox/{name}", handler=handler, kind=_KIND, scope=None)
            for method, name, handler in (
                ("POST", "faults", self._fail),
                ("DELETE", "faults", self._clear_faults),
                ("PUT", "limits", self._set_limits),
                ("PUT", "records", self._set_records),
                ("POST", "reset", self._reset_all),
            )
        )

    def _fail(self, incoming: Incoming) -> Reply:
        try:
            self._faults.add(read_fault(_content(incoming)))
        except ValueError as error:
            raise ReplyError(refusal(422, str(error))) from None
        return _DONE

    def _clear_faults(self, _: Incoming) -> Reply:
        self._faults.clear()
        return _DONE

    def _set_limits(self, incoming: Incoming) -> Reply:
        given, names = _content(incoming), {"write_limit", "read_limit", "transcript_limit"}
        if not isinstance(given, dict):
            raise ReplyError(refusal(422, "the body must be a JSON object"))
        for name in given.keys() - names:
            raise ReplyError(refusal(422, f"{name} is not one of {', '.join(sorted(names))}"))
        try:
            self._allowance.set_limits(given)
        except ValueError as error:
            raise ReplyError(refusal(422, str(error))) from None
        return _DONE

    def _set_records(self, incoming: Incoming) -> Reply:
        try:
            given = read_records(_content(incoming))
        except ValueError as error:
            raise ReplyError(refusal(422, str(error))) from None
        for kind, records in given.items():
            self._stores[kind].replace(records)
        return _DONE

    def _reset_all(self, _: Incoming) -> Reply:
        self._reset()
        return _DONE


def _content(incoming: Incoming) -> object:
    """Return the parsed body, whatever its type is said to be: that is what curl sends by itself."""
    try:
        content: object = json.loads(incoming.body)
    except (ValueError, RecursionError):
        raise ReplyError(refusal(422, "the body must be JSON")) from None
    return content
