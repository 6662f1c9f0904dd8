"""What callers pass in: ids, titles, `discarded`, and the bytes that leave for them."""

import enum
import pathlib
import unicodedata
import uuid
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from omi_async import AsyncOmiClient, InvalidRequestError, OmiError
from omi_sync import OmiClient
from tests.support.inside import Request, delete_conversation, update_conversation
from tests.support.raw import Exchange, RawServer
from tests.support.sides import Side

PREFIX = "/v1/dev/user/conversations/"

FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
REST = FIRST | set(".~")


def is_plain(text: str) -> bool:
    """The rule for ids once more, in other words than the product's."""
    return (
        1 <= len(text) <= 128
        and text[0] in FIRST
        and set(text[1:]) <= REST
        and not (len(text) >= 4 and text.startswith("__") and text.endswith("__"))
        and not text.lower().startswith(("omi_dev_", "omi_mcp_"))
    )


@attrs.frozen
class Refused:
    """What came of values that must be refused."""

    errors: list[Exception]
    accepted: list[object]


async def refuse(side: Side, operation: str, ids: list[Any], **settings: Any) -> Refused:
    """Try every id, then make one good call; the server must have seen that one call and no byte more."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    errors: list[Exception] = []
    accepted: list[object] = []
    async with RawServer(script) as server:
        client = side.client(server.url)
        for each in ids:
            try:
                await side.call(client, operation, each, **settings)
            except (OmiError, TypeError) as error:
                errors.append(error)
            else:
                accepted.append(each)
        await side.call(client, operation, "good")
        if not accepted:
            assert [PREFIX + "good"] == [exchange.path for exchange in server.log]
            assert 1 == server.connections
    return Refused(errors, accepted)


def full_name(kind: type) -> str:
    """With the module, where a type is not Python's own."""
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


class Odd(str):
    """Text that shows another face than it has."""

    def __str__(self) -> str:
        return "../memories/m1"

    def __format__(self, spec: str) -> str:
        return "../memories/m1"

    def __repr__(self) -> str:
        return "../memories/m1"

    def __add__(self, other: str) -> str:
        return "../memories/m1"

    def __radd__(self, other: str) -> str:
        return "../memories/m1"

    def __len__(self) -> int:
        return 1

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"../memories/m1"

    def strip(self, characters: str | None = None, /) -> str:
        return "../memories/m1"


class Name(enum.StrEnum):
    """An id or a title kept as a member of an enumeration."""

    GOOD = "conv_7"


# Ids

BAD_IDS = {
    "dots": [
        *(
            "..",
            ".",
            "...",
            "./x",
            "../memories/m1",
            "a/../../memories/m1",
            "../../../../v1/dev/keys",
            ".hidden",
            "~root",
        ),
        *("%2e%2e", "%2E%2E", "%2E.", ".%2e", "%2e%2e/memories/m1", "..%2Fmemories%2Fm1", "%252e%252e"),
    ],
    "delimiters": [
        *("a/b", "a\\b", "/a", "a/", "x?y", "x#y", "a;b", "a&b", "a=b", "a:b", "a@b", "a,b", "a+b", "a!b", "a*b"),
        *("a'b", 'a"b', "a(b", "a[b", "a{b", "a|b", "a^b", "a`b", "a$b", "a<b", "a%b", "a%2Fb", "a%5Cb", "%00", "%zz"),
        *("//evil", "//evil.example/x", "http://evil", "https://evil.example/v1", "file:///etc/passwd", "javascript:x"),
    ],
    "kept by the server": ["____", "__x__", "__conv_1__", "__" + "a" * 124 + "__"],
    "like keys": ["omi_dev_", "omi_dev_0123456789abcdef", "OMI_DEV_x", "omi_mcp_x", "Omi_Mcp_"],
    "blanks": [
        "",
        " ",
        "   ",
        "\t",
        " conv_1",
        "conv_1 ",
        "conv 1",
        "conv_1\n",
        "\nconv_1",
        "conv_1\r\n",
        "\u00a0conv_1",
    ],
    "controls": [
        *(f"conv{chr(code)}1" for code in [*range(0x20), 0x7F, *range(0x80, 0xA0)]),
        *(
            "conv_1\r\nX-Evil: 1",
            "conv_1\r\n\r\nDELETE /x HTTP/1.1",
            "conv_1\x00",
            "\x00",
            "conv_1\u2028",
            "conv_1\u2029",
        ),
        *("\ud800", "conv\ud800", "\udc00\ud800", "\ud83d\ude00", "conv_1\udcff"),
    ],
    "not ASCII": [
        *("conv_\u00e9", "conv_e\u0301", "\u0441\u043env_1", "\uff43onv_1", "conv_\uff11", "conv_\u00b2"),
        *("\u0130", "\u00df", "\u017f", "\u212a", "\u0660", "conv_1\u200b", "\ufeffconv_1", "\u202econv_1"),
        *("\u2024\u2024", "\uff0e\uff0e", "\u2025", "\ufe52", "\u3002", "a\u2215b", "a\uff0fb", "a\u2044b"),
        *("\U0001f6aa", "conv_1\U000e0001", "\U0010ffff"),
    ],
}


