"""Settings of a client: keys, base URLs, timeouts, retries, names, and where they come from."""

import asyncio
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

import omi_async
from omi_async import AsyncOmiClient, ConfigurationError, RequestTimeoutError, RetryPolicy, Timeout, TransportError
from omi_sync import OmiClient
from tests.support import tls
from tests.support.raw import Exchange, RawServer, answer
from tests.support.sides import KEY, Side
from tests.support.subprocesses import run

SECRET = "5ca1ab1e0ddba11f00dfeedc0ffee000"
GOOD_KEY = f"omi_dev_{SECRET}"

Kind = Callable[..., AsyncOmiClient | OmiClient]

both = pytest.mark.parametrize("kind", [AsyncOmiClient, OmiClient])


async def fine(exchange: Exchange) -> None:
    await exchange.succeed()


def refuse(kind: Kind, *arguments: Any, **settings: Any) -> ConfigurationError:
    """The error of a constructor that must refuse."""
    with pytest.raises(ConfigurationError) as caught:
        kind(*arguments, **settings)
    error = caught.value
    assert ConfigurationError is type(error)
    assert isinstance(error, ValueError)
    assert ("not_applied", 0, None, False) == (error.outcome, error.attempts, error.operation, error.retryable)
    return error


# The key

BAD_KEYS: dict[str, tuple[Any, str]] = {
    "none": (None, "no API key"),
    "empty": ("", "no API key"),
    "line break": (f"{GOOD_KEY}\n", "line break"),
    "line break of Windows": (f"{GOOD_KEY}\r\n", "line break"),
    "carriage return": (f"{GOOD_KEY}\r", "line break"),
    "blank before": (f" {GOOD_KEY}", "blank"),
    "blank after": (f"{GOOD_KEY} ", "blank"),
    "blank within": (f"omi_dev_ {SECRET}", "blank"),
    "tab": (f"{GOOD_KEY}\t", "blank"),
    "line break within": (f"{GOOD_KEY}\r\nX-Evil: 1", "blank"),
    "separator": (f"{GOOD_KEY}\x1c", "blank"),
    "next line": (f"{GOOD_KEY}\x85", "blank"),
    "no-break space": (f"{GOOD_KEY}\u00a0", "blank"),
    "line separator": (f"{GOOD_KEY}\u2028", "blank"),
    "nul": (f"{GOOD_KEY}\x00", "visible ASCII"),
    "escape": (f"{GOOD_KEY}\x1b[0m", "visible ASCII"),
    "delete": (f"{GOOD_KEY}\x7f", "visible ASCII"),
    "accent": (f"{GOOD_KEY}\u00e9", "visible ASCII"),
    "emoji": (f"omi_dev_\U0001f6aa{SECRET}", "visible ASCII"),
    "surrogate": (f"{GOOD_KEY}\ud800", "visible ASCII"),
    "byte order mark": (f"\ufeff{GOOD_KEY}", "omi_dev_"),
    "zero width": (f"{GOOD_KEY}\u200b", "visible ASCII"),
    "Bearer": (f"Bearer {GOOD_KEY}", "Bearer"),
    "bearer": (f"bearer {GOOD_KEY}", "Bearer"),
    "Bearer without blank": (f"Bearer{GOOD_KEY}", "Bearer"),
    "MCP key": (f"omi_mcp_{SECRET}", "MCP"),
    "another service": (f"sk-proj-{SECRET}", "omi_dev_"),
    "other family": (f"omi_app_{SECRET}", "omi_dev_"),
    "upper case": (GOOD_KEY.upper(), "omi_dev_"),
    "quoted": (f'"{GOOD_KEY}"', "quotation mark"),
    "quoted at the end": (f"{GOOD_KEY}'", "quotation mark"),
    "prefix alone": ("omi_dev_", "omi_dev_"),
    "secret alone": (SECRET, "omi_dev_"),
    "one megabyte": (f"omi_dev_{SECRET * 32_768}", "longer than"),
    "bytes": (GOOD_KEY.encode(), "str"),
    "number": (5, "str"),
    "list": ([GOOD_KEY], "str"),
}


