"""Answers that look like others: what they say about the write, and what an error shows of them."""

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from omi_async import ConflictError, InvalidRequestError, OmiError, PermissionDeniedError, ResponseError, StatusError
from tests.support import inside
from tests.support.raw import RawServer, answer
from tests.support.replies import call, in_turn
from tests.support.sides import KEY, Side

# What they say about the write


@pytest.mark.scenario(360)
@pytest.mark.parametrize(
    "words", ["Historical knowledge ledger rows are read-only", "Knowledge ledger correction conflicted"]
)
@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"content": "New."}, "unknown"),
        ({"content": "New.", "visibility": "public"}, "unknown"),
        ({"visibility": "public"}, "not_applied"),
        ({"tags": ["a"], "category": "work"}, "not_applied"),
    ],
)
async def test_a_conflict_after_a_new_text(side: Side, changes: dict[str, Any], outcome: str, words: str) -> None:
    """A new text is stored first, under a new id. The other changes can then meet the old row, which is closed."""
    ended = await call(side, "memories.update", answer(409, {"detail": words}), subject="m1", **changes)
    assert isinstance(ended.failure, ConflictError)
    assert (outcome, False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)


@pytest.mark.scenario(361)
@pytest.mark.parametrize("body", ["client closed request", {"detail": "Client closed request"}], ids=["text", "JSON"])
@pytest.mark.parametrize("status", [460, 499])
async def test_nobody_waited_for_the_answer(side: Side, status: int, body: object) -> None:
    """What stood in between stopped waiting, and the API may have done it: the write is unknown, and once is once."""
    ended = await call(side, "action_items.create", answer(status, body), subject="Call Ana.")
    assert StatusError is type(ended.failure)
    assert ("unknown", False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)
    ended = await call(side, "update", answer(status, body))
    assert ("unknown", True, 3) == (ended.failure.outcome, ended.failure.retryable, ended.requests)
    ended = await call(side, "get", answer(status, body))
    assert ("not_applied", 3) == (ended.failure.outcome, ended.requests)


@pytest.mark.scenario(362)
@pytest.mark.parametrize(
    "body", [{}, {"detail": "x"}, {"memories": []}, {"items": None}, {"items": {}}], ids=lambda body: json.dumps(body)
)
async def test_nothing_found(side: Side, body: object) -> None:
    """A search found nothing where the answer has an empty list, and not where it has none."""
    ended = await call(side, "memories.search", answer(200, body), subject="door")
    assert isinstance(ended.failure, ResponseError)
    assert "$.items" == ended.failure.path
    request = inside.search_memories("door", 10)
    assert isinstance(request, inside.Request)
    assert () == inside.read(request, inside.Answer(200, body=b'{"items":[]}'))


@pytest.mark.scenario(366)
async def test_another_id_after_a_new_text(side: Side) -> None:
    """A new text may give a memory a new id. An answer with it would come again, so the change is made once."""
    moved = answer(200, {"id": "m2", "content": "New."})
    ended = await call(side, "memories.update", moved, subject="m1", content="New.")
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)
    ended = await call(side, "memories.update", moved, subject="m1", visibility="public")
    assert ("unknown", True, 3) == (ended.failure.outcome, ended.failure.retryable, ended.requests)


# What an error shows of them


def shown(request: Any, detail: object, status: int = 404) -> str:
    """All that an error shows."""
    assert isinstance(request, inside.Request), request
    with pytest.raises(OmiError) as caught:
        inside.read(request, inside.Answer(status, body=json.dumps({"detail": detail}).encode()))
    error = caught.value
    return f"{error} {error!r} {vars(error)} {error.args}"


SAID = 'my "HIV" test\n+ Größe 100% 🙂 \\n it\'s'
"""A text that every way to escape it changes."""

