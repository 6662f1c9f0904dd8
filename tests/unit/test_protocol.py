"""The pure part: what is sent, and what an answer means."""

import copy
import json
import pickle
import re
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from omi_async import (
    AuthenticationError,
    BadRequestError,
    Category,
    ConflictError,
    Conversation,
    Deletion,
    InvalidRequestError,
    NewTranscriptSegment,
    NotFoundError,
    OmiError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResponseError,
    RouteNotFoundError,
    ServerError,
    StatusError,
    UnprocessableEntityError,
)
from tests.support import inside
from tests.support.bodies import TIME, VALUES, Field, accepts, compact, fields, full, with_field, without_field
from tests.support.inside import Answer, Request, Unreadable, parse, structure
from tests.support.sides import KEY

FIELDS = list(fields())
steady = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
every_field = pytest.mark.parametrize("field", FIELDS, ids=[field.text for field in FIELDS])


def update(**settings: Any) -> Request[Conversation]:
    request = inside.update_conversation("conv_1", **{"title": "After", "discarded": None, **settings})
    assert isinstance(request, Request)
    return request


def delete() -> Request[Deletion]:
    request = inside.delete_conversation("conv_1")
    assert isinstance(request, Request)
    return request


REQUESTS: dict[str, Callable[[], Request[Any]]] = {"update": update, "delete": delete}
every_operation = pytest.mark.parametrize("request_", [update(), delete()], ids=REQUESTS)


def refused(request: Request[Any], body: bytes | object, status: int = 200) -> ResponseError:
    """The error that an answer is read as; what holds for all of them is asserted here."""
    raw = body if isinstance(body, bytes) else compact(body)
    with pytest.raises(ResponseError) as caught:
        inside.read(request, Answer(status, body=raw))
    error = caught.value
    assert ("unknown", status) == (error.outcome, error.status)
    assert None is error.__cause__
    assert None is error.__context__
    assert str(error).isprintable()
    return error


def read(document: object, status: int = 200) -> Conversation:
    return inside.read(update(), Answer(status, body=compact(document)))


def error_of(status: int, body: object = b"", **headers: str) -> OmiError:
    raw = body if isinstance(body, bytes) else compact(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(OmiError) as caught:
        inside.read(delete(), Answer(status, CIMultiDict(named), raw))
    return caught.value


# What is sent


@pytest.mark.parametrize(
    ("title", "discarded", "body"),
    [
        ("After", None, '{"title":"After"}'),
        (None, True, '{"discarded":true}'),
        (None, False, '{"discarded":false}'),
        ("After", False, '{"title":"After","discarded":false}'),
        ("  Äther 🚪\n", None, '{"title":"Äther 🚪"}'),
        ('"\\\x00', None, r'{"title":"\"\\\u0000"}'),
    ],
)
def test_update(title: str | None, discarded: bool | None, body: str) -> None:
    """A PATCH says what is to change and nothing else."""
    request = inside.update_conversation("conv_1", title, discarded)
    assert isinstance(request, Request)
    assert ("conversations.update", "PATCH") == (request.operation, request.method)
    assert "/v1/dev/user/conversations/conv_1" == request.path
    assert body.encode() == request.body
    assert None is request.result_if_missing


def test_delete() -> None:
    """A DELETE has no body, and knows what it means to find nothing."""
    request = delete()
    assert ("conversations.delete", "DELETE") == (request.operation, request.method)
    assert "/v1/dev/user/conversations/conv_1" == request.path
    assert None is request.body
    assert request.result_if_missing is not None
    assert Deletion(id="conv_1", confirmed=False) == request.result_if_missing()


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (inside.update_conversation("conv_1", None, None), InvalidRequestError),
        (inside.update_conversation("conv_1", " SECRET" * 100, None), InvalidRequestError),
        (inside.update_conversation("../SECRET", "After", None), InvalidRequestError),
        (inside.update_conversation("conv_1", b"SECRET", None), TypeError),  # type: ignore[arg-type]
        (inside.delete_conversation("SECRET?"), InvalidRequestError),
        (inside.delete_conversation(None), TypeError),  # type: ignore[arg-type]
    ],
)
def test_refusals_are_given_back(refusal: object, kind: type[Exception]) -> None:
    """A builder gives back its refusal, which shows neither the argument nor a frame that holds it."""
    assert isinstance(refusal, kind)
    assert None is refusal.__traceback__
    assert "SECRET" not in "".join(traceback.format_exception(refusal))


