"""The operations on which the laws are proven, one for each effect that an operation can have.

What becomes of a call (outcomes, retries, cancellation, secrets, fork, Ctrl-C) depends on an operation by its effect
alone. A further operation is therefore not proven once more: it has its row in `tests/contract` and a round trip on
the sandbox. An effect that is none of these four is a further row here.
"""

import operator
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from omi_async import Deletion


@attrs.frozen(kw_only=True, eq=False)
class Specimen:
    """One operation. Tests call it by the last word of its name."""

    operation: str
    """As errors name it, and where a client has it."""
    effect: Literal["repeatable", "gone", "once", "none"]
    said: Mapping[str, Any] = attrs.field(factory=dict)
    """What a call says besides its subject, where a test does not care."""

    @property
    def name(self) -> str:
        return self.operation.rpartition(".")[2]


SPECIMENS = UPDATE, DELETE, CREATE, GET = (
    Specimen(operation="conversations.update", effect="repeatable", said={"title": "Design review"}),
    Specimen(operation="conversations.delete", effect="gone"),
    Specimen(operation="conversations.create", effect="once"),
    Specimen(operation="conversations.get", effect="none"),
)

CHANGES = tuple(specimen.name for specimen in SPECIMENS if specimen.effect in ("repeatable", "gone"))
"""Those that change a record: for tests of what is sent and what is read, which the effect does not decide."""

_BY_NAME = {specimen.name: specimen for specimen in SPECIMENS}


def whole_name(operation: str) -> str:
    """As errors name it, for a specimen by its short name; any other operation has its whole name already."""
    return _BY_NAME[operation].operation if operation in _BY_NAME else operation


def call(client: Any, operation: str, subject: Any = "conv_1", **settings: Any) -> Any:
    """Call an operation on a client of either side: its result, or what gives the result when it is waited for.

    `subject` is an id, a text or segments.
    """
    if operation in _BY_NAME and settings.keys() <= {"timeout", "retry"}:
        settings = {**_BY_NAME[operation].said, **settings}
    return operator.attrgetter(whole_name(operation))(client)(subject, **settings)


def id_of(result: Any) -> str:
    """The id that the result of a call tells."""
    return str(result.id if isinstance(result, Deletion) else result.id)