@pytest.mark.scenario(128, 129)
@both
@pytest.mark.parametrize("name", BAD_KEYS)
def test_bad_keys(kind: Kind, name: str) -> None:
    """A key that cannot be one is refused at construction, with a hint of its own and without being repeated."""
    key, hint = BAD_KEYS[name]
    error = refuse(kind, key)
    assert hint in str(error)
    faces = f"{error!s} {error!r} {error.args!r} {vars(error)!r}".lower()
    assert SECRET not in faces
    assert len(faces) < 1000
    assert (None, None) == (error.__cause__, error.__context__)


@pytest.mark.scenario(128, 129)
@both
@pytest.mark.parametrize(
    "name", [name for name, (key, _) in BAD_KEYS.items() if isinstance(key, str) and "\0" not in key]
)
def test_bad_keys_of_the_environment(kind: Kind, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key from the environment is judged as one that is given."""
    key, hint = BAD_KEYS[name]
    if len(key) > 100_000 or "\ud800" in key:
        key, hint = "", "no API key"
    monkeypatch.setenv("OMI_API_KEY", key)
    assert hint in str(refuse(kind))


@pytest.mark.scenario(128, 129)
@pytest.mark.parametrize(
    "key", ["omi_dev_x", GOOD_KEY, "omi_dev_!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~", f"omi_dev_{'x' * 504}"]
)
async def test_good_keys(side: Side, operation: str, key: str) -> None:
    """A key of visible ASCII arrives as it was given, in the one form that the server reads."""
    async with RawServer(fine) as server:
        await side.call(side.client(server.url, api_key=key), operation)
    assert f"Bearer {key}" == server.log[0].headers["authorization"]


class Masked(str):
    """As the secrets of settings libraries are: it prints as stars."""

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"


@pytest.mark.scenario(128)
async def test_the_content_of_a_key_counts(side: Side, operation: str) -> None:
    """Of a subclass of str, the characters it holds are sent and not those it prints."""
    async with RawServer(fine) as server:
        await side.call(side.client(server.url, api_key=Masked(GOOD_KEY), user_agent=Masked("bot/1")), operation)
    headers = server.log[0].headers
    assert (f"Bearer {GOOD_KEY}", True) == (headers["authorization"], headers["user-agent"].startswith("bot/1 "))


# The base URL

BAD_URLS: dict[str, list[Any]] = {
    "scheme": [
        *("http://api.omi.me", "ws://api.omi.me", "wss://api.omi.me", "ftp://api.omi.me", "file:///etc/passwd"),
        *("api.omi.me", "//api.omi.me", "/v1", "https", "https:", "https:/api.omi.me", "httpss://a", "javascript:x"),
        *("http://10.0.0.1", "http://0.0.0.0", "http://[::]", "http://192.168.0.7:8000", "http://127.0.0.1.example"),
        *(
            "http://localhost.example",
            "http://2130706433",
            "http://127.1",
            "http://0x7f000001",
            "http://[::ffff:a00:1]",
        ),
    ],
    "host": [
        *(
            "https://",
            "https:///x",
            "https://:443",
            "https://?",
            "https://#",
            "https://[]",
            "https://a b",
            "https://a,b",
        ),
        *("https://\u00f6mi.example", "https://api.omi\u3002me", "https://\uff41pi.omi.me", "https://xn--\u00fc"),
        *("https://a%2eb", "https://a\\b", "https://[::1", "https://::1", "https://a[b]", "https://a|b", "https://a;b"),
    ],
    "port": ["https://a:0", "https://a:65536", "https://a:-1", "https://a:x", "https://a:1:2", "https://a:\u0661"],
    "credentials": ["https://me:secret@a", "https://me@a", "https://@a", "https://:@a", "http://x@127.0.0.1"],
    "query": ["https://a?", "https://a?b", "https://a/?b=c", "https://a/v1?key=x"],
    "fragment": ["https://a#", "https://a/#b", "https://a#b"],
    "path": [
        *(
            "https://a//",
            "https://a//b",
            "https://a/b//",
            "https://a/.",
            "https://a/..",
            "https://a/b/../c",
            "https://a/./b",
        ),
        *(
            "https://a/%2e%2e",
            "https://a/b;c",
            "https://a/b%20c",
            "https://a/b\\c",
            "https://a/\u00e9",
            "https://a/b:c",
        ),
    ],
    "blanks": [
        *(
            " ",
            " https://a",
            "https://a ",
            "https://a\n",
            "https://a\r\nX: y",
            "https://\ta",
            "ht\ntps://a",
            "https://a/\x00",
        ),
        *("https://a\u00a0", "https://a/\x7f", "\ufeffhttps://a", "https://a\ud800"),
    ],
    "type": [b"https://a", 5, ["https://a"], URL("https://a"), Path("https://a")],
}


@pytest.mark.scenario(133)
@both
@pytest.mark.parametrize("reason", BAD_URLS)
def test_bad_base_urls(kind: Kind, reason: str) -> None:
    """A base URL that the key must not be sent to, or that says more than where, is refused at construction."""
    for url in BAD_URLS[reason]:
        error = refuse(kind, GOOD_KEY, base_url=url)
        assert "base_url" in str(error), url
        assert SECRET not in str(error)


@pytest.mark.scenario(133)
@pytest.mark.parametrize("url", [url for urls in BAD_URLS.values() for url in urls if isinstance(url, str)], ids=ascii)
def test_bad_base_urls_of_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL from the environment is judged as one that is given."""
    if "\0" in url or "\ud800" in url:
        url = "https://me:secret@a"  # these cannot be in the environment
    monkeypatch.setenv("OMI_API_BASE", url)
    assert "base_url" in str(refuse(AsyncOmiClient, GOOD_KEY))


@pytest.mark.scenario(133)
@both
def test_text_behind_an_address(kind: Kind) -> None:
    """An address in brackets with text behind it is refused like every other bad base URL."""
    refuse(kind, GOOD_KEY, base_url="https://[::1]x")


@pytest.mark.scenario(133)
@both
@pytest.mark.parametrize("url", ["", b"", 0, False])
def test_an_empty_base_url(kind: Kind, url: Any) -> None:
    """A base URL that is given and empty is refused: the key must not go to another server than meant."""
    refuse(kind, GOOD_KEY, base_url=url)


@pytest.mark.scenario(133)
@pytest.mark.parametrize("url", ["https://[::1", "https://a:secret"])
def test_a_refused_base_url_leaves_nothing_behind(url: str) -> None:
    """No error of a library, which may repeat parts of the URL, hangs on to the refusal."""
    assert None is refuse(AsyncOmiClient, GOOD_KEY, base_url=url).__context__


@pytest.mark.scenario(133)
@both
@pytest.mark.parametrize(
    ("url", "seen"),
    [
        (None, "https://api.omi.me"),
        ("https://api.omi.me/", "https://api.omi.me"),
        ("HTTPS://API.Omi.Me", "https://api.omi.me"),
        ("https://omi.example:8443/self/hosted/", "https://omi.example:8443/self/hosted"),
        ("https://xn--mi-fka.example", "https://xn--mi-fka.example"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.8.9.10", "http://127.8.9.10"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_good_base_urls(kind: Kind, url: str | None, seen: str) -> None:
    """https with a host, and plain http on this machine, are accepted and shown in one form."""
    assert f"<{kind.__name__} {seen} open>" == repr(kind(GOOD_KEY, base_url=url))


urls = st.one_of(
    st.text(max_size=20),
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["https://", "http://", "HTTPS://", "https:", "http:///", "wss://", ""]),
            st.text(alphabet="ab.127[]:@%-_/0", max_size=12),
            st.sampled_from(
                ["", ":0", ":80", ":443", ":99999", ":x", "@b", "/", "//", "/a", "/..", "?a", "#a", "\\", " "]
            ),
        ),
    ),
)


@pytest.mark.scenario(133)
@given(urls)
@example("https://[::1]x")
@settings(max_examples=1000, deadline=None, derandomize=True)
def test_a_base_url_is_good_or_refused(url: str) -> None:
    """Of any text, a base URL is either refused properly or one whose host all parsers agree on."""
    try:
        client = AsyncOmiClient(GOOD_KEY, base_url=url or "https://a")
    except ConfigurationError:
        return
    origin = client._transport._origin
    shown = URL(client._base_url, encoded=True)
    assert (
        (origin.scheme == "https") or origin.host in ("localhost", "127.0.0.1", "::1") or str(origin.host)[:4] == "127."
    )
    assert (origin.host, origin.port) == (shown.host, shown.port)
    assert (None, None, "", "") == (shown.user, shown.password, shown.query_string, shown.fragment)
    assert str(shown.raw_host) in url.lower() or not url


# Timeouts, retries and other numbers


def label(value: object) -> str:
    """A name for a test that is the same in every process, and short."""
    text = repr(value)
    return type(value).__name__ if " object at " in text else text[:20]


BAD_LIMITS: list[Any] = [0, 0.0, -1, -0.001, math.nan, math.inf, -math.inf, 86_401, 1e300, True, False]
BAD_LIMITS += ["5", b"5", Decimal(5), [5], 5j, object(), 10**400]


@pytest.mark.scenario(49)
@pytest.mark.parametrize("name", ["connect", "attempt", "total"])
@pytest.mark.parametrize("value", BAD_LIMITS, ids=label)
def test_bad_limits(name: str, value: Any) -> None:
    """A limit that is no number of seconds is refused where it is made, and the message names it."""
    with pytest.raises(ConfigurationError, match=name):
        Timeout(**{name: value})


@pytest.mark.scenario(49)
@both
@pytest.mark.parametrize("value", BAD_LIMITS, ids=label)
def test_bad_limits_of_a_client(kind: Kind, value: Any) -> None:
    """The same numbers given for `timeout` are refused by the client."""
    assert "total" in str(refuse(kind, GOOD_KEY, timeout=value))


@pytest.mark.scenario(49)
async def test_bad_limits_of_a_call(side: Side, operation: str) -> None:
    """The same numbers given to one call are refused by it, before anything is sent."""
    async with RawServer(fine) as server:
        client = side.client(server.url)
        for value in BAD_LIMITS:
            with pytest.raises(ConfigurationError, match="total"):
                await side.call(client, operation, timeout=value)
        assert 0 == server.connections
        await side.call(client, operation, timeout=30)
    assert 1 == len(server.log)


@pytest.mark.scenario(49)
@pytest.mark.parametrize("value", [None, 1, 0.001, 1e-9, 86_400, 5e-324])
def test_good_limits(value: float | None) -> None:
    """Any time up to a day is a limit, and None is none."""
    timeout = Timeout(connect=value, attempt=value, total=value)
    assert (value, value, value) == (timeout.connect, timeout.attempt, timeout.total)
    assert value is None or Timeout(total=value) == Timeout.of(value)


@pytest.mark.scenario(49)
async def test_no_limits(side: Side, operation: str) -> None:
    """A call without any limit works."""
    async with RawServer(fine) as server:
        client = side.client(server.url, timeout=Timeout(connect=None, attempt=None, total=None))
        await side.call(client, operation)
    assert 1 == len(server.log)


@pytest.mark.scenario(49)
async def test_the_limit_of_a_call_replaces_the_client_s(side: Side, operation: str) -> None:
    """`timeout` of one call stands in place of the client's, which holds again afterwards."""
    slow = asyncio.Event()
    slow.set()

    async def script(exchange: Exchange) -> None:
        if slow.is_set():
            await exchange.hang()
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, timeout=Timeout(total=30), retry=RetryPolicy.never())
        with pytest.raises(RequestTimeoutError):
            await side.call(client, operation, timeout=0.1)
        slow.clear()
        await side.call(client, operation)
    assert server.log


