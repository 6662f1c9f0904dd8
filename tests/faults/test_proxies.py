"""Ways out: through a proxy, with an authority of one's own, and what is said where there is none."""

import asyncio
import gc
import pickle
import re
import select
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from omi_async import AsyncOmiClient, ConfigurationError, OmiError, RequestTimeoutError, Timeout, TransportError
from omi_sync import OmiClient
from tests.support import inside, tls
from tests.support.canary import Watch, as_pytest_shows_it, channels, hits, paths
from tests.support.clock import VirtualClock
from tests.support.failures import failure
from tests.support.http_proxy import HttpProxy
from tests.support.raw import Exchange, RawServer, answer, in_thread
from tests.support.sides import KEY, Side
from tests.support.subprocesses import run

USER, PASSWORD = "canary-user-of-a-proxy", "canary:p%40ss%2Fword"
PLAIN_PASSWORD = "canary:p@ss/word"
KINDS = [AsyncOmiClient, OmiClient]


async def fine(exchange: Exchange) -> None:
    await exchange.succeed()


@pytest.fixture(params=["straight", "through the session"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways over aiohttp."""
    if request.param == "through the session":
        inside.go_straight(monkeypatch, False)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """A server with the certificate of a private authority."""
    async with RawServer(fine, tls=tls.good()) as server:
        yield server


# Through a proxy


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("user", [None, f"{USER}:{PASSWORD}", USER])
async def test_tunnel(side: Side, operation: str, server: RawServer, user: str | None) -> None:
    """Calls over https share one tunnel; the proxy learns host, user and password, and not a byte of the calls."""
    wanted = user and {f"{USER}:{PASSWORD}": f"{USER}:{PLAIN_PASSWORD}"}.get(user, f"{USER}:")
    async with HttpProxy(user=wanted) as proxy:
        url = proxy.url if user is None else proxy.url_for(user)
        client = side.client(server.url, proxy=url, ssl=tls.client_context())
        for _ in range(3):
            await side.call(client, operation)
        await side.aclose()
        assert [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"] == proxy.lines
        assert (user is not None) == (b"Proxy-Authorization" in proxy.received)
        for secret in (KEY.encode(), b"Bearer", b"/v1/", b"conv_1", b"User-Agent: omi"):
            assert secret not in proxy.received
    assert (3, 1) == (len(server.log), server.connections)
    assert "proxy-authorization" not in server.log[0].headers
    assert f"Bearer {KEY}" == server.log[0].headers["authorization"]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("user", [None, f"{USER}:{PASSWORD}"])
async def test_plain_http(side: Side, operation: str, user: str | None) -> None:
    """A server on this machine that speaks plain HTTP is asked through the proxy by its whole URL."""
    async with RawServer(fine) as server, HttpProxy(user=user and f"{USER}:{PLAIN_PASSWORD}") as proxy:
        client = side.client(f"{server.url}/prefix", proxy=proxy.url if user is None else proxy.url_for(user))
        for _ in range(2):
            await side.call(client, operation)
        assert 2 == len(server.log) == len(proxy.lines)
        assert f" {server.url}/prefix/v1/dev/user/conversations/conv_1 " in proxy.lines[0]
        assert "/prefix/v1/dev/user/conversations/conv_1" == server.log[0].path
        assert 1 == proxy.connections


REFUSALS: dict[str, tuple[dict[str, Any], str | None, bool, str]] = {
    "no password": ({"user": "u:p"}, None, False, "{proxy} asks for a user and a password (407)."),
    "wrong password": (
        {"user": "u:p"},
        "u:x",
        False,
        "{proxy} refuses the user and the password that it was given (407).",
    ),
    "forbidden": ({"refusal": 403}, None, False, "{proxy} refuses to connect to {server} (403)."),
    "no such method": ({"refusal": 405}, None, False, "{proxy} refuses to connect to {server} (405)."),
    "bad gateway": ({"refusal": 502}, None, True, "{proxy} could not connect to {server} (502)."),
    "no HTTP": ({"says": b"SSH-2.0-x\r\n\r\n"}, None, True, "{proxy} gave an answer that is not proper HTTP."),
    "nothing": ({"says": b""}, None, True, "the connection through {proxy} was lost."),
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", REFUSALS)
async def test_refusal(side: Side, operation: str, server: RawServer, clock: VirtualClock, kind: str) -> None:
    """A proxy that refuses is named, and nothing was sent; only what may pass is tried again."""
    settings, user, retryable, text = REFUSALS[kind]
    async with HttpProxy(**settings) as proxy:
        url = proxy.url if user is None else proxy.url_for(user)
        client = side.client(server.url, proxy=url, ssl=tls.client_context(), retry=clock.policy())
        error = await failure(side, client, operation)
        assert text.format(proxy=f"the proxy {proxy.url}", server=server.url) == error.text
        assert (TransportError, "not_applied", retryable) == (type(error), error.outcome, error.retryable)
        assert (3 if retryable else 1) == error.attempts == proxy.connections
    assert [] == server.log


@pytest.mark.usefixtures("way")
async def test_plain_http_refused(side: Side, operation: str, clock: VirtualClock) -> None:
    """Without a tunnel a proxy that wants a password refuses the request itself, which is not tried again."""
    async with RawServer(fine) as server, HttpProxy(user="u:p") as proxy:
        error = await failure(side, side.client(server.url, proxy=proxy.url, retry=clock.policy()), operation)
        assert ("not_applied", 407, True, 1) == (error.outcome, error.status, error.from_intermediary, error.attempts)
        assert "a proxy asks for a user and a password (407)." == error.text
    assert [] == server.log


@pytest.mark.usefixtures("way")
async def test_no_proxy_there(side: Side, operation: str, server: RawServer, clock: VirtualClock) -> None:
    """A proxy that cannot be reached or found is named, and the server is never asked without it."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url, text in {
        f"http://u:secret@127.0.0.1:{port}": f"no connection to the proxy http://127.0.0.1:{port} could be made.",
        "http://u:secret@no.invalid:1": "the host name of the proxy http://no.invalid:1 was not found.",
    }.items():
        client = side.client(server.url, proxy=url, ssl=tls.client_context(), retry=clock.policy())
        error = await failure(side, client, operation)
        assert (text, "not_applied", True, 3) == (error.text, error.outcome, error.retryable, error.attempts)
    assert 0 == server.connections


async def test_proxy_hangs(side: Side, operation: str, server: RawServer, clock: VirtualClock) -> None:
    """A proxy that says nothing runs into the limit for connecting, and is named."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = side.client(
            server.url,
            proxy=f"http://127.0.0.1:{silent.getsockname()[1]}",
            timeout=Timeout(connect=0.05),
            retry=clock.policy(),
        )
        error = await failure(side, client, operation)
    assert (RequestTimeoutError, "not_applied", 3) == (type(error), error.outcome, error.attempts)
    assert "no connection through the proxy http://127.0.0.1:" in error.text


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("secure", [True, False])
async def test_what_waits_is_no_answer(side: Side, operation: str, secure: bool) -> None:
    """Through a proxy too, nothing that came before a request is its answer."""

    async def twice(exchange: Exchange) -> None:
        await exchange.succeed()
        if "good" in exchange.path:
            await exchange.succeed()

    async def missing(exchange: Exchange) -> None:
        if "good" in exchange.path:
            await twice(exchange)
        else:
            await exchange.send(answer(404, {"detail": "Conversation not found"}))

    with in_thread(RawServer(missing, tls=tls.good() if secure else None)) as server:
        async with HttpProxy() as proxy:
            client = side.client(server.url, proxy=proxy.url, ssl=tls.client_context())
            await side.call(client, operation, "good")
            await asyncio.sleep(0.05)
            error = await failure(side, client, operation, "bad")
    assert 404 == error.status


@pytest.mark.usefixtures("way")
async def test_proxy_speaks_first(side: Side, monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> None:
    """An answer that a proxy gives before it was asked is nobody's."""
    connect = aiohttp.TCPConnector.connect

    async def connect_and_wait(*args: Any, **settings: Any) -> Any:
        connection = await connect(*args, **settings)
        assert connection.transport is not None
        assert select.select([connection.transport.get_extra_info("socket")], [], [], 10)[0]
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_wait)
    with in_thread(HttpProxy(says=answer(200, {"success": True}))) as proxy:
        client = side.client("http://127.0.0.1:9", proxy=proxy.url, retry=clock.policy(attempts=1))
        error = await failure(side, client, "delete")
        assert [] == proxy.lines
    assert ("not_applied", True) == (error.outcome, error.retryable)


