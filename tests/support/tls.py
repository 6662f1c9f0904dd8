"""TLS for tests: an authority that can be trusted, a good server, and the ways in which a server can be bad."""

import asyncio
import functools
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp.connector
import attrs
import pytest
import trustme

from tests.support.proxy import Flow, Link, Proxy
from tests.support.raw import Exchange, RawServer, answer

_HOST = "127.0.0.1"


@functools.cache
def authority() -> trustme.CA:
    """The authority that `trust` makes the clients trust."""
    return trustme.CA()


def trust(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let clients made afterwards trust the test authority, as `SSL_CERT_FILE` does it for a whole program.

    The variable is read when aiohttp is imported, so its context is made once more, by its own function.
    """
    bundle = folder / "authority.pem"
    authority().cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", aiohttp.connector._make_ssl_context(True))


def client_context() -> ssl.SSLContext:
    """For a connector of the test's own."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@functools.cache
def good() -> ssl.SSLContext:
    return _context(authority().issue_cert(_HOST))


@functools.cache
def unknown_authority() -> ssl.SSLContext:
    return _context(trustme.CA().issue_cert(_HOST))


@functools.cache
def wrong_name() -> ssl.SSLContext:
    return _context(authority().issue_cert("api.omi.example", "127.0.0.2"))


@functools.cache
def expired() -> ssl.SSLContext:
    return _context(
        authority().issue_cert(
            _HOST, not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2021, 1, 1, tzinfo=UTC)
        )
    )


@functools.cache
def not_yet_valid() -> ssl.SSLContext:
    return _context(
        authority().issue_cert(
            _HOST, not_before=datetime(2090, 1, 1, tzinfo=UTC), not_after=datetime(2091, 1, 1, tzinfo=UTC)
        )
    )


def outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    """Restrict a context, of either side, to TLS 1.1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@functools.cache
def tls_1_1() -> ssl.SSLContext:
    return outdated(_context(authority().issue_cert(_HOST)))


CERTIFICATES = {
    "unknown authority": unknown_authority,
    "wrong name": wrong_name,
    "expired": expired,
    "not yet valid": not_yet_valid,
}
"""Servers whose certificate must be refused."""

BAD = (*CERTIFICATES, "tls 1.1", "handshake hangs", "handshake cut", "plain http")
"""Every server that must never see a byte of HTTP."""


@attrs.define
class BadServer:
    """A server of the kind `BAD` names, and what reached it."""

    server: RawServer
    proxy: Proxy

    @property
    def url(self) -> str:
        return f"https://{_HOST}:{self.proxy.port}"

    @property
    def connections(self) -> int:
        return self.proxy.connections

    @property
    def http_bytes(self) -> int:
        """Bytes of HTTP inside TLS, and whatever was sent if any of it was in the clear."""
        sent = bytes(self.proxy.received)
        in_the_clear = any(word in sent for word in (b"omi_dev_", b"Authorization", b"/v1/dev/", b"HTTP/1.1"))
        return self.server.bytes_received + (len(sent) if in_the_clear else 0)


@asynccontextmanager
async def bad_server(kind: str, *, cut: Flow | None = None) -> AsyncIterator[BadServer]:
    """Run one. `cut` says how and where the handshake is cut."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async def refuse_in_plain_text(writer: asyncio.StreamWriter) -> bool:
        writer.write(answer(400, "Bad Request"))
        writer.close()
        return False

    link = Link()
    if kind == "plain http":
        server = RawServer(script, on_connect=refuse_in_plain_text)
    elif kind in CERTIFICATES:
        server = RawServer(script, tls=CERTIFICATES[kind]())
    elif kind == "tls 1.1":
        server = RawServer(script, tls=tls_1_1())
    else:
        server = RawServer(script, tls=good())
        link = Link(up=Flow(limit=0)) if kind == "handshake hangs" else Link(down=cut or Flow(limit=100, then="reset"))
    async with server, Proxy(server.port, lambda number: link) as proxy:
        yield BadServer(server, proxy)