@pytest.mark.scenario(49)
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("attempts", [0, -1, 101, 10**400, True, 1.0, 2.5, "3", None, math.nan]),
        *((name, [-1, -0.001, math.nan, math.inf, 86_401, True, "1", None])
          for name in ("initial", "initial_throttled", "maximum", "retry_after_limit")),
    ],
)  # fmt: skip
def test_bad_retry_settings(name: str, values: list[Any]) -> None:
    """A number in a retry policy that cannot be meant is refused where it is made, and the message names it."""
    for value in values:
        with pytest.raises(ConfigurationError, match=name):
            RetryPolicy(**{name: value})


@both
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_connections", [0, -1, True, 1.5, "5", None, math.inf]),
        ("retry", [None, 3, "never", RetryPolicy, {}]),
        (
            "user_agent",
            ["", " ", "a\n", "a\r\nX: y", " a", "a ", "a  b", "a\tb", "\u00e9", "a\x00", "a" * 257, b"a", 5, "\ud800"],
        ),
    ],
)
def test_other_bad_settings(kind: Kind, name: str, values: list[Any]) -> None:
    """Every other setting that cannot be meant is refused at construction, by its name."""
    for value in values:
        assert name in str(refuse(kind, GOOD_KEY, **{name: value})), value


async def test_a_bad_retry_of_a_call(side: Side, operation: str) -> None:
    """What is no retry policy is refused by the call, before anything is sent."""
    async with RawServer(fine) as server:
        client = side.client(server.url)
        for value in (3, "never", RetryPolicy):
            with pytest.raises(ConfigurationError, match="retry"):
                await side.call(client, operation, retry=value)
        assert 0 == server.connections