def test_a_real_proxy() -> None:
    """A proxy that others have written opens the tunnel, wants the password, and passes plain requests on."""
    proxy = pytest.importorskip("proxy", reason="needs proxy.py, which the nightly run installs")
    arguments = ["--hostname", "127.0.0.1", "--port", "0", "--num-workers", "1", "--basic-auth", f"u:{PASSWORD[:6]}"]
    with proxy.Proxy(arguments) as real, in_thread(RawServer(fine, tls=tls.good())) as server:
        host = f"127.0.0.1:{real.flags.port}"
        good = f"http://u:{PASSWORD[:6]}@{host}"
        with OmiClient(KEY, base_url=server.url, proxy=good, ssl=tls.client_context()) as omi:
            assert omi.conversations.delete("conv_1").confirmed
        with OmiClient(KEY, base_url=server.url, proxy=f"http://{host}") as omi:
            with pytest.raises(TransportError, match="asks for a user and a password") as caught:
                omi.conversations.delete("conv_1")
            assert ("not_applied", 1) == (caught.value.outcome, caught.value.attempts)
        with in_thread(RawServer(fine)) as plain, OmiClient(KEY, base_url=plain.url, proxy=good) as omi:
            assert omi.conversations.delete("conv_1").confirmed


# Certificates


REASONS = {
    "unknown authority": ("unable to get local issuer certificate", True),
    "wrong name": ("IP address mismatch, certificate is not valid for '127.0.0.1'", False),
    "expired": ("certificate has expired", False),
    "not yet valid": ("certificate is not yet valid", False),
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("tunnel", [True, False])
@pytest.mark.parametrize("kind", tls.CERTIFICATES)
async def test_refused_certificate(side: Side, operation: str, clock: VirtualClock, kind: str, tunnel: bool) -> None:
    """The error says why a certificate is refused, with or without a proxy; no byte of HTTP has left."""
    async with tls.bad_server(kind) as server, HttpProxy() as proxy:
        settings = {"proxy": proxy.url} if tunnel else {}
        client = side.client(server.url, ssl=tls.client_context(), retry=clock.policy(), **settings)
        error = await failure(side, client, operation)
    reason, advised = REASONS[kind]
    assert f"the certificate of 127.0.0.1 was refused ({reason})." in error.text
    assert advised == ("SSL_CERT_FILE" in error.text)
    assert ("not_applied", False, 1, 0) == (error.outcome, error.retryable, error.attempts, server.http_bytes)


@pytest.mark.usefixtures("way")
async def test_own_authority(side: Side, operation: str, server: RawServer) -> None:
    """A client trusts the authorities of its own context, and no other client does."""
    await side.call(side.client(server.url, ssl=tls.client_context()), operation)
    error = await failure(side, side.client(server.url), operation)
    assert "unable to get local issuer certificate" in error.text
    assert 1 == len(server.log)


# Settings


PASSWORDS = ("hunter2-of-the-proxy", "aHVudGVy")

REFUSED = {
    "": "visible ASCII",
    "proxy.example:3128": "must begin with http://",
    "http:proxy.example": "must begin with http://",
    "https://u:hunter2-of-the-proxy@proxy.example:3128": "must begin with http://",
    "socks5://u:hunter2-of-the-proxy@proxy.example:1080": "must begin with http://",
    "http://": "must name a host",
    "http://u:hunter2-of-the-proxy@": "must name a host",
    "http://u:hunter2-of-the-proxy@:3128": "must name a host",
    "http://proxy.example:0": "must name a host",
    "http://proxy.example:65536": "must name a host",
    "http://proxy.example:3128/path": "must name a host",
    "http://proxy.example?x=1": "must name a host",
    "http://u:hunter2-of-the-proxy@-bad-.999": "must name a host",
    "http://u:hunter2-of-the-proxy@[::zz]:1": "must name a host",
    "http://u:hunter2-of-the-proxy@x@proxy.example": "written with %",
    "http://u:hunter2-of-the-proxy/x@proxy.example": "written with %",
    " http://proxy.example": "visible ASCII",
    "http://u:hunter2-of-the-proxy é@proxy.example": "visible ASCII",
    b"http://proxy.example": "visible ASCII",
    17: "visible ASCII",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", REFUSED)
def test_bad_proxy(kind: Any, value: Any) -> None:
    """What cannot be a proxy is refused where the client is made, by the argument's name and without the password."""
    with pytest.raises(ConfigurationError, match=f"^proxy .*{re.escape(REFUSED[value])}") as caught:
        kind(KEY, proxy=value)
    assert [] == hits(list(channels(caught.value)), {"password": PASSWORDS[0]})


@pytest.mark.parametrize("kind", KINDS)
def test_good_proxy(kind: Any) -> None:
    """A name or an address will do, with a port, a user and a final slash or without."""
    for url in ("http://proxy.example", "HTTP://Proxy.Example:3128/", "http://u@[::1]:3128", "http://:p@10.0.0.1:8080"):
        kind(KEY, proxy=url)


@pytest.mark.parametrize("kind", KINDS)
def test_key_in_the_clear(kind: Any) -> None:
    """Plain http through a proxy elsewhere would send the key over the network, so it is refused."""
    with pytest.raises(ConfigurationError, match=r"^proxy must be on this machine if base_url is plain http"):
        kind(KEY, base_url="http://127.0.0.1:8080", proxy="http://proxy.example:3128")
    kind(KEY, base_url="http://127.0.0.1:8080", proxy="http://localhost:3128")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [True, False, "ca.pem", ssl.CERT_NONE, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)])
