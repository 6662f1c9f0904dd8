"""Host names for tests: what the machine's resolver says about chosen names, without asking it."""

import socket
from collections.abc import Sequence
from typing import Any

import pytest


class Names:
    """Replaces the resolver for the names it is told of; all others are resolved as usual."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers: dict[str, list[Sequence[str]]] = {}
        self._real = socket.getaddrinfo
        self.asked: list[str] = []
        """The names of this object that were looked up."""
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def answer(self, name: str, *answers: Sequence[str]) -> None:
        """Give these addresses, look-up by look-up; the last answer stays. No address: the name is unknown."""
        self._answers[name] = list(answers)

    def _resolve(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        answers = self._answers.get(host)
        if answers is None:
            return self._real(host, port, *args, **kwargs)
        self.asked.append(host)
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = []
        for address in addresses:
            found += self._real(address, port, type=socket.SOCK_STREAM)
        return found
