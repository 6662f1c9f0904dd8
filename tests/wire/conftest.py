"""The fixture of the wire-shape tests."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL


class _Response(aiohttp.ClientResponse):
    """A response as aioresponses makes it, with the argument that aiohttp asks for since 3.14."""

    def __init__(self, method: str, url: URL, **arguments: Any) -> None:
        arguments.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(method, url, **arguments)


class Mocked(aioresponses):
    """`add(url, method, ...)` says what is answered; `only` is the request that was made."""

    def add(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("response_class", _Response)
        super().add(*arguments, **settings)

    @property
    def only(self) -> tuple[str, str, dict[str, Any]]:
        """Method, URL and the other arguments of the only request."""
        ((method, url), calls) = self._only(self.requests.items())
        return method, str(url), self._only(calls).kwargs

    @staticmethod
    def _only(values: Any) -> Any:
        (value,) = values
        return value


@pytest.fixture
def mocked() -> Iterator[Mocked]:
    """Answers from aioresponses instead of a server: quick looks at what is asked for and how answers are read.

    aioresponses puts its own function in the place of `ClientSession._request`, and that bounds what a test can
    show with it. Nothing of what aiohttp does below that method runs: no connector, no connection, no parser, no
    time-out, no redirect, no second DELETE, and none of the middlewares, so the `Authorization` header that one
    of them adds is not among the recorded arguments. All of that is tested against real sockets in `faults/`.
    An answer that no test has announced is a `ClientConnectionError`.

    aioresponses 0.7.9 does not know the argument `stream_writer` of `aiohttp.ClientResponse`, which has no default
    since aiohttp 3.14; so every announced answer is of a class that fills it in.
    """
    mock = Mocked()
    with mock:
        yield mock