def test_bad_context(kind: Any, value: Any) -> None:
    """`ssl` is a context for clients, and nothing that turns checks off by a word."""
    with pytest.raises(ConfigurationError, match=r"^ssl must be an ssl\.SSLContext for clients"):
        kind(KEY, ssl=value)


async def test_not_with_a_session() -> None:
    """A borrowed session has its own proxy and certificates: both at once is refused, by the argument's name."""
    settings: dict[str, Any] = {"proxy": "http://proxy.example", "ssl": tls.client_context()}
    async with aiohttp.ClientSession() as session:
        for name, value in settings.items():
            with pytest.raises(ConfigurationError, match=f"^{name} cannot be given together with session"):
                AsyncOmiClient(KEY, session=session, **{name: value})


# Hints


@pytest.fixture
def nowhere() -> str:
    """An https URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return f"https://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("environment", "hinted"),
    [
        ({"HTTPS_PROXY": "http://u:secret@p:1"}, "HTTPS_PROXY"),
        ({"https_proxy": "http://u:secret@p:1"}, "HTTPS_PROXY"),
        ({"ALL_PROXY": "http://u:secret@p:1"}, "ALL_PROXY"),
        ({"HTTP_PROXY": "http://u:secret@p:1"}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "http://u:secret@p:1", "NO_PROXY": "127.0.0.1"}, None),
        ({}, None),
    ],
)
async def test_hint(
    side: Side,
    nowhere: str,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    hinted: str | None,
) -> None:
    """A failed connection tells of a proxy in the environment that was not used, and shows nothing of its URL."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    error = await failure(side, side.client(nowhere, retry=clock.policy()), "delete")
    assert f"no connection to {nowhere} could be made." in error.text
    assert (hinted is not None) == ("was not used" in error.text)
    assert hinted is None or f" {hinted} is set" in error.text
    assert "secret" not in str(error)


