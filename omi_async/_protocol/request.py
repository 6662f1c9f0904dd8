"""A request, its answer, and how a refused argument travels."""

import functools
from collections.abc import Callable
from typing import Generic, Literal, ParamSpec, TypeAlias, TypeVar

import attrs
from multidict import CIMultiDict, MultiMapping

from ..errors import InvalidRequestError

T = TypeVar("T")
P = ParamSpec("P")

Effect: TypeAlias = Literal["none", "repeatable", "once"]
"""What an attempt may do: nothing, something that a second attempt leaves as it is, or something to be done once."""


@attrs.define(eq=False)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: MultiMapping[str] = attrs.field(factory=CIMultiDict[str], repr=False)
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.define(eq=False)
class Request(Generic[T]):
    """One call: what goes on the wire and how its answer is read."""

    operation: str
    method: str
    path: str = attrs.field(repr=False)
    """Sent as it stands, with its query, so it is ASCII that needs no quoting."""
    decode: Callable[[Answer], T] = attrs.field(repr=False)
    windows: tuple[str, ...]
    """The server's rate windows that count it. A 429 is taken for the first one's; the others only count."""
    body: bytes | None = attrs.field(default=None, repr=False)
    effect: Effect = "repeatable"
    missing: str | None = None
    """The `detail` with which the API says that the record does not exist; None where it is not known."""
    result_if_missing: Callable[[], T] | None = attrs.field(default=None, repr=False)
    """The result if the record is found missing after an attempt that may have removed it."""
    may_change_id: bool = False
    """The change may give the record a new id. Then the server, which goes on with the old one, misses it afterwards,
    or refuses to change it."""
    still_running_on_409: bool = False
    """A conflict after an unanswered attempt means that the server is still working on that attempt."""
    slow: bool = False
    """The server runs a language model before it answers."""
    needs_grant: bool = False
    """The key needs a grant beside its scope, and a 403 can say that it has none."""
    authorization: Callable[[], str] | None = attrs.field(default=None, repr=False)
    """What takes the key's place in this request. As with the key, it lives in the function's cell alone."""


def window(method: str, path: str) -> str:
    """The rate window that counts a request, by the first five parts of its path: the server has one a resource."""
    kind = "reads" if method == "GET" else "writes"
    return f"{kind} {'/'.join(path.split('/')[:5])}"


Refusal: TypeAlias = InvalidRequestError | TypeError


def builder(build: Callable[P, Request[T]]) -> Callable[P, Request[T] | Refusal]:
    """Let a function that builds a request return its refusal of an argument instead of raising it.

    The call raises it. Its traceback then has no frame that holds the caller's texts, and a bulk job can report it.
    """

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Request[T] | Refusal:
        try:
            return build(*args, **kwargs)
        except (InvalidRequestError, TypeError) as refusal:
            return refusal.with_traceback(None)

    return wrapper
