"""Tests with aioresponses, as users write them: used as documented, it sees every request in its right shape.

aioresponses puts its own function in the place of `ClientSession._request`, so nothing of what aiohttp does below that
method runs here: no connection, no time-out, no redirect, no middleware. All of that is tested in `faults/`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aioresponses import aioresponses

from omi_async import NotFoundError, RateLimitError, RetryPolicy, TransportError, __version__
from tests.support.failures import failure
from tests.support.raw import conversation
from tests.support.sides import KEY, Side
from tests.support.specimens import Specimen, id_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
BASE = "https://api.omi.me"
PATH = "/v1/dev/user/conversations"
SENT: dict[str, tuple[str, str, Any, Any]] = {
    # method, path, what is sent, what is answered
    "update": ("PATCH", f"{PATH}/conv_1", {"title": "Design review"}, conversation()),
    "delete": ("DELETE", f"{PATH}/conv_1", None, {"success": True}),
    "create": ("POST", PATH, {"text": "conv_1"}, {"id": "conv_1", "status": "completed", "discarded": False}),
    "get": ("GET", f"{PATH}/conv_1", None, conversation()),
}


def snippet() -> str:
    """The program in the documentation that uses aioresponses."""
    programs = [
        program
        for page in sorted(DOCS.rglob("*.md"))
        for program in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    ]
    [found] = [program for program in programs if "from aioresponses import" in program]
    return str(found)


def documented() -> dict[str, Any]:
    """What the program defines, without running it to its end."""
    names: dict[str, Any] = {"__name__": "documented"}
    exec(snippet().replace("asyncio.run(main())", ""), names)
    return names


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    with aioresponses() as mock:
        yield mock


def announce(mocked: aioresponses, operation: str, **answer: Any) -> None:
    """Announce an answer just as the documentation says."""
    method, path, _, _ = SENT[operation]
    mocked.add(BASE + path, method, response_class=documented()["Response"], **answer)


def test_the_documented_way(capsys: pytest.CaptureFixture[str]) -> None:
    """The program in the documentation works as it is, and shows a result and the request that was seen."""
    exec(snippet(), {"__name__": "__main__"})
    result, request = capsys.readouterr().out.splitlines()
    assert "confirmed=True" in result
    assert f"DELETE {BASE}{PATH}/conv_noise" == request


async def test_request(side: Side, specimen: Specimen, mocked: aioresponses) -> None:
    """A request has its method, its path, its body and its headers, its own safeguards, and no key in plain sight."""
    method, path, said, answered = SENT[specimen.name]
    announce(mocked, specimen.name, payload=answered)
    result = await side.call(side.client(BASE, user_agent="bot/1"), specimen.name)
    assert "conv_1" == id_of(result)
    [((asked, url), [call])] = mocked.requests.items()
    assert (method, BASE + path) == (asked, str(url))
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": f"bot/1 omi-async/{__version__}"}
    if said is None:
        assert call.kwargs["data"] is None
    else:
        assert said == json.loads(call.kwargs["data"])
        headers["Content-Type"] = "application/json"
    assert headers == dict(call.kwargs["headers"])
    assert (False, False) == (call.kwargs["allow_redirects"], call.kwargs["raise_for_status"])
    assert KEY not in repr(call)


async def test_errors(side: Side, mocked: aioresponses) -> None:
    """Announced refusals end in the errors that they end in on the wire."""
    client = side.client(BASE, retry=RetryPolicy.never())
    announce(mocked, "delete", status=404, payload={"detail": "Conversation not found"})
    missing = await failure(side, client, "delete")
    assert (NotFoundError, "Conversation not found") == (type(missing), missing.detail)
    announce(mocked, "update", status=429, payload={"detail": "Wait."}, headers={"Retry-After": "1234"})
    throttled = await failure(side, client, "update")
    assert isinstance(throttled, RateLimitError)
    assert 1234.0 == throttled.retry_after


async def test_unannounced(side: Side, specimen: Specimen, mocked: aioresponses) -> None:
    """A request that no test has announced reaches no network."""
    error = await failure(side, side.client(BASE, retry=RetryPolicy.never()), specimen.name)
    assert isinstance(error, TransportError)
    assert 1 == len(mocked.requests)