def test_nothing_private_is_shown() -> None:
    """Requests and answers show neither what was said nor any header."""
    answer = Answer(200, CIMultiDict({"X-Odd": "SECRET"}), b"SECRET")
    assert "SECRET" not in repr(update(title="SECRET")) + repr(answer)


# What an answer means

CLASSES: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def expectation(status: int) -> tuple[type[OmiError], str, bool]:
    """The class, the outcome, and whether a retry makes sense, of a status that the API gives."""
    kind: type[OmiError] = ResponseError
    if status // 100 == 4:
        kind = CLASSES.get(status, StatusError)
    elif status // 100 == 5:
        kind = ServerError
    certain = status // 100 == 4 and status not in (408, 425, 460, 499)
    again = status in (408, 425, 429, 460, 499) or (status // 100 == 5 and status not in (501, 505, 511))
    return kind, "not_applied" if certain else "unknown", again


@every_operation
@pytest.mark.parametrize("hundred", [0, 1, 3, 4, 5, 6, 7, 8, 9])
def test_every_status(request_: Request[Any], hundred: int) -> None:
    """Each status outside 2xx has its class, its outcome, and its answer to whether a retry makes sense."""
    for status in range(hundred * 100, hundred * 100 + 100):
        words = "Conversation not found" if status == 404 else "No."
        with pytest.raises(OmiError) as caught:
            inside.read(request_, Answer(status, body=compact({"detail": words})))
        error = caught.value
        kind, outcome, again = expectation(status)
        assert (status, kind) == (error.status, type(error))
        assert (outcome, again, False) == (error.outcome, error.retryable, error.from_intermediary), status
        assert str(status) in str(error)
        assert None is error.retry_after


FOREIGN = [
    b"",
    b"<html>No.</html>",
    b"null",
    b"[]",
    b'"No."',
    b'{"success":true}',
    b'{"detail":null}',
    b'{"detail":[]}',
]


@every_operation
@pytest.mark.parametrize("body", FOREIGN)
def test_every_status_from_in_between(request_: Request[Any], body: bytes) -> None:
    """A refusal in other words than the API's keeps the class and the outcome of its status, and may pass."""
    for status in range(400, 500):
        with pytest.raises(OmiError) as caught:
            inside.read(request_, Answer(status, body=body))
        error = caught.value
        kind, outcome, _ = expectation(status)
        again = status != 407  # a proxy that asks for a password goes on asking
        assert (kind, outcome, again, True) == (type(error), error.outcome, error.retryable, error.from_intermediary)
        assert "something in between" in str(error)
    for status in (500, 502, 504):  # whoever says this: the outcome is unknown
        with pytest.raises(ServerError) as failed:
            inside.read(request_, Answer(status, body=body))
        assert not failed.value.from_intermediary


@pytest.mark.parametrize(
    ("detail", "kind", "foreign"),
    [
        ("Conversation not found", NotFoundError, False),
        ("Not Found", RouteNotFoundError, False),
        ("conversation not found", NotFoundError, True),
        ("Conversation not found.", NotFoundError, True),
        ("Memory not found", NotFoundError, True),
        ("not found", NotFoundError, True),
        ({"message": "Conversation not found"}, NotFoundError, True),
        (["Conversation not found"], NotFoundError, True),
    ],
)
@every_operation
def test_missing(request_: Request[Any], detail: object, kind: type[OmiError], foreign: bool) -> None:
    """Only the API's own sentence about the record says that there is none; its router speaks of the path."""
    with pytest.raises(OmiError) as caught:
        inside.read(request_, Answer(404, body=compact({"detail": detail})))
    error = caught.value
    assert (kind, foreign, foreign) == (type(error), error.from_intermediary, error.retryable)
    assert (kind is NotFoundError and not foreign) == inside.says_missing(request_, error)


def test_missing_of_a_raw_request() -> None:
    """Of a path that the client does not know, nothing says that a record is missing."""
    request_ = inside.raw("DELETE", "/v1/dev/user/memories/m1", None, None, False)
    assert isinstance(request_, Request)
    with pytest.raises(NotFoundError) as caught:
        inside.read(request_, Answer(404, body=b'{"detail":"Memory not found"}'))
    assert not caught.value.from_intermediary
    assert not inside.says_missing(request_, caught.value)


@pytest.mark.parametrize("body", [b'{"success":true}', b'{"success":true,"more":[1]}', b' {"success" :\ntrue}'])
def test_every_2xx_of_a_delete(body: bytes) -> None:
    """Of all 2xx only 200 and 204 say that a deletion is done, and are read by their body."""
    for status in range(200, 300):
        if status in (200, 204):
            assert Deletion(id="conv_1", confirmed=True) == inside.read(delete(), Answer(status, body=body))
        else:
            assert None is refused(delete(), body, status).path
        refused(delete(), full(), status)


def test_empty_deletion() -> None:
    """An empty answer to a DELETE is a success as a 204 alone."""
    assert inside.read(delete(), Answer(204)).confirmed
    for status in {*range(200, 300)} - {204}:
        refused(delete(), b"", status)


@pytest.mark.parametrize("body", [b"", b"null", b'{"success":true}'])
def test_every_2xx_of_an_update(body: bytes) -> None:
    """Of all 2xx only 200 and 201 say that a change is done, and are read by their body."""
    for status in range(200, 300):
        if status in (200, 201):
            assert "conv_1" == read(full(), status).id
        else:
            assert None is refused(update(), full(), status).path
        refused(update(), body, status)


@pytest.mark.parametrize(
    ("media", "foreign"),
    [
        ("text/html; charset=utf-8", True),
        ("TEXT/HTML", True),
        ("application/json", False),
        ("application/problem+json", False),
        ("nonsense", False),
        (None, False),
    ],
)
@every_operation
def test_page_for_a_success(request_: Request[Any], media: str | None, foreign: bool) -> None:
    """A success that says it is another kind of document comes from something in between, and is in doubt."""
    headers = CIMultiDict({} if media is None else {"Content-Type": media})
    with pytest.raises(ResponseError) as caught:
        inside.read(request_, Answer(200, headers, b"<html>Log in</html>"))
    assert ("unknown", True, foreign) == (caught.value.outcome, caught.value.retryable, caught.value.from_intermediary)
    assert foreign == ("text/html" in str(caught.value)) == ("something in between" in str(caught.value))
    assert "Log in" not in str(caught.value)


def test_denied_success() -> None:
    """A DELETE whose success is denied is not worth repeating, one that cannot be read is."""
    assert not refused(delete(), {"success": False}).retryable
    assert refused(delete(), {"success": "false"}).retryable


@pytest.mark.parametrize("name", ["success", "Success", "ok"])
def test_success(name: str) -> None:
    """Nothing but the JSON word true under its very name makes a DELETE a success."""
    for value in (*VALUES.values(), "true", 1, 1.0):
        if name == "success" and value is True:
            assert inside.read(delete(), Answer(200, body=compact({name: value}))).confirmed
        else:
            assert "$.success" == refused(delete(), {name: value}).path, value


# Texts from the wire


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("Ärger 🚪", "Ärger 🚪"),
        ("a\nb\r\x1b[31m\x07\x00c\x7f", "a?b??[31m??c?"),
        ("\u202eevil\u2066\u200b\ud800", "?evil???"),
        (f"key {KEY} here", "key omi_dev_*** here"),
        (f"Bearer {KEY.upper()}", "Bearer omi_DEV_***"),
        ("omi_mcp_0123,omi_dev_4567 x", "omi_mcp_*** x"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 197 + "..."),
        ("x" * 10**6, "x" * 197 + "..."),
        ("", ""),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    """Text of the server's is shown without keys, without what is not printable, and not at length."""
    assert cleaned == inside.clean(text)


@steady
@given(st.text(max_size=2000), st.text("0123456789abcdef", min_size=8, max_size=64), st.text(max_size=2000))
def test_clean_any_text(before: str, secret: str, after: str) -> None:
    """Wherever a key stands in a text, it does not get through."""
    cleaned = inside.clean(f"{before}omi_dev_{secret} {after}")
    assert len(cleaned) <= 200
    assert cleaned.isprintable()
    assert f"omi_dev_{secret}" not in cleaned


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        ("text", "text"),
        ({"code": "c", "retryable": False, "n": 1.5}, {"code": "c", "retryable": False, "n": 1.5}),
        ({"a": {"b": {"c": {"d": {"e": {}}}}}}, {"a": {"b": {"c": {"d": {"e": "..."}}}}}),
        ({"a": [[[["x"]]]]}, {"a": [[[["x"]]]]}),
        ({"a": [[[[["x"]]]]]}, {"a": [[[["..."]]]]}),
        ({f"k {KEY}": f"\x1b{KEY}"}, {"k omi_dev_***": "?omi_dev_***"}),
        (None, None),
        (True, None),
        (3, None),
        ([], None),
        ([[]], None),
        ([{"loc": ["body"], "msg": "m"}], None),
        ([{"loc": ["body", True], "msg": "m", "type": "t"}], None),
        ([{"loc": ["body", 1.5], "msg": "m", "type": "t"}], None),
        ([{"loc": [], "msg": "m", "type": "t"}], ": m"),
        ([{"loc": ["a", 1], "msg": f"m\x00{KEY}", "type": "t"}, 5], "a.1: m?omi_dev_***"),
    ],
)
def test_detail(detail: object, kept: object) -> None:
    """The server's detail is kept as text or object, cleaned, and no deeper than is sensible."""
    assert kept == error_of(422, {"detail": detail}).detail


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"null", b'{"detail":', b"\xff", b"[" * 60_000, b'{"detail":NaN}'])
@pytest.mark.parametrize("status", [400, 422, 429, 500, 503])
def test_unreadable_detail(status: int, body: bytes) -> None:
    """An error whose body cannot be read is what its status says, without a detail."""
    error = error_of(status, body)
    assert (status, None) == (error.status, error.detail)