async def test_hint_for_what_a_firewall_drops(side: Side, monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> None:
    """The hint comes with the limit for connecting and with an unknown host name too, and not after a connection."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        for timeout in (Timeout(connect=0.05), Timeout(attempt=0.05)):
            error = await failure(side, side.client(url, timeout=timeout, retry=clock.policy(attempts=1)), "delete")
            assert "HTTPS_PROXY" in error.text
    error = await failure(side, side.client("https://no.invalid", retry=clock.policy(attempts=1)), "delete")
    assert "was not found. HTTPS_PROXY is set" in error.text

    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    async with RawServer(reset, tls=tls.good()) as server:
        client = side.client(server.url, ssl=tls.client_context(), retry=clock.policy(attempts=1))
        assert "HTTPS_PROXY" not in str(await failure(side, client, "delete"))


# The password


SECRETS = {
    "password": "canary-password-of-a-proxy",
    "encoded": "Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3JkLW9mLWEtcHJveHk",  # base64 of user:password
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", [*REFUSALS, "fine", "certificate", "unreachable"])
async def test_password_is_shown_nowhere(
    side: Side, kind: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's password is in no error, log, warning or traceback, and nowhere inside client and error."""
    settings = REFUSALS[kind][0] if kind in REFUSALS else {}
    context = None if kind == "certificate" else tls.client_context()
    error: OmiError | None = None
    with Watch(monkeypatch) as watch:
        async with RawServer(fine, tls=tls.good()) as server, HttpProxy(**settings) as proxy:
            url = proxy.url_for(f"canary-user:{SECRETS['password']}")
            if kind == "unreachable":
                url = url.replace(f":{proxy.port}", ":1")
            client = side.client(server.url, proxy=url, ssl=context, retry=clock.policy())
            if kind == "fine":
                await side.call(client, "delete")
            else:
                error = await failure(side, client, "delete")
            seen = [("repr", repr(client)), *paths(client)]
            await side.aclose()
            gc.collect()
            if kind in ("fine", "certificate"):
                assert SECRETS["encoded"].encode() in proxy.received  # or nothing could be found at all
    if error is not None:
        seen += [*channels(error), ("pytest", as_pytest_shows_it(error)), *paths(error)]
    assert [] == hits([*watch.texts, *seen], SECRETS)
    with pytest.raises(TypeError):
        pickle.dumps(client)


@pytest.mark.parametrize("kind", KINDS)
def test_password_of_a_client_that_was_not_made(kind: Any) -> None:
    """Where another setting is refused, no frame below the caller's holds the proxy's password."""
    with pytest.raises(ConfigurationError) as caught:
        kind(KEY, proxy=f"http://canary-user:{SECRETS['password']}@proxy.example", max_connections=0)
    assert [] == hits(list(channels(caught.value)), SECRETS)


# The command

COMMAND = "import sys\nfrom omi_sync.command import main\nsys.exit(main(sys.argv[1:]))"


def command(url: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and everything that it said."""
    result = run(COMMAND, *arguments, env={"OMI_API_BASE": url, "OMI_API_KEY": KEY, **environment})
    return result.code, result.out + result.err


def test_command(tmp_path: Path) -> None:
    """The command goes through --proxy or OMI_PROXY, trusts SSL_CERT_FILE, and names what went wrong."""
    bundle = tmp_path / "authority.pem"
    tls.authority().cert_pem.write_to_path(str(bundle))
    trust = {"SSL_CERT_FILE": str(bundle)}
    get = ("get", "conv_1")
    with in_thread(RawServer(fine, tls=tls.good())) as server, in_thread(HttpProxy(user="u:secret")) as proxy:
        url, good = server.url, proxy.url_for("u:secret")
        for given in ((*get, "--proxy", good), ("hide", "conv_1", "--proxy", good)):
            code, said = command(server.url, *given, **trust)
            assert (0, True) == (code, "conv_1" in said)
        code, _ = command(server.url, *get, **trust, OMI_PROXY=good)
        assert (0, 3) == (code, len(proxy.lines))
        code, said = command(server.url, *get, "--proxy", proxy.url, **trust, OMI_PROXY=good)
        assert (3, True) == (code, f"the proxy {proxy.url} asks for a user and a password (407)" in said)
        code, said = command(server.url, *get, OMI_PROXY=good)
        assert (3, True) == (code, "unable to get local issuer certificate" in said)
        assert "SSL_CERT_FILE" in said
        assert "secret" not in said
        code, said = command(server.url, *get, "--proxy", "socks5://u:secret@p:1")
        assert (1, True) == (code, "The proxy (--proxy or OMI_PROXY) must begin with http://" in said)
        assert "secret" not in said
    code, said = command(url, *get, **trust, HTTPS_PROXY=good)
    assert (3, True) == (code, "HTTPS_PROXY is set and was not used" in said)
    assert "--proxy" in said


def test_command_in_the_sandbox() -> None:
    """The sandbox is inside the command: --proxy beside it is refused, and OMI_PROXY is not asked."""
    code, said = command("", "list", "--sandbox", "--proxy", "http://127.0.0.1:1")
    assert (1, True) == (code, "no --proxy leads to it" in said)
    assert 0 == command("", "list", "--sandbox", "--ids", OMI_PROXY="http://127.0.0.1:1")[0]


def test_command_never_repeats_the_password(tmp_path: Path) -> None:
    """A command line with a password in it is not shown again, where another one would be."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.send(answer(401, {"detail": "Invalid API Key"}))

    with in_thread(RawServer(refuse)) as server, in_thread(HttpProxy()) as proxy:
        for url, shown in ((proxy.url_for("u:secret"), False), (proxy.url, True)):
            journal = str(tmp_path / f"{shown}.db")
            _, said = command(server.url, "hide", "conv_1", "--journal", journal, "--proxy", url)
            assert "To go on where it stopped:" in said
            assert shown == (f"--proxy {url}" in said)
            assert "secret" not in said
