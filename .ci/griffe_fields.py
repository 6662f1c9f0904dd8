"""Values of attrs classes, errors and enumerations as a table; the client's resources with their types."""

from collections.abc import Iterator
from typing import Any

import griffe


class Fields(griffe.Extension):
    """Rewrites what would show how a value is declared instead of what it is."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:  # noqa: ARG002 - griffe's signature
        classes = list(_classes(pkg))
        for cls in classes:
            _name_resources(cls)
        values = {cls.path: _values(cls) for cls in classes if _holds_values(cls)}
        for cls in classes:
            _tabulate(cls, values)
        for cls in classes:
            for name in values.get(cls.path, ()):
                cls.del_member(name)


def _classes(module: griffe.Module) -> Iterator[griffe.Class]:
    for member in module.members.values():
        if member.is_alias:
            continue
        if isinstance(member, griffe.Module):
            yield from _classes(member)
        elif isinstance(member, griffe.Class):
            yield member


def _holds_values(cls: griffe.Class) -> bool:
    decorated = any(str(each.value).startswith("attrs.") for each in cls.decorators)
    return decorated or cls.name.endswith("Error") or "StrEnum" in map(str, cls.bases)


def _values(cls: griffe.Class) -> dict[str, griffe.Attribute]:
    return {
        name: each
        for name, each in cls.members.items()
        if isinstance(each, griffe.Attribute) and not name.startswith("_") and "property" not in each.labels
    }


def _tabulate(cls: griffe.Class, values: dict[str, dict[str, griffe.Attribute]]) -> None:
    if cls.path not in values or cls.docstring is None:
        return
    bases = [] if cls.name.endswith("Error") else cls.mro()  # what every error has stands with the first one
    found = {name: each for base in reversed([cls, *bases]) for name, each in values.get(base.path, {}).items()}
    rows = [
        griffe.DocstringAttribute(name, annotation=_type(cls, each), description=_description(each))
        for name, each in found.items()
    ]
    if rows:
        cls.docstring.__dict__["parsed"] = [
            griffe.DocstringSectionText(cls.docstring.value),
            griffe.DocstringSectionAttributes(rows),
        ]


def _type(cls: griffe.Class, attribute: griffe.Attribute) -> Any:
    """The annotation; of what `__init__` stores, its parameter's; of a member of an enumeration, its value."""
    if attribute.annotation is not None:
        return attribute.annotation
    if isinstance(attribute.value, griffe.ExprName) and attribute.name in cls.parameters:
        return cls.parameters[attribute.name].annotation
    return attribute.value if "StrEnum" in map(str, cls.bases) else "str"


def _description(attribute: griffe.Attribute) -> str:
    text = attribute.docstring.value if attribute.docstring else ""
    default = attribute.value
    if isinstance(default, griffe.ExprCall):
        given = {each.name: each.value for each in default.arguments if isinstance(each, griffe.ExprKeyword)}
        default = given.get("default")
    is_member = attribute.parent is not None and "StrEnum" in map(str, attribute.parent.bases)
    plain = is_member or default in (None, "None", "''") or str(default) == attribute.name
    return text if plain else f"{text} Default: `{default}`.".strip()


def _name_resources(cls: griffe.Class) -> None:
    """`conversations = Room["AsyncConversations"](...)` is an attribute of that class."""
    for attribute in cls.attributes.values():
        value = attribute.value
        if isinstance(value, griffe.ExprCall) and isinstance(value.function, griffe.ExprSubscript):
            attribute.annotation = griffe.ExprName(str(value.function.slice).strip("'\""), parent=cls)
            attribute.value = None
            attribute.labels.clear()