FORMS = {
    "as it is": SAID,
    "in capitals": SAID.upper().replace("SS", "ß"),
    "quote": quote(SAID),
    "quote, safe": quote(SAID, safe=""),
    "quote_plus": quote_plus(SAID),
    "quote in small letters": quote(SAID).lower(),
    "quote, plus as it is": quote(SAID, safe="+"),
    "JSON": json.dumps(SAID),
    "JSON in UTF-8": json.dumps(SAID, ensure_ascii=False),
    "repr": repr(SAID),
    "ascii": ascii(SAID),
    "a URL in JSON": json.dumps(f"/x?q={quote_plus(SAID)}&b=\n"),
}


@pytest.mark.scenario(363)
@pytest.mark.parametrize("form", FORMS)
def test_repeated_in_any_form(form: str) -> None:
    """A text of the request is masked in a URL, in JSON and as Python shows it, whatever the case of its letters."""
    said = f"Cannot GET {FORMS[form]} HTTP/1.1"
    sent = [
        inside.search_memories(SAID, 10),
        inside.create_memory(SAID, None, "private", ()),
        inside.raw("GET", "/v1/x", {"q": SAID}, None, False),
    ]
    for request in sent:
        for detail in (said, {"code": "odd", "message": said}, [{"loc": ["query", said], "msg": said, "type": "odd"}]):
            text = shown(request, detail, 422)
            assert "Cannot GET " in text
            assert "***" in text
            assert [] == [word for word in ("hiv", "test", "gr", "it's", "100") if word in text.lower().split("get")[1]]


@pytest.mark.scenario(363)
def test_a_url_that_a_gateway_repeats() -> None:
    """What was searched for does not come back in the path that a gateway did not find."""
    said = "Cannot GET /v1/dev/user/memories/vector/search?query=my%20HIV%20test&limit=10"
    assert "query=***&limit=10" in shown(inside.search_memories("my HIV test", 10), {"message": said})


@pytest.mark.scenario(363)
@pytest.mark.parametrize("escape", [str, quote, quote_plus, json.dumps, repr])
def test_a_beginning_is_masked(escape: Any) -> None:
    """A text that the server cut is masked too, if twenty characters of it are left."""
    text = "Ana's door code is four one seven, and she keeps the key at home. " * 7
    request = inside.create_memory(text, None, "private", ())
    for length in (20, 21, 100, 400):
        assert "door" not in shown(request, f"Not good: {escape(text[:length])}... Again.", 422)
    assert "door code" in shown(request, f"Not good: {text[:19]}...", 422)


@pytest.mark.scenario(363)
def test_texts_within_texts() -> None:
    """Of texts that overlap nothing is left to be read."""
    request = inside.raw("POST", "/v1/x", None, {"a": "the red door", "b": "red d", "c": "the r"}, False)
    assert "'no to *** now'" in shown(request, "no to the red door now", 422)
    request = inside.raw("POST", "/v1/x", None, {"a": "the red door", "b": "door of the house"}, False)
    assert "'no to *** now'" in shown(request, "no to the red door of the house now", 422)


@pytest.mark.scenario(363)
@pytest.mark.parametrize(
    "broken", ["%", "%C3%28", "%zz%C", "\\", "\\u12", "\\ud83d", "\\U99999999", "a\\", "+%+", "%FF"]
)
def test_broken_escapes(broken: str) -> None:
    """Escapes that are none are shown as they are, and what stands beside them is masked."""
    text = shown(inside.search_memories("red door", 10), {"message": f"{broken} red%20door {broken}"})
    assert "***" in text
    assert "door" not in text