def test_a_bad_session() -> None:
    """What is no session of aiohttp is refused at construction."""
    for value in (object(), "session", 5):
        assert "session" in str(refuse(AsyncOmiClient, GOOD_KEY, session=value))


@pytest.mark.parametrize("user_agent", [None, "my-bot/1.0", "my-bot/1.0 (+https://bot.example)", "a" * 256])
async def test_user_agents(side: Side, operation: str, user_agent: str | None) -> None:
    """The caller's name stands before the client's own, which is always there."""
    own = f"omi-async/{omi_async.__version__}"
    async with RawServer(fine) as server:
        await side.call(side.client(server.url, user_agent=user_agent), operation)
    assert (own if user_agent is None else f"{user_agent} {own}") == server.log[0].headers["user-agent"]


# Where settings come from


def bare(side: Side, *arguments: Any, **settings: Any) -> Any:
    """A client of this side with exactly these arguments; the side closes it."""
    client = (AsyncOmiClient if side.name == "async" else OmiClient)(*arguments, **settings)
    side._clients.append(client)
    return client


@pytest.mark.scenario(129, 133)
@pytest.mark.parametrize(
    "named", [(), ("key",), ("url",), ("key", "url")], ids=lambda named: " and ".join(named) or "none"
)
async def test_precedence(side: Side, named: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument goes before the environment, for the key and the base URL independently."""
    async with RawServer(fine) as argument, RawServer(fine) as ambient:
        monkeypatch.setenv("OMI_API_KEY", "omi_dev_ambient")
        monkeypatch.setenv("OMI_API_BASE", f"{ambient.url}/")
        settings = {"base_url": argument.url} if "url" in named else {}
        client = bare(side, *(("omi_dev_argument",) if "key" in named else ()), **settings)
        monkeypatch.setenv("OMI_API_KEY", "omi_dev_later")
        monkeypatch.setenv("OMI_API_BASE", "http://127.0.0.1:1")
        await side.call(client, "delete")
        reached, other = (argument, ambient) if "url" in named else (ambient, argument)
        assert (1, 0) == (len(reached.log), other.connections)
        key = "omi_dev_argument" if "key" in named else "omi_dev_ambient"
        assert f"Bearer {key}" == reached.log[0].headers["authorization"]


@pytest.mark.scenario(129, 133)
@both
def test_defaults(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without argument and environment there is no key, and the base URL is Omi's; an empty variable counts as none."""
    assert "OMI_API_KEY" in str(refuse(kind))
    monkeypatch.setenv("OMI_API_KEY", "")
    monkeypatch.setenv("OMI_API_BASE", "")
    assert "OMI_API_KEY" in str(refuse(kind))
    assert "https://api.omi.me" in repr(kind(GOOD_KEY))
    monkeypatch.setenv("OMI_API_KEY", GOOD_KEY)
    assert "https://api.omi.me" in repr(kind())
    assert "no API key" in str(refuse(kind, ""))


@both
def test_settings_are_named(kind: Kind) -> None:
    """Only the key may be given by position, and an unknown setting is a TypeError."""
    for arguments, named in (
        ((GOOD_KEY, "https://a"), {}),
        ((GOOD_KEY,), {"headers": {}}),
        ((GOOD_KEY,), {"key": "x"}),
    ):
        with pytest.raises(TypeError):
            kind(*arguments, **named)


PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "WS_PROXY")


