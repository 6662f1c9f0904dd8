"""The error tree: what every class promises, looked at class by class."""

import copy
import inspect
import json
import pickle
from typing import Any

import attrs
import pytest

import omi_async
import omi_sync
from omi_async import OmiError, ValidationIssue, errors

CLASSES: dict[str, Any] = {
    name: thing for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, BaseException)
}

BASES: dict[str, tuple[type[BaseException], ...]] = {
    "OmiError": (Exception,),
    "ConfigurationError": (OmiError, ValueError),
    "InvalidRequestError": (OmiError, ValueError),
    "ClientClosedError": (OmiError,),
    "EventLoopError": (OmiError, RuntimeError),
    "ArchiveError": (OmiError,),
    "JournalError": (OmiError,),
    "BulkStoppedError": (OmiError,),
    "TransportError": (OmiError,),
    "RequestTimeoutError": (omi_async.TransportError, TimeoutError),
    "ResponseError": (OmiError,),
    "StatusError": (OmiError,),
    "BadRequestError": (omi_async.StatusError,),
    "AuthenticationError": (omi_async.StatusError,),
    "PaymentRequiredError": (omi_async.StatusError,),
    "PermissionDeniedError": (omi_async.StatusError,),
    "NotFoundError": (omi_async.StatusError,),
    "RouteNotFoundError": (omi_async.StatusError,),
    "ConflictError": (omi_async.StatusError,),
    "UnprocessableEntityError": (omi_async.StatusError,),
    "RateLimitError": (omi_async.StatusError,),
    "ServerError": (omi_async.StatusError,),
}

LOCAL = {"ArchiveError", "ConfigurationError", "InvalidRequestError", "JournalError", "BulkStoppedError"}
"""Errors that are not about one request, so that an outcome would say nothing."""

OWN: dict[str, dict[str, object]] = {
    "ResponseError": {"path": "$.structured.title"},
    "PermissionDeniedError": {"required_scope": "conversations:write"},
    "UnprocessableEntityError": {
        "errors": (ValidationIssue(loc=("body", "title", 3), msg="String should be shorter", type="string_too_long"),)
    },
    "RateLimitError": {"limit": 25},
    "BulkStoppedError": {
        "done": 7,
        "reason": omi_async.RateLimitError("no more.", outcome="not_applied", status=429, retry_after=60.0),
    },
}
"""The attributes that one class alone has."""

STATE: dict[str, Any] = {
    "outcome": "unknown",
    "retryable": True,
    "attempts": 3,
    "operation": "conversations.update",
    "status": 499,
    "detail": {"code": "busy", "nested": [1, None, {"deep": "ü\ud800"}]},
    "retry_after": 12.5,
    "from_intermediary": False,
}


def filled(kind: type[OmiError]) -> OmiError:
    """An error with every attribute set to something."""
    error = kind("something happened.", **STATE)
    for name, value in OWN.get(kind.__name__, {}).items():
        assert name in kind.__annotations__
        setattr(error, name, value)
    error.add_note("a note of the caller's")
    return error


def plain(error: BaseException) -> object:
    """Everything that an error says, errors within it included, to be compared."""
    values = {name: plain(value) if isinstance(value, BaseException) else value for name, value in vars(error).items()}
    return type(error), str(error), repr(error), values


every_class = pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)


def test_the_tree() -> None:
    """The tree is the one that is drawn at the top of the module, and no class stands outside it."""
    assert {name: kind.__bases__ for name, kind in CLASSES.items()} == BASES
    assert isinstance(errors.__doc__, str)
    assert [] == [name for name in CLASSES if name not in errors.__doc__]


@every_class
def test_every_class_is_public(kind: type[OmiError]) -> None:
    """Every error derives from `OmiError` and is exported by both packages as the very same class."""
    assert issubclass(kind, OmiError)
    for package in (omi_async, omi_sync):
        assert kind.__name__ in package.__all__
        assert kind is getattr(package, kind.__name__)


@every_class
@pytest.mark.parametrize("way", ["copy", "deepcopy", *range(pickle.HIGHEST_PROTOCOL + 1)])
def test_every_class_is_copied_whole(kind: type[OmiError], way: str | int) -> None:
    """A pickled or copied error is of the same class and has the same text and attributes."""
    error = filled(kind)
    match way:
        case "copy":
            twin = copy.copy(error)
        case "deepcopy":
            twin = copy.deepcopy(error)
        case protocol:
            twin = pickle.loads(pickle.dumps(error, int(protocol)))
    assert error is not twin
    assert plain(error) == plain(twin)
    expected = STATE | {"text": "something happened.", "message": str(error)}
    assert expected == {name: getattr(twin, name) for name in expected}