WORDS = "Lunch with Ada: the merger"


@pytest.mark.parametrize(
    "detail",
    [
        f"Title {WORDS!r} was refused",
        WORDS * 3,
        {"code": "odd", "message": f"no: {WORDS}", "more": [{"deep": WORDS}]},
        [{"loc": ["body", WORDS], "msg": f"'{WORDS}' is not good", "type": "value_error", "input": WORDS}],
    ],
)
def test_repeated_words(detail: object) -> None:
    """A text of the request that the server repeats is masked wherever the error has it."""
    segment = NewTranscriptSegment(text=WORDS, start=0.0, end=1.0)
    requests: list[Any] = [
        update(title=f" {WORDS} "),
        inside.raw("GET", "/v1/dev/user/memories", {"q": WORDS}, None, False),
        inside.raw("POST", "/v1/dev/user/memories", None, {"a": [{"b": f"{WORDS} \n"}]}, False),
        inside.create_conversation_from_segments([segment], *[None] * 12),
    ]
    for request_ in requests:
        assert isinstance(request_, Request)
        with pytest.raises(OmiError) as caught:
            inside.read(request_, Answer(422, body=compact({"detail": detail})))
        error = caught.value
        assert "***" in str(error.detail) + str(getattr(error, "errors", ()))
        assert WORDS not in f"{error} {error!r} {vars(error)} {error.args}"