@pytest.mark.scenario(135)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_environment_reaches_no_request(
    side: Side, operation: str, scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies and netrc entries of the environment are nothing to the client: the key goes to the base URL alone."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login other password secret\n")
    netrc.chmod(0o600)
    tls.trust(monkeypatch, tmp_path)
    async with RawServer(fine) as proxy, RawServer(fine, tls=tls.good() if scheme == "https" else None) as server:
        for name in PROXY_VARIABLES:
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "nowhere.example")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        await side.call(side.client(server.url), operation)
        assert (1, 0) == (len(server.log), proxy.connections)
    assert f"Bearer {KEY}" == server.log[0].headers["authorization"]
    assert "proxy-authorization" not in server.log[0].headers


@pytest.mark.scenario(135)
async def test_trusted_certificates_of_the_environment(tmp_path: Path) -> None:
    """A program started with `SSL_CERT_FILE` trusts the authorities in it, and one without refuses them."""
    program = """
        import sys
        from omi_sync import OmiClient, RetryPolicy, TransportError
        with OmiClient(base_url=sys.argv[1], retry=RetryPolicy.never()) as omi:
            try:
                print(omi.conversations.delete("conv_1").confirmed)
            except TransportError as error:
                print(error.outcome, "certificate" in str(error))
    """
    bundle = tmp_path / "authority.pem"
    tls.authority().cert_pem.write_to_path(str(bundle))
    async with RawServer(fine, tls=tls.good()) as server:
        for env, out in (({"SSL_CERT_FILE": str(bundle)}, ["True"]), ({}, ["not_applied True"])):
            result = await asyncio.to_thread(run, program, server.url, env={**env, "HTTPS_PROXY": "http://127.0.0.1:1"})
            assert out == result.check().lines
        assert 1 == len(server.log)


@pytest.mark.scenario(135)
@pytest.mark.parametrize("status", [407, 403, 502])
async def test_a_proxy_that_refuses(operation: str, status: int) -> None:
    """A proxy, which comes with a session, that refuses the tunnel is a failed connection, and never sees the key."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(status, "no", headers={"Proxy-Authenticate": "Basic", "Connection": "close"}))

    async with RawServer(script) as proxy, RawServer(fine, tls=tls.good()) as server:
        async with aiohttp.ClientSession(proxy=proxy.url) as session:
            omi = AsyncOmiClient(GOOD_KEY, base_url=server.url, session=session, retry=RetryPolicy.never())
            with pytest.raises(TransportError) as caught:
                if operation == "update":
                    await omi.conversations.update("conv_1", title="Title")
                else:
                    await omi.conversations.delete("conv_1")
        assert ["CONNECT"] == [exchange.method for exchange in proxy.log]
        assert 0 == server.connections
    assert TransportError is type(caught.value)
    assert ("not_applied", status == 502, 1) == (caught.value.outcome, caught.value.retryable, caught.value.attempts)
    assert str(status) in str(caught.value)
    assert SECRET not in repr(proxy.log[0].headers)
