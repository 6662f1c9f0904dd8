"""Readers of JSON objects, each written as the source of a function for one model.

Loops over the fields of models took nearly a tenth of a whole call. A function that names each field does not loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class Field(NamedTuple):
    """One field of a model, and how its value is read."""

    name: str
    plain: type | None
    """The type of a value that is right as it comes; None if the hook reads it."""
    may_be_none: bool
    hook: Callable[[Any, Any], Any]
    kind: Any


def written(model: type[Any], fields: list[Field], otherwise: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Write the reader of a model. It leaves to `otherwise` what lacks a field or has a plain one of a wrong type."""
    known: dict[str, Any] = {"model": model, "otherwise": otherwise, "make": object.__new__, "fill": object.__setattr__}
    takes, checks = [], []
    for number, field in enumerate(fields):
        value = f"value{number}"
        takes.append(f"        {value} = given[{field.name!r}]")
        if field.plain is not None:
            known[f"kind{number}"] = field.plain
            unless = f" and {value} is not None" if field.may_be_none else ""
            checks += [f"    if type({value}) is not kind{number}{unless}:", "        return otherwise(given)"]
        else:
            known |= {f"hook{number}": field.hook, f"kind{number}": field.kind}
            where = [f"    if {value} is not None:"] if field.may_be_none else []
            indent = "    " * (len(where) + 1)
            checks += [*where, f"{indent}{value} = hook{number}({value}, kind{number})"]
    members = ", ".join(f"{field.name!r}: value{number}" for number, field in enumerate(fields))
    lines = [
        "def read(given, _):",
        "    try:",
        *takes,
        "    except (KeyError, TypeError):",
        "        return otherwise(given)",
        *checks,
        # The __init__ of a frozen class sets each field by itself, which takes several times as long.
        "    instance = make(model)",
        f"    fill(instance, '__dict__', {{{members}}})",
        "    return instance",
    ]
    exec("\n".join(lines), known)  # noqa: S102 - of the names of our own fields
    reader: Callable[[Any, Any], Any] = known["read"]
    return reader