@pytest.mark.parametrize(
    "detail",
    [
        "No place has the latitude 48.137154.",
        {"code": "odd", "message": "48.137154?", "more": [{"latitude": 48.137154}]},
        [{"loc": ["body", "geolocation"], "msg": "48.137154 is not good", "type": "value_error", "input": 48.137154}],
    ],
)
def test_repeated_numbers(detail: object) -> None:
    """A number of the request that the server repeats is masked like a text; yes and no are none."""
    request = inside.raw("POST", "/v1/dev/user/memories", None, {"at": {"latitude": 48.137154}, "here": True}, False)
    assert isinstance(request, Request)
    with pytest.raises(OmiError) as caught:
        inside.read(request, Answer(422, body=compact({"detail": detail})))
    error = caught.value
    assert "***" in f"{error}"
    assert "48.137154" not in f"{error} {error!r} {vars(error)} {error.args}"
    with pytest.raises(OmiError) as caught:
        inside.read(request, Answer(422, body=b'{"detail":{"True":true}}'))
    assert {"True": True} == caught.value.detail


def test_short_words_are_not_masked() -> None:
    """A text of up to three characters may stand in the server's words by chance."""
    with pytest.raises(OmiError) as caught:
        inside.read(update(title="not"), Answer(422, body=b'{"detail":"this is not good"}'))
    assert "this is not good" == caught.value.detail