@every_class
@pytest.mark.parametrize("outcome", ["not_applied", "unknown"])
def test_every_class_is_rebuilt_from_its_args(kind: type[OmiError], outcome: errors.Outcome) -> None:
    """The class called with an error's `args` gives the whole error again, as programs do that know no pickle."""
    error = filled(kind)
    error.outcome = outcome
    assert plain(error) == plain(type(error)(*error.args))


@every_class
@pytest.mark.parametrize("outcome", ["not_applied", "unknown"])
def test_every_class_is_rebuilt_from_json(kind: type[OmiError], outcome: errors.Outcome) -> None:
    """The name of the class and the `args`, written as JSON and read again, are the whole error."""
    error = filled(kind)
    error.outcome = outcome
    name, args = json.loads(json.dumps([type(error).__name__, error.args], allow_nan=False))
    assert plain(error) == plain(getattr(omi_async, name)(*args))


@every_class
def test_every_class_takes_new_args(kind: type[OmiError]) -> None:
    """An error that exists becomes another one by its `args`: Celery sets them on an error made of nothing."""
    error = filled(kind)
    blank = kind.__new__(kind)
    blank.args = error.args
    assert plain(error) == plain(blank)


@every_class
def test_every_class_is_safe_by_its_text_alone(kind: type[OmiError]) -> None:
    """What is rebuilt from the text alone never claims that nothing was changed."""
    assert "unknown" == kind(str(filled(kind))).outcome


@every_class
def test_a_copy_stands_alone(kind: type[OmiError]) -> None:
    """What is changed on a copy of an error does not change the error."""
    error = filled(kind)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        twin.attempts = 99
        assert 3 == error.attempts


@every_class
def test_every_class_has_defaults(kind: type[OmiError]) -> None:
    """An error of a text alone knows no outcome, no attempt and no answer."""
    error = kind("something happened.")
    assert ("unknown", False, 0) == (error.outcome, error.retryable, error.attempts)
    assert (None, None, None, None) == (error.operation, error.status, error.detail, error.retry_after)
    assert not error.from_intermediary
    assert all(not getattr(error, name) for name in OWN.get(kind.__name__, ()) if name != "reason")


@every_class
def test_retryable_in_one_question(kind: type[OmiError]) -> None:
    """`is_retryable` takes any error: ours by their word, others never."""
    assert omi_async.is_retryable(kind("something happened.", retryable=True))
    assert not omi_async.is_retryable(kind("something happened."))
    assert not omi_async.is_retryable(TimeoutError("something happened."))


@every_class
def test_the_short_form_of_every_class(kind: type[OmiError]) -> None:
    """The `repr` shows class, text, operation and outcome."""
    error = kind("something happened.", operation="conversations.update", outcome="not_applied")
    expected = f"{kind.__name__}({str(error)!r}, operation='conversations.update', outcome='not_applied')"
    assert expected == repr(error)


@every_class
def test_the_text_of_every_class(kind: type[OmiError]) -> None:
    """The text begins with the operation and the message, and tells the outcome where something may have been sent."""
    for outcome, sentence in (
        ("not_applied", "Nothing was changed."),
        ("unknown", "may have been applied"),
    ):
        text = str(kind("something happened.", operation="conversations.delete", outcome=outcome))  # type: ignore[arg-type]
        assert text.startswith("conversations.delete: something happened.")
        assert text.endswith(kind.advice)
        assert (kind.__name__ not in LOCAL) == (sentence in text)
        assert 1 == text.count("something happened.")
        assert "  " not in text
    elsewhere = str(kind("something happened.", from_intermediary=True))
    assert "something in between" in elsewhere
    assert not kind.advice or kind.advice not in elsewhere


@every_class
def test_every_class_says_what_it_is_for(kind: type[OmiError]) -> None:
    """Every error class has a docstring of its own."""
    assert kind.__doc__
    assert inspect.getdoc(kind) != inspect.getdoc(kind.__bases__[0])


def test_subclasses_of_callers_survive_too() -> None:
    """An error class that a caller derives, with another `__init__`, is pickled and copied like ours."""
    error = Derived(7)
    error.attempts = 2
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert (Derived, 7, 2, str(error)) == (type(twin), twin.number, twin.attempts, str(twin))


class Derived(omi_async.RequestTimeoutError):
    """As a caller might derive it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"number {number}")
        self.number = number


def test_an_issue_is_a_plain_value() -> None:
    """An entry of a 422 is frozen, compares by value and survives pickle."""
    issue = ValidationIssue(loc=("body", 1), msg="Too long", type="string_too_long")
    twin = pickle.loads(pickle.dumps(issue))
    assert issue == twin
    assert hash(issue) == hash(twin)
    assert {"loc", "msg", "type"} == set(attrs.asdict(issue))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        issue.msg = "changed"  # type: ignore[misc]