@pytest.mark.scenario(116, 117, 118, 119, 120)
@pytest.mark.parametrize("kind", BAD_IDS)
async def test_bad_ids_are_refused(side: Side, operation: str, kind: str) -> None:
    """An id that could name anything but one conversation is refused, and not a byte is sent for it."""
    refused = await refuse(side, operation, BAD_IDS[kind])
    assert [] == refused.accepted
    assert {InvalidRequestError} == {type(error) for error in refused.errors}
    for value, error in zip(BAD_IDS[kind], refused.errors, strict=True):
        assert isinstance(error, InvalidRequestError)
        assert isinstance(error, ValueError)
        assert ("not_applied", 0, False, None) == (error.outcome, error.attempts, error.retryable, error.status)
        assert "conversation_id" in str(error)
        assert len(value) < 4 or value not in str(error)
        assert (None, None) == (error.__cause__, error.__context__)


@pytest.mark.scenario(121)
async def test_long_ids_are_refused(side: Side, operation: str) -> None:
    """An id may have 128 characters and not one more, and an enormous one is not repeated in the message."""
    refused = await refuse(side, operation, ["a" * 129, "a" * 10_000_000, "a" * 128 + "\n"])
    assert [] == refused.accepted
    assert [InvalidRequestError] * 3 == [type(error) for error in refused.errors]
    assert all(len(str(error)) < 300 for error in refused.errors)
    assert ["a" * 128] == (await refuse(side, operation, ["a" * 128])).accepted


@pytest.mark.scenario(122)
async def test_ids_that_are_no_text(side: Side, operation: str) -> None:
    """What is not text is a TypeError that names the type: `"None"` is never deleted."""
    values = [
        None,
        0,
        7,
        True,
        1.5,
        b"conv_1",
        bytearray(b"conv_1"),
        uuid.UUID(int=1),
        pathlib.Path("conv_1"),
        ["a"],
        object(),
    ]
    refused = await refuse(side, operation, values)
    assert [] == refused.accepted
    for value, error in zip(values, refused.errors, strict=True):
        assert TypeError is type(error)
        assert f"conversation_id must be a str, not {full_name(type(value))}" == str(error)
        assert (None, None) == (error.__cause__, error.__context__)


