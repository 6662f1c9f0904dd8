"""Faults to be played, and the record of what arrived."""

import math
import re
import threading
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from omi_async.sandbox.replies import JSON_TYPE, TEXT_TYPE, Kind, Reply, json_reply, usual_reply

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@attrs.frozen(kw_only=True)
class RecordedRequest:
    """One request as it arrived, without the key.

    `path` is the target as on the wire, query included, which the repr leaves out. `headers` keep the
    client's spelling; the key in `Authorization` is masked. `body` ends after two mebibytes. `status` is None
    while the request is being handled and where the connection was dropped without an answer. `applied` tells
    whether the request's change was carried out, whatever the client was told.
    """

    method: str
    path: str = attrs.field(repr=lambda path: repr(path.partition("?")[0]))
    headers: dict[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    status: int | None = None
    applied: bool = False


@attrs.frozen(kw_only=True)
class Fault:
    """One scripted fault; `Sandbox.fail` explains the fields and makes these.

    `times` is the number of requests it is still waiting for. Raises ValueError naming the argument that is
    out of range or contradicts another.
    """

    status: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes | str | dict[str, Any] | list[Any] | None = None
    delay: float = 0.0
    close: Literal["before", "after"] | None = None
    apply: bool = False
    method: str | None = None
    path: str | None = None
    record_id: str | None = None
    conversation_id: str | None = None
    times: int = 1

    def __attrs_post_init__(self) -> None:
        if self.status is not None and not (_is_number(self.status, int) and 200 <= self.status <= 599):
            raise ValueError("status must be between 200 and 599")
        if not (_is_number(self.delay, int, float) and math.isfinite(self.delay) and self.delay >= 0):
            raise ValueError("delay must be a number of seconds, zero or more")
        if self.close not in (None, "before", "after"):
            raise ValueError("close must be 'before', 'after' or None")
        if not isinstance(self.apply, bool):
            raise ValueError("apply must be True or False")
        for name in ("method", "path", "record_id", "conversation_id"):
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"{name} must be text")
        if type(self.times) is not int or self.times < 1:
            raise ValueError("times must be a whole number, 1 or more")
        if self.path is not None and not re.fullmatch(r"/v1/dev(/[^?]*)?", self.path):
            raise ValueError("path must begin with /v1/dev and have no query")
        if self.record_id is not None and self.conversation_id is not None:
            raise ValueError("record_id cannot go with conversation_id: one of them says it all")
        if self.headers is not None and not (
            isinstance(self.headers, Mapping)
            and all(
                isinstance(text, str) and not _CONTROL.search(text) for item in self.headers.items() for text in item
            )
        ):
            raise ValueError("headers must map text to text, without line ends")
        if not isinstance(self.body, bytes | str | dict | list | None):
            raise ValueError("body must be text, bytes, a dictionary or a list")
        if isinstance(self.body, dict | list):
            try:
                json_reply(200, self.body)
            except (TypeError, ValueError) as error:
                raise ValueError(f"body cannot be sent as JSON: {error}") from error
        if self.status is None:
            if self.headers is not None:
                raise ValueError("headers need a status: they belong to the scripted answer")
            if self.body is not None:
                raise ValueError("body needs a status: it belongs to the scripted answer")
            if self.close is None and not self.delay:
                raise ValueError("status, close or delay must be given: this fault would do nothing")
        elif self.close is not None:
            raise ValueError("close cannot go with status: a dropped connection carries no answer")
        if self.apply and self.close == "before":
            raise ValueError("apply cannot go with close='before': nothing is applied there")
        if self.apply and self.close is None and self.status is None:
            raise ValueError("apply needs a status: a request that is only delayed is applied anyway")

    @property
    def reaches_server(self) -> bool:
        """Whether the request is handled as the real server would, be the answer sent or not."""
        return self.close == "after" or self.apply or (self.close is None and self.status is None)

    def matches(self, method: str, path: str, ids: Mapping[str, str]) -> bool:
        """Return whether this fault is meant for a request of *method* for *path*, in which *ids* are named."""
        return (
            (self.method is None or self.method.upper() == method)
            and self.path in {None, path}
            and (self.record_id is None or self.record_id in ids.values())
            and self.conversation_id in {None, ids.get("conversation_id")}
        )

    def scripted_reply(
        self, handled: Reply | None, *, kind: Kind | None, scope: str | None, limit: int, retry_after: str
    ) -> Reply | None:
        """Return the scripted answer, or None where no status is scripted.

        Headers and body that were not given are those of *handled*, what the request would have been
        answered, if it has the scripted status; else they are the real server's, in whose words *kind* and
        *scope* may be missing; *limit* and *retry_after* are for a 429.
        """
        if self.status is None:
            return None
        given = self.headers or {}
        lowered = {name.lower(): value for name, value in given.items()}
        wait = lowered.get("retry-after", retry_after)
        if handled is not None and handled.status == self.status:
            usual = handled
        else:
            usual = usual_reply(self.status, kind=kind, scope=scope, limit=limit, retry_after=wait)
        headers = dict(usual.headers)
        body = usual.body
        if isinstance(self.body, dict | list):
            headers["Content-Type"] = JSON_TYPE
            body = json_reply(self.status, self.body).body
        elif isinstance(self.body, str):
            headers["Content-Type"] = TEXT_TYPE
            body = self.body.encode()
        elif self.body is not None:
            headers["Content-Type"] = JSON_TYPE
            body = self.body
        kept = {name: value for name, value in headers.items() if name.lower() not in lowered}
        return Reply(self.status, body, {**kept, **given})


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def read_fault(document: object) -> Fault:
    """Return the fault that JSON describes, by the names of the arguments of `Sandbox.fail`.

    Raises ValueError for what is no fault, saying what is wrong.
    """
    if not isinstance(document, dict):
        raise ValueError("a fault must be a JSON object")
    names = [field.name for field in attrs.fields(Fault)]
    for name in document:
        if name not in names:
            raise ValueError(f"{name} is not one of {', '.join(sorted(names))}")
    return Fault(**document)


class FaultQueue:
    """The faults still to be played, oldest first.

    Faults may be scripted from another thread than the one that serves.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    @property
    def pending(self) -> int:
        """How many requests will still meet a fault, if they match."""
        with self._lock:
            return sum(fault.times for fault in self._faults)

    def add(self, fault: Fault) -> None:
        """Put *fault* at the end."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str, ids: Mapping[str, str]) -> Fault | None:
        """Return the first fault for this request and use it up once, or None."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.matches(method, path, ids):
                    if fault.times == 1:
                        del self._faults[index]
                    else:
                        self._faults[index] = attrs.evolve(fault, times=fault.times - 1)
                    return fault
        return None
