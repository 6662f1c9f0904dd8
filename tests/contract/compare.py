"""The statement against an OpenAPI document: every difference as one sentence.

Words that only explain (titles, descriptions, examples) and the answers that mean an error are left out; every
other keyword counts, also one that is not known here.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import attrs

from .stated import OPERATIONS
from .statement import Field, Operation, Schema

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_WORDS = {"title", "description", "example", "examples", "externalDocs", "$comment"}
_JSON = "application/json"

PREFIX = "/v1/dev/"
"""Every operation below is expected to be wrapped."""

_UNCHECKED = (
    "the model takes any finite number: refusing an answer for an odd place would report an update that was made "
    "as unknown."
)

_NEWER = "newer servers have it, and the file is of an older one."

_OLDER = "older servers do not have it."

_EMPTY = "the file leaves out that an array is empty by default."

_OPEN = "an older client takes what a newer server adds."

_GOALS = "listGoals, getGoal, createGoal, updateGoal, updateGoalProgress"
_SEARCH = "search_memories_vector_v1_dev_user_memories_vector_search_get"
_ABSENT = "is in the statement and not in the file."

KNOWN = {
    **{
        f"updateConversation, getConversation, listConversations: Geolocation.{field} in the answer "
        f"has {keyword} {value} in the file, none in the statement.": _UNCHECKED
        for field, keyword, value in (
            ("latitude", "maximum", 90.0),
            ("latitude", "minimum", -90.0),
            ("longitude", "maximum", 180.0),
            ("longitude", "minimum", -180.0),
        )
    },
    "createConversation, createConversationFromSegments: CreatedConversation.meeting_treatment_eligible in the answer "
    f"{_ABSENT}": _NEWER,
    **{
        f"createConversationFromSegments: {field} in the body {_ABSENT}": _NEWER
        for field in (
            "conversation_role",
            "conversation_finalization_reason",
            "client_processing",
            "capture_evidence",
        )
    },
    "listMemories, createMemory, createMemoriesBatch, updateMemory: Memory.tags in the answer has default none in the "
    "file, [] in the statement.": _EMPTY,
    f"{_SEARCH}: items[] in the answer has additionalProperties true in the file, none in the statement.": _OPEN,
    f"{_SEARCH}: MemoryMatch.category in the answer takes any value in the file, a list of values in the "
    "statement.": _OPEN,
    **{
        f"{_GOALS}: Goal.{field} in the answer {words}": _OLDER
        for field in ("goal_id", "desired_outcome", "status", "source")
        for words in (
            "is required in the file, optional in the statement.",
            "is string in the file, string or null in the statement.",
        )
    },
    f"{_GOALS}: Goal.success_criteria in the answer has default none in the file, [] in the statement.": _EMPTY,
    f"{_GOALS}: Goal.metric in the answer has additionalProperties false in the file, none in the statement.": _OPEN,
    f"{_GOALS}: GoalMetric.unit in the answer has maxLength 64 in the file, none in the statement.": _OPEN,
    "listDailySummaries: GET /v1/dev/user/daily-summaries is not in the file.": _NEWER,
    "getDailySummary: GET /v1/dev/user/daily-summaries/{summary_id} is not in the file.": _NEWER,
    "getCallingApiKey: GET /v1/dev/key is not in the file.": _NEWER,
}
"""Sentences of `differences` that are accepted, each with the reason."""


# Reading


class NotOpenAPI(ValueError):
    """The document cannot be read as OpenAPI."""


@attrs.frozen
class _Document:
    root: Mapping[str, Any]

    def operations(self) -> Iterator[Operation]:
        for path, entry in self.root["paths"].items():
            for method in _METHODS:
                if method in entry:
                    yield self._operation(method.upper(), path, entry[method], entry.get("parameters", []))

    def _operation(self, method: str, path: str, node: Mapping[str, Any], shared: Sequence[Any]) -> Operation:
        parameters = {}
        for each in [*shared, *node.get("parameters", [])]:
            parameter, _ = self._plain(each)
            parameters[parameter["in"], parameter["name"]] = self._parameter(parameter)
        body = None
        if "requestBody" in node:
            request, _ = self._plain(node["requestBody"])
            schema = self._content(request)
            body = Field(schema, request.get("required", False)) if schema is not None else None
        return Operation(
            id=node.get("operationId", ""),
            method=method,
            path=path,
            parameters=parameters,
            body=body,
            answers={
                status: self._content(self._plain(answer)[0])
                for status, answer in node.get("responses", {}).items()
                if status.startswith("2")
            },
            security=self._security(node.get("security", self.root.get("security", []))),
            deprecated=node.get("deprecated", False),
        )

    def _security(self, alternatives: Sequence[Mapping[str, Any]]) -> str:
        schemes = self.root.get("components", {}).get("securitySchemes", {})
        words = []
        for alternative in alternatives:
            nodes = [schemes.get(name, {}) for name in alternative]
            words.append(" and ".join(f"{node.get('type')} {node.get('scheme', '')}".strip() for node in nodes))
        return " or ".join(words) or "none"

    def _content(self, node: Mapping[str, Any]) -> Schema | None:
        content = node.get("content", {})
        if not content:
            return None
        if _JSON not in content:
            return Schema(types=frozenset(content))
        return self._schema(content[_JSON].get("schema", {}))

    def _parameter(self, node: Mapping[str, Any]) -> Field:
        field = self._field(node.get("schema", {}), node.get("required", False))
        more = _limits(node, known={"name", "in", "required", "schema"})
        return attrs.evolve(field, schema=attrs.evolve(field.schema, limits={**field.schema.limits, **more}))

    def _field(self, node: Mapping[str, Any], required: bool, seen: tuple[str, ...] = ()) -> Field:
        schema = self._schema(node, seen)
        limits = dict(schema.limits)
        default = limits.pop("default", None)
        return Field(attrs.evolve(schema, limits=limits), required, default=default)

    def _schema(self, node: Mapping[str, Any], seen: tuple[str, ...] = ()) -> Schema:
        node, seen = self._plain(node, seen)
        if "$ref" in node:
            return Schema(types=frozenset({"object"}), limits={"$ref": node["$ref"]})
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                rest = {name: value for name, value in node.items() if name != keyword}
                return self._either(keyword, [self._schema(each, seen) for each in node[keyword]], rest)
        kinds = node.get("type", ())
        names = {kinds} if isinstance(kinds, str) else set(kinds)
        if node.get("nullable") is True:
            names.add("null")
        required = node.get("required", ())
        return Schema(
            types=frozenset(names),
            limits=_limits(node, known={"type", "nullable", "enum", "items", "properties", "required"}),
            values=tuple(node["enum"]) if "enum" in node else None,
            items=self._schema(node.get("items", {}), seen) if "array" in names else None,
            fields={
                name: self._field(each, name in required, seen) for name, each in node.get("properties", {}).items()
            }
            if "object" in names
            else None,
        )

    def _either(self, keyword: str, options: Sequence[Schema], rest: Mapping[str, Any]) -> Schema:
        kinds = frozenset[str]().union(*[option.types for option in options])
        limits: dict[str, object] = {}
        if len(kinds) < sum(len(option.types) or 1 for option in options):
            # Alternatives of one type cannot be laid over each other; none of the statement's needs it.
            return Schema(types=kinds, limits={keyword: f"of {len(options)} alternatives"})
        for option in options:
            limits.update(option.limits)
        return Schema(
            types=kinds,
            limits={**limits, **_limits(rest)},
            values=next((option.values for option in options if option.values is not None), None),
            items=next((option.items for option in options if option.items is not None), None),
            fields=next((option.fields for option in options if option.fields is not None), None),
        )

    def _plain(self, node: Mapping[str, Any], seen: tuple[str, ...] = ()) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """The node with what it refers to laid under it; a reference that leads to itself is left as it is."""
        while True:
            if "$ref" in node and node["$ref"] not in seen:
                seen = (*seen, node["$ref"])
                below = self._target(node["$ref"])
                node = {**below, **{name: value for name, value in node.items() if name != "$ref"}}
            elif len(node.get("allOf", ())) == 1:
                node = {**node["allOf"][0], **{name: value for name, value in node.items() if name != "allOf"}}
            else:
                return node, seen

    def _target(self, reference: str) -> Mapping[str, Any]:
        node: Any = self.root
        home, *names = reference.split("/")
        for name in names:
            node = node.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
        if home != "#" or not isinstance(node, dict):
            raise NotOpenAPI(f"{reference} leads nowhere")
        return node


def _limits(node: Mapping[str, Any], known: Collection[str] = ()) -> dict[str, object]:
    return {
        name: value
        for name, value in node.items()
        if name not in known and name not in _WORDS and not name.startswith("x-")
    }


# Comparing


def differences(document: Any, operations: Sequence[Operation] = OPERATIONS) -> list[str]:
    """Every difference in words; one that several operations share is told once. Raises `NotOpenAPI`."""
    try:
        read = list(_Document(document).operations())
    except (AttributeError, KeyError, TypeError) as problem:
        raise NotOpenAPI(f"it is not an OpenAPI document ({problem!r})") from problem
    places = {(each.method, each.path): each for each in read}
    names = {each.id: each for each in read}
    found: dict[str, list[str]] = {}
    for stated in operations:
        other = places.get((stated.method, stated.path), names.get(stated.id))
        if other is None:
            found.setdefault(f"{stated.method} {stated.path} is not in the file.", []).append(stated.id)
            continue
        places.pop((other.method, other.path), None)
        for difference in _operation(stated, other):
            found.setdefault(difference, []).append(stated.id)
    for each in places.values():
        if each.path.startswith(PREFIX):
            found[f"{each.method} {each.path} is in the file and not wrapped."] = [each.id or "unnamed"]
    return [f"{', '.join(ids)}: {difference}" for difference, ids in found.items()]


@attrs.frozen(kw_only=True)
class Verdict:
    """The differences, sorted by what to do about them."""

    new: Sequence[str]
    """The API or the statement has to be looked at."""
    accepted: Mapping[str, str]
    """Those that are known, with their reasons."""
    gone: Sequence[str]
    """Known ones that no longer occur: to be taken out of `KNOWN`."""


def judge(document: Any, operations: Sequence[Operation] = OPERATIONS, known: Mapping[str, str] = KNOWN) -> Verdict:
    """Compare, and set the known differences apart."""
    found = differences(document, operations)
    return Verdict(
        new=[each for each in found if each not in known],
        accepted={each: known[each] for each in found if each in known},
        gone=[each for each in known if each not in found],
    )


def _operation(stated: Operation, read: Operation) -> Iterator[str]:
    where, there = f"{stated.method} {stated.path}", f"{read.method} {read.path}"
    if where != there:
        yield f"the operation is {there} in the file, {where} in the statement."
    if stated.id != read.id:
        yield f"the operation is called {read.id or 'nothing'} in the file."
    if stated.security != read.security:
        yield f"security is {read.security} in the file, {stated.security} in the statement."
    if read.deprecated:
        yield "the operation is deprecated in the file."
    yield from _fields("", "", _labelled(stated.parameters), _labelled(read.parameters))
    yield from _fields("body", "", _whole(stated.body), _whole(read.body))
    if stated.answers.keys() != read.answers.keys():
        statuses = [" or ".join(sorted(each.answers)) or "no status" for each in (read, stated)]
        yield f"success is {statuses[0]} in the file, {statuses[1]} in the statement."
    for status, answer in stated.answers.items():
        other = read.answers.get(status, next(iter(read.answers.values()), None))
        yield from _fields("answer", "", _whole(answer), _whole(other))


def _labelled(parameters: Mapping[tuple[str, str], Field]) -> dict[str, Field]:
    return {f"{place} parameter {name}": field for (place, name), field in parameters.items()}


def _whole(value: Field | Schema | None) -> dict[str, Field]:
    if value is None:
        return {}
    return {"": value if isinstance(value, Field) else Field(value, required=True)}


def _subject(where: str, path: str) -> str:
    if not where:
        return path
    return f"the {where}{path}" if path[:1] in ("", "[") else f"{path} in the {where}"


def _fields(where: str, prefix: str, stated: Mapping[str, Field], read: Mapping[str, Field]) -> Iterator[str]:
    for name in {**stated, **read}:
        path = f"{prefix}.{name}" if prefix else name
        if name not in read:
            yield f"{_subject(where, path)} is in the statement and not in the file."
        elif name not in stated:
            required = ", where it is required," if read[name].required else ""
            yield f"{_subject(where, path)} is in the file{required} and not in the statement."
        else:
            yield from _field(where, path, stated[name], read[name])


def _field(where: str, path: str, stated: Field, read: Field) -> Iterator[str]:
    if stated.required != read.required:
        words = ["required" if each.required else "optional" for each in (read, stated)]
        yield f"{_subject(where, path)} is {words[0]} in the file, {words[1]} in the statement."
    yield from _keyword(_subject(where, path), "default", stated.default, read.default)
    yield from _schema(where, path, stated.schema, read.schema)


def _schema(where: str, path: str, stated: Schema, read: Schema) -> Iterator[str]:
    subject = _subject(where, path)
    if stated.types != read.types:
        yield f"{subject} is {_kinds(read)} in the file, {_kinds(stated)} in the statement."
    for keyword in sorted({*stated.limits, *read.limits}):
        yield from _keyword(subject, keyword, stated.limits.get(keyword), read.limits.get(keyword))
    yield from _values(subject, stated.values, read.values)
    if stated.items is not None and read.items is not None:
        yield from _schema(where, f"{path}[]", stated.items, read.items)
    if stated.fields is not None and read.fields is not None:
        yield from _fields(where, stated.name or path, stated.fields, read.fields)


def _kinds(schema: Schema) -> str:
    return " or ".join(sorted(schema.types - {"null"}) + sorted(schema.types & {"null"})) or "any value"


def _keyword(subject: str, keyword: str, stated: object, read: object) -> Iterator[str]:
    # True and 1 are one to Python and two to JSON.
    if stated != read or isinstance(stated, bool) != isinstance(read, bool):
        yield f"{subject} has {keyword} {_shown(read)} in the file, {_shown(stated)} in the statement."


def _shown(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _values(subject: str, stated: Sequence[object] | None, read: Sequence[object] | None) -> Iterator[str]:
    if stated is None or read is None:
        if stated is not read:
            words = ["any value" if values is None else "a list of values" for values in (read, stated)]
            yield f"{subject} takes {words[0]} in the file, {words[1]} in the statement."
        return
    for value in read:
        if value not in stated:
            yield f"{subject} may be {_shown(value)} in the file, not in the statement."
    for value in stated:
        if value not in read:
            yield f"{subject} may be {_shown(value)} in the statement, not in the file."