@pytest.mark.parametrize(
    ("words", "scope"),
    [
        ("Insufficient permissions. Required scope: conversations:write", "conversations:write"),
        ("Required scope: action_items:read.", "action_items:read"),
        ("Insufficient permissions", None),
        ({"scope": "conversations:write"}, None),
        (None, None),
    ],
)
def test_required_scope(words: object, scope: str | None) -> None:
    """A 403 names the missing scope where the server did."""
    error = error_of(403, {"detail": words})
    assert isinstance(error, PermissionDeniedError)
    assert scope == error.required_scope


# JSON


@pytest.mark.scenario(100, 101, 103, 104)
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b" ", "not JSON"),
        (b"{", "not JSON"),
        (b"{}x", "not JSON"),
        (b"{}\x00", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b"[01]", "not JSON"),
        (b"[+1]", "not JSON"),
        (b"[.5]", "not JSON"),
        (b'["\n"]', "not JSON"),
        (b"[NaN]", "not JSON"),
        (b"[Infinity]", "not JSON"),
        (b"[-Infinity]", "not JSON"),
        (b"[" + b"9" * 5000 + b"]", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a": "é"}'.encode("latin-1"), "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        ("{}".encode("utf-16-le"), "not JSON"),
        ("{}".encode("utf-32"), "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xc0\xaf"', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_not_json(body: bytes, problem: str) -> None:
    """Only UTF-8 that is JSON to the letter is read, and what is wrong with the rest is told in our own words."""
    with pytest.raises(Unreadable) as caught:
        parse(body)
    assert (problem, "$") == (caught.value.problem, caught.value.path)
    assert None is caught.value.__context__


@pytest.mark.scenario(104)
def test_names_twice() -> None:
    """Of a name that stands twice in one object the last counts, as everywhere; an answer to a DELETE has none."""
    assert {"a": 2} == parse(b'{"a": 1, "a": 2}')
    assert "conv_1" == inside.read(update(), Answer(200, body=compact(full())[:-1] + b',"id":"conv_1"}')).id
    for body in (
        b'{"success":false,"success":true}',
        b'{"success":true,"success":false}',
        b'{"success":true,"\\u0073uccess":true}',
        b'{"success":true,"more":[{"a":1,"a":1}]}',
    ):
        assert "$" == refused(delete(), body).path


@pytest.mark.scenario(102)
def test_deep_in_a_field_that_nobody_reads() -> None:
    """Even an unknown field must not be nested without end."""
    body = compact(full())[:-1] + b',"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert "nested too deeply" in str(refused(update(), body))


@pytest.mark.scenario(103)
@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1e999999999", b"9007199254740993", b"1" * 400])
def test_numbers_that_do_not_fit(number: bytes) -> None:
    """A number that not every reader keeps exact is refused where a number is wanted."""
    body = compact(full()).replace(b'"latitude":52.5', b'"latitude":' + number)
    assert "$.geolocation.latitude" == refused(update(), body).path


@pytest.mark.scenario(101)
def test_every_cut() -> None:
    """No beginning of an answer is taken for the whole, and no error shows any of it."""
    body = compact(with_field(FIELDS[0], "conv_1")).replace(b"Hello.", b"SECRET")
    for size in range(len(body)):
        error = refused(update(), body[:size])
        assert "$" == error.path
        assert "SECRET" not in "".join(traceback.format_exception(error)) + str(vars(error))
    assert "SECRET" == update().decode(Answer(200, body=body)).transcript_segments[0].text  # type: ignore[index]
    for size in range(1, len(b'{"success":true}')):
        refused(delete(), b'{"success":true}'[:size])


# Models


def test_full() -> None:
    """Every field of the answer arrives, in its own type."""
    conversation = read(full())
    assert datetime(2026, 1, 20, 10, 0, 0, 123456, tzinfo=UTC) == conversation.created_at
    assert datetime(2026, 1, 20, 10, tzinfo=UTC) == conversation.finished_at
    assert Category.WORK is conversation.structured.category
    assert isinstance(conversation.structured.action_items, tuple)
    assert 13.0 == conversation.geolocation.longitude  # type: ignore[union-attr]
    for field in FIELDS:
        value = field.read(conversation)
        assert value is not None
        assert value != field.default, field.text


@pytest.mark.scenario(105)
@every_field
def test_wrong_kinds(field: Field) -> None:
    """A field takes values of its own JSON kind only: nothing is converted, and the error names the field."""
    accepted = 0
    for name, value in VALUES.items():
        document = with_field(field, value)
        if accepts(field.type, value) and field.path != ("id",):  # none of them is the id that was asked for
            accepted += 1
            result = field.read(read(document))
            expected = datetime.fromisoformat(TIME) if value == TIME and type(result) is not str else value
            assert expected == (list(result) if isinstance(result, tuple) else result), name
            continue
        error = refused(update(), document)
        assert error.path is not None
        assert error.path.startswith(field.text), name
        assert error.path in str(error) or field.path == ("id",)
        assert all(text not in str(error) for text in ("12", "false", "2026-01-20")), name
    assert (0 == accepted) == (field.path in (("id",), ("structured",)))
    assert accepted < len(VALUES)


SEGMENT = [field for field in FIELDS if field.path[:1] == ("transcript_segments",) and len(field.path) == 3]


@pytest.mark.scenario(105)
@pytest.mark.parametrize("field", SEGMENT, ids=[field.text for field in SEGMENT])
@pytest.mark.parametrize("newer", [False, True])
def test_long_transcripts(field: Field, *, newer: bool) -> None:
    """A field of a segment far down is refused, by its path, or read, just as in a transcript of one segment."""
    names = {name.path[2] for name in SEGMENT}
    for name, value in [*VALUES.items(), ("missing", ...), ("infinite", float("inf")), ("huge", 2**60)]:
        short, long = full(), full()
        (segment,) = short["transcript_segments"]
        segment[field.path[2]] = value
        if value is ...:
            del segment[field.path[2]]
        if newer:
            segment["new"] = [1]
        long["transcript_segments"] = [*(full()["transcript_segments"] * 40), segment]
        try:
            expected = structure(short, Conversation).transcript_segments
        except Unreadable as failure:
            refusal = failure.problem, failure.path.replace("[0]", "[40]")
            with pytest.raises(Unreadable) as caught:
                structure(long, Conversation)
            assert refusal == (caught.value.problem, caught.value.path)
        else:
            segments = structure(long, Conversation).transcript_segments
            assert segments is not None
            assert expected is not None
            assert (41, expected) == (len(segments), segments[40:]), name
            assert 1 == len(set(segments[:40]))
            assert pickle.loads(pickle.dumps(segments)) == segments
            assert [names] * 41 == [set(vars(each)) for each in segments]


@pytest.mark.scenario(105)
@pytest.mark.parametrize("document", [None, True, 7, 1.5, "text", [], [full()], {}, {"conversation": full()}])
def test_another_document(document: object) -> None:
    """What is not a conversation at all is refused, and not with another exception."""
    assert ("$.id" if type(document) is dict else "$") == refused(update(), document).path


@pytest.mark.scenario(106)
def test_unknown_fields() -> None:
    """Fields that this version does not know change nothing, wherever they stand and whatever they hold."""
    document = full()

    def extend(node: object) -> None:
        if isinstance(node, dict):
            for value in list(node.values()):
                extend(value)
            node.update({f"new_{number}": copy.deepcopy(value) for number, value in enumerate(VALUES.values())})
            node.update({"": 1, "__class__": "x", "self": None, "status": "deleted", "discarded": 5, "ünï": []})
        elif isinstance(node, list):
            for value in node:
                extend(value)

    extend(document)
    assert read(full()) == read(document)


@pytest.mark.scenario(107)
@every_field
def test_missing_fields(field: Field) -> None:
    """A field that is missing has its default; one that has none is named."""
    document = without_field(field)
    if field.default is attrs.NOTHING:
        error = refused(update(), document)
        assert field.text == error.path
        assert "missing" in str(error)
    else:
        assert field.default == field.read(read(document))


@pytest.mark.scenario(107)
def test_smallest() -> None:
    """The five fields that the specification requires are enough."""
    structured = {"title": "", "overview": "", "category": "other"}
    document = {"id": "conv_1", "created_at": TIME, "started_at": None, "finished_at": None, "structured": structured}
    conversation = read(document)
    assert ("", "🧠", ()) == (
        conversation.structured.title,
        conversation.structured.emoji,
        conversation.structured.action_items,
    )
    assert None is conversation.transcript_segments


@pytest.mark.scenario(108)
@pytest.mark.parametrize("category", Category)
def test_known_categories(category: Category) -> None:
    """A category that is known is a member of the enumeration."""
    document = full()
    document["structured"]["category"] = str(category)
    assert category is read(document).structured.category


@pytest.mark.scenario(108)
@steady
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_open_enumerations(category: str, source: str) -> None:
    """Any other category or source is kept as the text that it is."""
    document = full()
    document["structured"]["category"] = category
    document["source"] = source
    conversation = read(document)
    assert (category, source) == (conversation.structured.category, conversation.source)
    assert isinstance(conversation.structured.category, str)


MOMENT = datetime(2026, 1, 20, 10, tzinfo=UTC)


@pytest.mark.scenario(109)
@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-20T10:00:00", MOMENT),  # without an offset: UTC
        ("2026-01-20T10:00:00Z", MOMENT),
        ("2026-01-20t10:00:00Z", MOMENT),
        ("2026-01-20 10:00:00", MOMENT),
        ("2026-01-20 10:00:00+00:00", MOMENT),
        ("2026-01-20T10:00:00-00:00", MOMENT),
        ("2026-01-20T12:00:00+02:00", MOMENT),
        ("2026-01-20T04:30:00-05:30", MOMENT),
        ("2026-01-20T10:00:00.5Z", MOMENT + timedelta(seconds=0.5)),
        ("2026-01-20T10:00:00.123456Z", MOMENT + timedelta(microseconds=123456)),
        ("2026-01-20T10:00:00.123456789", MOMENT + timedelta(microseconds=123456)),
        ("0002-01-01T00:00:00+14:00", datetime(1, 12, 31, 10, tzinfo=UTC)),
        ("9998-12-31T23:59:59-14:00", datetime(9999, 1, 1, 13, 59, 59, tzinfo=UTC)),
    ],
)
def test_times(text: str, time: datetime) -> None:
    """A date and time is read as the moment it names, and is always aware."""
    result = structure(text, datetime)
    assert time == result == result.astimezone(UTC)
    assert None is not result.utcoffset()
    assert str(result) == str(datetime.fromisoformat(result.isoformat()))