@pytest.mark.scenario(122)
@pytest.mark.parametrize(
    ("value", "sent"),
    [(Odd("conv_7"), "conv_7"), (Name.GOOD, "conv_7"), (str(uuid.UUID(int=7)), "00000000-0000-0000-0000-000000000007")],
)
async def test_the_content_of_a_text_counts(side: Side, operation: str, value: str, sent: str) -> None:
    """Of a subclass of str the characters it holds are sent, whatever it shows when it is printed."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async with RawServer(script) as server:
        result = await side.call(side.client(server.url), operation, value)
        assert [PREFIX + sent] == [exchange.path for exchange in server.log]
    assert sent in repr(result)


@pytest.mark.scenario(122)
async def test_an_odd_text_is_judged_by_its_content(side: Side, operation: str) -> None:
    """A subclass of str that holds a bad id is refused, whatever it shows when it is printed."""

    class Disguised(str):
        def __str__(self) -> str:
            return "conv_1"

        def __format__(self, spec: str) -> str:
            return "conv_1"

    refused = await refuse(side, operation, [Disguised("../memories/m1")])
    assert [InvalidRequestError] == [type(error) for error in refused.errors]


def built(conversation_id: str) -> list[Request[Any]]:
    """Both requests for an id; none where it is refused."""
    requests = [delete_conversation(conversation_id), update_conversation(conversation_id, "Title", None)]
    assert 1 == len({isinstance(request, Request) for request in requests})
    return [request for request in requests if isinstance(request, Request)]


@pytest.mark.scenario(116, 117, 118, 119, 120, 121)
@given(
    st.one_of(
        st.text(max_size=12),
        st.text(alphabet="ab.~_-%/\\?#2eEfF \n\r\x00é", min_size=1, max_size=12),
        st.text(alphabet="a.~", min_size=120, max_size=140),
        st.text(alphabet="_a", max_size=8),
        st.builds("".join, st.lists(st.sampled_from(["omi", "Omi", "_", "dev", "mcp", "x"]), max_size=5)),
    )
)
@example("a\n")
@example("__x__\n")
@settings(max_examples=500, deadline=None, derandomize=True)
def test_an_id_is_plain_or_refused(text: str) -> None:
    """No request is built for any id outside the rule, and one is built for every id inside it."""
    assert is_plain(text) == bool(built(text))


@pytest.mark.scenario(123)
@given(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}", fullmatch=True).filter(is_plain))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_good_id_is_in_the_path_as_it_is(conversation_id: str) -> None:
    """The path of a request is the base and the id, byte for byte, and the URL library leaves it alone."""
    for request in built(conversation_id):
        assert PREFIX + conversation_id == request.path
        assert PREFIX + conversation_id == URL("https://api.omi.me" + request.path, encoded=True).raw_path_qs


@pytest.mark.scenario(123)
async def test_good_ids_arrive_byte_for_byte(side: Side, operation: str) -> None:
    """An id of allowed characters arrives as it was given, in one request."""
    ids = [
        "a",
        "_",
        "-",
        "-.",
        "a..",
        "a.~",
        "0",
        "--",
        "___",
        "__a",
        "a__",
        "x_omi_dev_x",
        "omi_development",
        "None",
        "con",
        "a" + "~" * 127,
        "A-Za-z0-9._~-",
        str(uuid.UUID(int=3)),
    ]

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(f"{server.url}/self/hosted")
        for each in ids:
            await side.call(client, operation, each)
        assert ["/self/hosted" + PREFIX + each for each in ids] == [exchange.path for exchange in server.log]


# Titles and discarded


@pytest.mark.scenario(124)
@pytest.mark.parametrize(
    ("title", "word"),
    [
        ("", "blank"),
        (" ", "blank"),
        (" \t\r\n\v\f", "blank"),
        ("\u00a0\u2003\u3000\u2028", "blank"),
        ("\u200b\u200d\u2060\ufeff", "blank"),
        (" \u00ad\x00\x1b", "blank"),
        ("\u115f\u1160\u2800\u3164\uffa0", "blank"),
        ("x" * 501, "501"),
        ("🚪" * 501, "501"),
        ("e\u0301" * 251, "502"),
        ("x" * 10_000_000, "10000000"),
    ],
    ids=[
        "empty",
        "blank",
        "white space",
        "blanks of Unicode",
        "no width",
        "controls",
        "blank letters",
        "long",
        "long astral",
        "long combining",
        "10 MB",
    ],
)
async def test_bad_titles_are_refused(side: Side, title: str, word: str) -> None:
    """A title that the server would refuse or store as nothing is refused here, where it costs no allowance."""
    refused = await refuse(side, "update", ["conv_1"], title=title)
    (error,) = refused.errors
    assert InvalidRequestError is type(error)
    assert isinstance(error, InvalidRequestError)
    assert "title" in str(error)
    assert word in str(error)
    assert len(str(error)) < 200
    assert ("not_applied", 0) == (error.outcome, error.attempts)


@pytest.mark.scenario(124, 127)
@pytest.mark.parametrize("settings", [{}, {"title": None}, {"discarded": None}, {"title": None, "discarded": None}])
async def test_nothing_to_change_is_refused(side: Side, settings: dict[str, None]) -> None:
    """An update that changes nothing is refused: None means that a value stays as it is."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url)
        with pytest.raises(InvalidRequestError, match="nothing to change") as caught:
            if isinstance(client, AsyncOmiClient):
                await client.conversations.update("conv_1", **settings)
            else:
                client.conversations.update("conv_1", **settings)
        assert 0 == server.connections
    assert ("not_applied", 0) == (caught.value.outcome, caught.value.attempts)


@pytest.mark.scenario(125)
@pytest.mark.parametrize("title", ["\ud800", "a\udfffb", "\ud83d\ude00", "\udcff" * 500, " \ud800 "], ids=ascii)
async def test_lone_surrogates_are_refused(side: Side, title: str) -> None:
    """A title with surrogates, which are no characters, is refused and never sent in an escaped form."""
    (error,) = (await refuse(side, "update", ["conv_1"], title=title)).errors
    assert InvalidRequestError is type(error)
    assert "surrogates" in str(error)
    str(error).encode()