@pytest.mark.scenario(364)
@pytest.mark.parametrize(
    "request_",
    [
        inside.update_goal_progress("g1", 1234567),
        inside.update_goal_progress("g1", 1234567.0),
        inside.raw("GET", "/v1/x", {"n": 1234567}, None, False),
        inside.raw("POST", "/v1/x", None, {"n": 1234567}, False),
        inside.raw("POST", "/v1/x", None, {"n": [1234567.0]}, False),
    ],
)
@pytest.mark.parametrize("form", ["1234567", "1234567.0"])
def test_repeated_whole_numbers(request_: Any, form: str) -> None:
    """A whole number is masked with its fraction and without it, as a text and as a number."""
    for detail in (f"value {form} is too high", {"message": f"{form}!", "value": json.loads(form)}):
        text = shown(request_, detail, 422)
        assert "***" in text
        assert "1234567" not in text
        assert "***.0" not in text


@pytest.mark.scenario(368)
@pytest.mark.parametrize(
    "said", ["scope", "Required scope", "memories:write", "write", "Required scope: memories:write"]
)
def test_the_scope_is_not_masked(said: str) -> None:
    """The scope that is missing is the API's own word, whatever the request says."""
    request = inside.create_memory(said, None, "private", ())
    assert isinstance(request, inside.Request)
    body = b'{"detail":"Insufficient permissions. Required scope: memories:write"}'
    with pytest.raises(PermissionDeniedError) as caught:
        inside.read(request, inside.Answer(403, body=body))
    assert "memories:write" == caught.value.required_scope


# Keys where something else belongs

OTHER_KEY = "OMI_mcp_" + "0123456789abcdef"


@pytest.mark.scenario(365)
@pytest.mark.parametrize("key", [KEY, OTHER_KEY, f"Bearer {KEY}", f" {KEY}"], ids=["key", "other", "Bearer", "blank"])
@pytest.mark.parametrize(
    ("operation", "subject", "settings"),
    [
        ("request", "DELETE", {"path": "/v1/dev/keys/{}"}),
        ("request", "GET", {"path": "/v1/dev/user/memories", "params": {"q": "{}"}}),
        ("request", "GET", {"path": "/v1/dev/user/memories", "params": {"{}": "q"}}),
        ("keys.create", "{}", {"id_token": "eyJ"}),
        ("keys.create", "Laptop", {"scopes": ["{}"], "id_token": "eyJ"}),
        ("memories.search", "{}", {}),
        ("memories.create", "Text.", {"tags": ["{}"]}),
        ("memories.update", "m1", {"category": "{}"}),
        ("goals.create", "Run", {"target_value": 1, "unit": "{}"}),
        ("conversations.create", "Text.", {"text_source_spec": "{}"}),
    ],
)
async def test_a_key_in_the_wrong_place(side: Side, operation: str, subject: str, settings: Any, key: str) -> None:
    """A key that was taken for a path, a filter or a name is neither sent nor shown."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {filled(name): filled(each) for name, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        return value.replace("{}", key) if isinstance(value, str) else value

    async with RawServer(in_turn(answer(200, {}))) as server:
        with pytest.raises(InvalidRequestError) as caught:
            await side.call(side.client(server.url), operation, filled(subject), **filled(settings))
        assert [] == server.log
    assert key.strip()[8:] not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.scenario(365)
def test_a_key_as_a_filter_of_a_list() -> None:
    """A list is refused at once."""
    none = dict.fromkeys(["start_date", "end_date", "categories", "folder_id", "starred", "page_size"])
    for filters in ({"folder_id": KEY}, {"categories": ["work", KEY]}):
        with pytest.raises(InvalidRequestError, match="contains a key"):
            inside.conversation_pages(**{**none, "include_transcript": False, **filters})  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="contains a key"):
        inside.memory_pages([KEY], None)


@pytest.mark.scenario(365)
def test_what_only_looks_like_a_key() -> None:
    """A name may begin like a key, and what people write is their own."""
    for sent in (
        inside.create_key("omi_dev_laptop of Ana", None, "eyJ"),
        inside.create_memory(f"My key was {KEY}", None, "private", ()),
        inside.create_action_item(f"Revoke {KEY}", False, None),
        inside.raw("POST", "/v1/x", None, {"text": KEY}, False),
    ):
        assert isinstance(sent, inside.Request)