@pytest.mark.scenario(109)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-20",
        "20260120",
        "20260120T100000Z",
        "2025-W04-1",
        "2025-W04-1T10:00:00Z",
        "2026-020T10:00:00Z",
        "2026-01-20T10",
        "2026-01-20T10:00",
        "2026-01-20T24:00:00Z",
        "2026-01-20T25:00:00Z",
        "2026-01-20T10:60:00Z",
        "2026-01-20T10:00:60Z",
        "2026-02-30T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "2026-00-01T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",  # not in the calendar of UTC
        "9999-12-31T23:59:59-14:00",
        "10000-01-01T00:00:00Z",
        "-2026-01-20T10:00:00Z",
        "2026-01-20_10:00:00Z",
        "2026-01-20T10-00-00Z",
        "2026-01-20T10:00:00+24:00",
        "2026-01-20T10:00:00Zulu",
        "2026-01-20T10:00:00 CET",
        "2026-01-20T10:00:00Z\n",
        " 2026-01-20T10:00:00Z",
        "２０２６-01-20T10:00:00Z",
        "2026-01-20T10:00:00.\u0661Z",
        "2026-01-20T10:00:00\ud800",
        "1768903200.0000000000000",
    ],
)
def test_not_times(text: str) -> None:
    """What is not a date and time, or is none in the calendar, is refused on every Python alike."""
    with pytest.raises(Unreadable, match=r"^not a date and time at \$$"):
        structure(text, datetime)