class Truth:
    """Stands for the booleans of numerical libraries: true, and yet not a bool."""

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return other is True or isinstance(other, Truth)

    def __hash__(self) -> int:
        return 1


@pytest.mark.scenario(126)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("title", value)
            for value in (b"Title", 5, 0, True, False, 1.5, ["Title"], {"a": 1}, object(), pathlib.Path("x"))
        ),
        *(("discarded", value) for value in (0, 1, 1.0, "", "false", "true", "yes", b"1", [], Truth(), object())),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
async def test_values_of_another_type(side: Side, name: str, value: object) -> None:
    """A value of another type is a TypeError that names the argument and the type, and nothing is coerced."""
    (error,) = (await refuse(side, "update", ["conv_1"], **{name: value})).errors
    assert TypeError is type(error)
    expected = "a str" if name == "title" else "True or False"
    assert f"{name} must be {expected}, not {full_name(type(value))}" == str(error)


@pytest.mark.scenario(126)
def test_arguments_are_named() -> None:
    """Title and discarded are given by name alone, so that they cannot be mistaken for each other."""
    for client in (AsyncOmiClient("omi_dev_x"), OmiClient("omi_dev_x")):
        update: Any = client.conversations.update
        for arguments, named in ((("conv_1", "Title"), {}), (("conv_1",), {"starred": True}), ((), {"title": "Title"})):
            with pytest.raises(TypeError):
                update(*arguments, **named)


BODIES: list[tuple[dict[str, Any], bytes]] = [
    ({"title": "Design review"}, b'{"title":"Design review"}'),
    ({"title": "Design review", "discarded": None}, b'{"title":"Design review"}'),
    ({"discarded": True}, b'{"discarded":true}'),
    ({"discarded": False, "title": None}, b'{"discarded":false}'),
    ({"title": "A", "discarded": False}, b'{"title":"A","discarded":false}'),
    ({"discarded": True, "title": "A"}, b'{"title":"A","discarded":true}'),
    ({"title": "null"}, b'{"title":"null"}'),
    ({"title": " \t padded \u3000\n"}, b'{"title":"padded"}'),
    ({"title": 'a "quoted" \\ one'}, b'{"title":"a \\"quoted\\" \\\\ one"}'),
    ({"title": "two\nlines\tand\x00\x1b"}, b'{"title":"two\\nlines\\tand\\u0000\\u001b"}'),
    ({"title": "Grüße 🚪\u2028é</script>"}, '{"title":"Grüße 🚪\u2028é</script>"}'.encode()),
    ({"title": unicodedata.normalize("NFD", "é")}, b'{"title":"e\xcc\x81"}'),
    ({"title": "x" * 500}, b'{"title":"' + b"x" * 500 + b'"}'),
    ({"title": "  " + "x" * 500 + "  "}, b'{"title":"' + b"x" * 500 + b'"}'),
    ({"title": "🚪" * 500}, b'{"title":"' + "🚪".encode() * 500 + b'"}'),
    ({"title": Name.GOOD}, b'{"title":"conv_7"}'),
    ({"title": Odd("as it is")}, b'{"title":"as it is"}'),
]


@pytest.mark.scenario(124, 127)
@pytest.mark.parametrize(("settings", "body"), BODIES, ids=range(len(BODIES)))
async def test_the_body_byte_for_byte(side: Side, settings: dict[str, Any], body: bytes) -> None:
    """The body holds what was given and nothing else: a value that was left out is not there, null never is."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async with RawServer(script) as server:
        await side.call(side.client(server.url), "update", **settings)
        (exchange,) = server.log
    assert ("PATCH", PREFIX + "conv_1", body) == (exchange.method, exchange.path, exchange.body)
    assert ("application/json", str(len(body))) == (
        exchange.headers["content-type"],
        exchange.headers["content-length"],
    )


@pytest.mark.scenario(127)
async def test_a_delete_has_no_body(side: Side) -> None:
    """A DELETE carries no body and no word of one."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async with RawServer(script) as server:
        await side.call(side.client(server.url), "delete")
        (exchange,) = server.log
    assert ("DELETE", b"") == (exchange.method, exchange.body)
    assert {"content-type", "transfer-encoding"}.isdisjoint(exchange.headers)
    assert "0" == exchange.headers.get("content-length", "0")