@pytest.mark.scenario(109)
@pytest.mark.parametrize("number", [0, 1768903200, 1768903200.5, True, None, [2026, 1, 20], {}])
def test_numbers_are_not_times(number: object) -> None:
    """A time is text."""
    with pytest.raises(Unreadable, match="not a string"):
        structure(number, datetime)


@pytest.mark.scenario(109)
@steady
@given(st.text(max_size=40) | st.datetimes(timezones=st.just(timezone(timedelta(hours=-7)))).map(datetime.isoformat))
def test_any_text_as_a_time(text: str) -> None:
    """Any text is an aware time or unreadable, and the error does not repeat it."""
    try:
        time = structure(text, datetime)
    except Unreadable as error:
        problem = str(error)
    else:
        assert None is not time.utcoffset()
        assert time == time.astimezone(UTC)
        return
    assert "not a date and time at $" == problem


RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


@pytest.mark.scenario(109)
@pytest.mark.parametrize("usual", ["2026-01-20T10:00:00Z", "2026-01-20T10:00:00.123456Z"])
def test_nearly_a_usual_time(usual: str) -> None:
    """What the server sends is read by a shorter way; with characters replaced, it takes nothing else for a time."""
    random = Random(20)
    readable = 0
    for _ in range(4_000):
        characters = list(usual)
        for place in random.sample(range(len(usual)), random.randrange(4)):
            characters[place] = random.choice("0123456789-:.,+TZtzW \u0661\n")
        text = "".join(characters)
        try:
            expected = RFC_3339.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
        except ValueError:
            expected = False
        try:
            structure(text, datetime)
        except Unreadable:
            assert not expected, text
        else:
            assert expected, text
            readable += 1
    assert 500 < readable < 3_500


ODD = 'a\ud800b\x00c\u202ed\u2066e\x1b[31mf\x85g\u200bh"'


@pytest.mark.scenario(110)
def test_odd_characters() -> None:
    """Odd characters stay in the model as the server has them, and do no harm where it is shown."""
    document = {**full(), **dict.fromkeys(("language", "source", "folder_id", "folder_name"), ODD)}
    document["structured"] |= {"title": ODD, "overview": ODD, "emoji": ODD, "category": ODD}
    document["transcript_segments"][0] |= {"text": ODD, "id": ODD, "speaker_name": ODD}
    document["geolocation"]["location_type"] = ODD
    document["structured"]["action_items"][0]["conversation_id"] = ODD
    conversation = inside.read(update(), Answer(200, body=json.dumps(document).encode()))
    assert ODD == conversation.structured.title == conversation.structured.category == conversation.source
    assert conversation.transcript_segments is not None
    parts = [conversation.geolocation, *conversation.transcript_segments, *conversation.structured.action_items]
    for value in (conversation, conversation.structured, *parts):
        for text in (repr(value), str(value), f"{value}"):
            assert text.isprintable()
            assert text.encode().isascii() or "🚪" in text


@pytest.mark.scenario(110)
@every_field
def test_odd_characters_in_errors(field: Field) -> None:
    """No error shows a value, however odd."""
    error = refused(update(), json.dumps(with_field(field, [{"title": ODD}, ODD])).encode())
    assert "[31m" not in str(error)
