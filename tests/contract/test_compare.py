"""The comparison notices every change of a document, says each in one sentence, and takes every spelling."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from _pytest.mark import ParameterSet
from hypothesis import given, settings
from hypothesis import strategies as st

from . import compare
from .__main__ import main
from .compare import KNOWN, NotOpenAPI, judge
from .stated import OPERATIONS as ALL
from .stated.conversations import OPERATIONS, PREFIX
from .statement import Field, Operation, Schema, an_object, read_off

pytestmark = pytest.mark.repository

Document = dict[str, Any]

ONE = f"{PREFIX}/{{conversation_id}}"
READS = "updateConversation, getConversation, listConversations"


# A document that says what the statement says, by default of conversations alone


def differences(document: Any, operations: Sequence[Operation] = OPERATIONS) -> list[str]:
    return compare.differences(document, operations)


def document(*operations: Operation) -> Document:
    """An OpenAPI document of these operations."""
    schemas: Document = {}
    paths: Document = {}
    for each in operations or OPERATIONS:
        node: Document = {"operationId": each.id, "security": [{"key": []}], "responses": {}}
        for (place, name), field in each.parameters.items():
            parameter = {"in": place, "name": name, "schema": written(field.schema, schemas, field.default)}
            node.setdefault("parameters", []).append({**parameter, **({"required": True} if field.required else {})})
        if each.body is not None:
            node["requestBody"] = {**content(each.body.schema, schemas), "required": each.body.required}
        for status, answer in each.answers.items():
            node["responses"][status] = content(answer, schemas)
        node["responses"]["401"] = {"description": "No."}
        paths.setdefault(each.path, {})[each.method.lower()] = node
    security = {"key": {"type": "http", "scheme": "bearer"}}
    return {"openapi": "3.1.0", "paths": paths, "components": {"schemas": schemas, "securitySchemes": security}}


def content(schema: Schema | None, schemas: Document) -> Document:
    return {} if schema is None else {"content": {"application/json": {"schema": written(schema, schemas)}}}


def written(schema: Schema, schemas: Document, default: object = None) -> Document:
    """The schema as the server's generator writes it; named ones go to `schemas`."""
    if default is not None:
        return {**written(schema, schemas), "default": default}
    if "null" in schema.types and len(schema.types) > 1:
        option = written(attrs.evolve(schema, types=schema.types - {"null"}), schemas)
        return {"anyOf": [option, {"type": "null"}]}
    if schema.name is not None:
        schemas[schema.name] = written(attrs.evolve(schema, name=None), schemas)
        return {"$ref": f"#/components/schemas/{schema.name}"}
    node: Document = {"type": next(iter(schema.types)), **schema.limits} if schema.types else {}
    if schema.values is not None:
        node["enum"] = list(schema.values)
    if schema.items is not None:
        node["items"] = written(schema.items, schemas)
    if schema.fields is not None:
        node["properties"] = {name: written(each.schema, schemas, each.default) for name, each in schema.fields.items()}
        required = [name for name, each in schema.fields.items() if each.required]
        if required:
            node["required"] = required
    return node


def test_what_is_stated_is_equal() -> None:
    """A document that says what the statement says has no difference."""
    assert [] == differences(document())


# Every change


@attrs.frozen
class Changing:
    """A document and the places in it where an API changes."""

    root: Document = attrs.field(factory=document)

    def operation(self, name: str) -> Document:
        nodes: list[Document] = [node for path in self.root["paths"].values() for node in path.values()]
        (found,) = [node for node in nodes if node["operationId"] == name]
        return found

    def parameters(self, name: str) -> list[Document]:
        found: list[Document] = self.operation(name)["parameters"]
        return found

    def parameter(self, name: str, wanted: str) -> Document:
        (found,) = [each for each in self.parameters(name) if each["name"] == wanted]
        return found

    def body(self, name: str) -> Document:
        return self._json(self.operation(name)["requestBody"])

    def field(self, name: str, wanted: str) -> Document:
        found: Document = self.body(name)["properties"][wanted]
        return found

    def answer(self, name: str) -> Document:
        return self._json(self.operation(name)["responses"]["200"])

    def model(self, name: str) -> Document:
        found: Document = self.root["components"]["schemas"][name]
        return found

    def fields(self, name: str) -> Document:
        found: Document = self.model(name)["properties"]
        return found

    def _json(self, node: Document) -> Document:
        found: Document = node["content"]["application/json"]["schema"]
        return found

    def move(self, old: str, new: str) -> None:
        self.root["paths"][new] = self.root["paths"].pop(old)

    def add_operation(self, path: str, method: str, name: str) -> None:
        self.root["paths"].setdefault(path, {})[method] = {"operationId": name, "responses": {}}

    def add_field(self, node: Document, name: str, *, required: bool = False) -> None:
        node["properties"][name] = {"type": "string"}
        if required:
            node.setdefault("required", []).append(name)


def change(name: str, mutate: Callable[[Changing], object], *expected: str) -> ParameterSet:
    return pytest.param(mutate, list(expected), id=name)


CHANGES = [
    # Operations
    change(
        "operation removed",
        lambda c: c.root["paths"][ONE].pop("delete"),
        f"deleteConversation: DELETE {ONE} is not in the file.",
    ),
    change(
        "operation added",
        lambda c: c.add_operation(f"{PREFIX}/search", "get", "searchConversations"),
        f"searchConversations: GET {PREFIX}/search is in the file and not wrapped.",
    ),
    change(
        "method added",
        lambda c: c.add_operation(ONE, "put", "replaceConversation"),
        f"replaceConversation: PUT {ONE} is in the file and not wrapped.",
    ),
    change(
        "method of the list added",
        lambda c: c.add_operation(PREFIX, "delete", "deleteAll"),
        f"deleteAll: DELETE {PREFIX} is in the file and not wrapped.",
    ),
    change("operation elsewhere", lambda c: c.add_operation("/v1/goals", "get", "listAllGoals")),
    change("longer name", lambda c: c.add_operation("/v1/developers", "get", "listDevelopers")),
    change(
        "path moved",
        lambda c: c.move(f"{PREFIX}/from-segments", "/v2/segments"),
        "createConversationFromSegments: the operation is POST /v2/segments in the file, "
        f"POST {PREFIX}/from-segments in the statement.",
    ),
    change(
        "method changed",
        lambda c: c.root["paths"][ONE].update(put=c.root["paths"][ONE].pop("patch")),
        f"updateConversation: the operation is PUT {ONE} in the file, PATCH {ONE} in the statement.",
    ),
    change(
        "operation renamed",
        lambda c: c.operation("updateConversation").update(operationId="editConversation"),
        "updateConversation: the operation is called editConversation in the file.",
    ),
    change(
        "deprecated",
        lambda c: c.operation("createConversation").update(deprecated=True),
        "createConversation: the operation is deprecated in the file.",
    ),
    change(
        "other key",
        lambda c: c.root["components"]["securitySchemes"].update(key={"type": "apiKey", "in": "header", "name": "K"}),
        "updateConversation, deleteConversation, getConversation, listConversations, createConversation, "
        "createConversationFromSegments, ask: security is apiKey in the file, http bearer in the statement.",
    ),
    change(
        "no key",
        lambda c: c.operation("getConversation").update(security=[]),
        "getConversation: security is none in the file, http bearer in the statement.",
    ),
    # Parameters
    change(
        "parameter added",
        lambda c: c.parameters("listConversations").append({"in": "query", "name": "order", "schema": {}}),
        "listConversations: query parameter order is in the file and not in the statement.",
    ),
    change(
        "required parameter added",
        lambda c: c.parameters("deleteConversation").append({"in": "header", "name": "If-Match", "required": True}),
        "deleteConversation: header parameter If-Match is in the file, where it is required, and not in the statement.",
    ),
    change(
        "parameter removed",
        lambda c: c.parameters("listConversations").remove(c.parameter("listConversations", "starred")),
        "listConversations: query parameter starred is in the statement and not in the file.",
    ),
    change(
        "parameter moved",
        lambda c: c.parameter("getConversation", "include_transcript").update({"in": "header"}),
        "getConversation: query parameter include_transcript is in the statement and not in the file.",
        "getConversation: header parameter include_transcript is in the file and not in the statement.",
    ),
    change(
        "parameter now required",
        lambda c: c.parameter("listConversations", "limit").update(required=True),
        "listConversations: query parameter limit is required in the file, optional in the statement.",
    ),
    change(
        "default of a parameter",
        lambda c: c.parameter("listConversations", "limit")["schema"].update(default=50),
        "listConversations: query parameter limit has default 50 in the file, 25 in the statement.",
    ),
    change(
        "limit on a parameter",
        lambda c: c.parameter("listConversations", "limit")["schema"].update(maximum=100),
        "listConversations: query parameter limit has maximum 100 in the file, none in the statement.",
    ),
    change(
        "type of a parameter",
        lambda c: c.parameter("listConversations", "categories").update(
            schema={"type": "array", "items": {"type": "string"}}
        ),
        "listConversations: query parameter categories is array in the file, string or null in the statement.",
    ),
    change(
        "style of a parameter",
        lambda c: c.parameter("listConversations", "categories").update(style="pipeDelimited"),
        'listConversations: query parameter categories has style "pipeDelimited" in the file, none in the statement.',
    ),
    # Bodies
    change(
        "field added",
        lambda c: c.add_field(c.body("updateConversation"), "starred"),
        "updateConversation: starred in the body is in the file and not in the statement.",
    ),
    change(
        "required field added",
        lambda c: c.add_field(c.body("createConversation"), "consent", required=True),
        "createConversation: consent in the body is in the file, where it is required, and not in the statement.",
    ),
    change(
        "field removed",
        lambda c: c.body("updateConversation")["properties"].pop("discarded"),
        "updateConversation: discarded in the body is in the statement and not in the file.",
    ),
    change(
        "field renamed",
        lambda c: c.body("updateConversation")["properties"].update(
            name=c.body("updateConversation")["properties"].pop("title")
        ),
        "updateConversation: title in the body is in the statement and not in the file.",
        "updateConversation: name in the body is in the file and not in the statement.",
    ),
    change(
        "field now required",
        lambda c: c.body("updateConversation").update(required=["title"]),
        "updateConversation: title in the body is required in the file, optional in the statement.",
    ),
    change(
        "field no longer required",
        lambda c: c.body("createConversation").pop("required"),
        "createConversation: text in the body is optional in the file, required in the statement.",
    ),
    change(
        "longest text",
        lambda c: c.field("updateConversation", "title")["anyOf"][0].update(maxLength=600),
        "updateConversation: title in the body has maxLength 600 in the file, 500 in the statement.",
    ),
    change(
        "limit lifted",
        lambda c: c.field("createConversationFromSegments", "transcript_segments").pop("maxItems"),
        "createConversationFromSegments: transcript_segments in the body has maxItems none in the file, "
        "500 in the statement.",
    ),
    change(
        "format changed",
        lambda c: c.field("createConversation", "started_at")["anyOf"][0].update(format="date"),
        'createConversation: started_at in the body has format "date" in the file, "date-time" in the statement.',
    ),
    change(
        "no longer nullable",
        lambda c: c.field("updateConversation", "discarded")["anyOf"].pop(),
        "updateConversation: discarded in the body is boolean in the file, boolean or null in the statement.",
    ),
    change(
        "field of an item",
        lambda c: c.add_field(c.field("createConversationFromSegments", "transcript_segments")["items"], "words"),
        "createConversationFromSegments: transcript_segments[].words in the body is in the file "
        "and not in the statement.",
    ),
    change(
        "type of an item",
        lambda c: c.field("createConversationFromSegments", "transcript_segments").update(items={"type": "string"}),
        "createConversationFromSegments: transcript_segments[] in the body is string in the file, "
        "object in the statement.",
    ),
    change(
        "value of a request added",
        lambda c: c.field("createConversation", "text_source")["enum"].append("email"),
        'createConversation: text_source in the body may be "email" in the file, not in the statement.',
    ),
    change(
        "value of a request removed",
        lambda c: c.field("createConversation", "text_source")["enum"].remove("message"),
        'createConversation: text_source in the body may be "message" in the statement, not in the file.',
    ),
    change(
        "values no longer listed",
        lambda c: c.field("createConversation", "text_source").pop("enum"),
        "createConversation: text_source in the body takes any value in the file, a list of values in the statement.",
    ),
    change(
        "true is not one",
        lambda c: c.field("createConversationFromSegments", "transcript_segments").update(minItems=True),
        "createConversationFromSegments: transcript_segments in the body has minItems true in the file, "
        "1 in the statement.",
    ),
    change(
        "unknown fields refused",
        lambda c: c.body("updateConversation").update(additionalProperties=False),
        "updateConversation: the body has additionalProperties false in the file, none in the statement.",
    ),
    change(
        "body optional",
        lambda c: c.operation("updateConversation")["requestBody"].update(required=False),
        "updateConversation: the body is optional in the file, required in the statement.",
    ),
    change(
        "body removed",
        lambda c: c.operation("updateConversation").pop("requestBody"),
        "updateConversation: the body is in the statement and not in the file.",
    ),
    change(
        "body added",
        lambda c: c.operation("deleteConversation").update(
            requestBody={"content": {"application/json": {"schema": {}}}, "required": True}
        ),
        "deleteConversation: the body is in the file, where it is required, and not in the statement.",
    ),
    change(
        "body no longer JSON",
        lambda c: c.operation("updateConversation")["requestBody"].update(content={"multipart/form-data": {}}),
        "updateConversation: the body is multipart/form-data in the file, object in the statement.",
    ),
    # Answers
    change(
        "status of success",
        lambda c: c.operation("createConversation").update(
            responses={"201": c.operation("createConversation")["responses"]["200"]}
        ),
        "createConversation: success is 201 in the file, 200 in the statement.",
    ),
    change(
        "second success",
        lambda c: c.operation("deleteConversation")["responses"].update({"202": {}}),
        "deleteConversation: success is 200 or 202 in the file, 200 in the statement.",
    ),
    change(
        "success without a body",
        lambda c: c.operation("deleteConversation").update(responses={"204": {}}),
        "deleteConversation: success is 204 in the file, 200 in the statement.",
        "deleteConversation: the answer is in the statement and not in the file.",
    ),
    change(
        "no success",
        lambda c: c.operation("deleteConversation")["responses"].pop("200"),
        "deleteConversation: success is no status in the file, 200 in the statement.",
        "deleteConversation: the answer is in the statement and not in the file.",
    ),
    change("error documented", lambda c: c.operation("deleteConversation")["responses"].update({"402": {}})),
    change(
        "list in an envelope",
        lambda c: c.operation("listConversations")["responses"]["200"]["content"]["application/json"].update(
            schema={"type": "object", "properties": {"items": c.answer("listConversations")}}
        ),
        "listConversations: the answer is object in the file, array in the statement.",
    ),
    change(
        "field of an answer added",
        lambda c: c.add_field(c.model("Conversation"), "discarded"),
        f"{READS}: Conversation.discarded in the answer is in the file and not in the statement.",
    ),
    change(
        "field of one answer added",
        lambda c: c.add_field(c.answer("deleteConversation"), "title"),
        "deleteConversation: title in the answer is in the file and not in the statement.",
    ),
    change(
        "field of an answer removed",
        lambda c: c.fields("TranscriptSegment").pop("speaker_id"),
        f"{READS}: TranscriptSegment.speaker_id in the answer is in the statement and not in the file.",
    ),
    change(
        "field of an answer now optional",
        lambda c: c.model("Conversation")["required"].remove("started_at"),
        f"{READS}: Conversation.started_at in the answer is optional in the file, required in the statement.",
    ),
    change(
        "field of an answer now null",
        lambda c: c.fields("Conversation").update(id={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        f"{READS}: Conversation.id in the answer is string or null in the file, string in the statement.",
    ),
    change(
        "type of an answer's field",
        lambda c: c.fields("TranscriptSegment").update(start={"type": "integer"}),
        f"{READS}: TranscriptSegment.start in the answer is integer in the file, number in the statement.",
    ),
    change(
        "default of an answer's field",
        lambda c: c.fields("ConversationEvent")["duration"].update(default=60),
        f"{READS}: ConversationEvent.duration in the answer has default 60 in the file, 30 in the statement.",
    ),
    change(
        "category added",
        lambda c: c.fields("ConversationStructured")["category"]["enum"].append("pets"),
        f'{READS}: ConversationStructured.category in the answer may be "pets" in the file, not in the statement.',
    ),
    change(
        "several alternatives of one type",
        lambda c: c.fields("Conversation").update(
            source={"anyOf": [{"type": "string", "enum": ["omi"]}, {"type": "string"}, {"type": "null"}]}
        ),
        f'{READS}: Conversation.source in the answer has anyOf "of 3 alternatives" in the file, none in the statement.',
    ),
    change(
        "an alternative that is anything",
        lambda c: c.fields("Conversation").update(source={"anyOf": [{"type": "string"}, {}]}),
        f"{READS}: Conversation.source in the answer is string in the file, string or null in the statement.",
        f'{READS}: Conversation.source in the answer has anyOf "of 2 alternatives" in the file, none in the statement.',
    ),
    change(
        "model that holds itself",
        lambda c: c.fields("ConversationEvent").update(start={"$ref": "#/components/schemas/ConversationEvent"}),
        f"{READS}: ConversationEvent.start in the answer is object in the file, string in the statement.",
        f'{READS}: ConversationEvent.start in the answer has $ref "#/components/schemas/ConversationEvent" '
        "in the file, none in the statement.",
        f'{READS}: ConversationEvent.start in the answer has format none in the file, "date-time" in the statement.',
    ),
    change(
        "shared by request and answer",
        lambda c: c.fields("Geolocation").pop("address"),
        f"{READS}: Geolocation.address in the answer is in the statement and not in the file.",
        "createConversation, createConversationFromSegments: Geolocation.address in the body is in the statement "
        "and not in the file.",
    ),
]


@pytest.mark.parametrize(("mutate", "expected"), CHANGES)
def test_a_change_is_told(mutate: Callable[[Changing], object], expected: list[str]) -> None:
    """A changed document differs in exactly the sentences that tell the change."""
    changing = Changing()
    mutate(changing)
    assert sorted(expected) == sorted(differences(changing.root))


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield (*path, key)
        yield from places(node[key], (*path, key))


def test_nothing_goes_unnoticed() -> None:
    """Whatever is taken out of the document, down to one word of it, makes a difference or makes it unreadable."""
    silent = []
    whole = document()
    for path in list(places(whole)):
        if path[0] == "openapi" or "401" in path:
            continue  # the version, and an answer that means an error
        holder: Any = whole
        for key in path[:-1]:
            holder = holder[key]
        taken = holder.pop(path[-1])
        try:
            if not differences(whole):
                silent.append(path)
        except NotOpenAPI:
            pass
        if isinstance(holder, list):
            holder.insert(path[-1], taken)
        else:
            holder[path[-1]] = taken
    assert [] == silent
    assert [] == differences(whole)


# Other spellings of the same


def spelled(document: Any, rewrite: Callable[[Document], Document]) -> Any:
    """The document with every object in it rewritten, the inner ones first."""
    if isinstance(document, list):
        return [spelled(each, rewrite) for each in document]
    if isinstance(document, dict):
        return rewrite({name: spelled(each, rewrite) for name, each in document.items()})
    return document


def is_nullable(node: Document) -> bool:
    return isinstance(node.get("anyOf"), list) and {"type": "null"} in node["anyOf"]


def one_of(node: Document) -> Document:
    return {("oneOf" if name == "anyOf" else name): each for name, each in node.items()}


def nullable(node: Document) -> Document:
    if not is_nullable(node):
        return node
    rest = {name: each for name, each in node.items() if name != "anyOf"}
    option = node["anyOf"][0]
    return {"allOf": [option], "nullable": True, **rest} if "$ref" in option else {**option, "nullable": True, **rest}


def type_list(node: Document) -> Document:
    if not is_nullable(node) or "type" not in node["anyOf"][0]:
        return node
    rest = {name: each for name, each in node.items() if name != "anyOf"}
    return {**node["anyOf"][0], "type": [node["anyOf"][0]["type"], "null"], **rest}


def explained(node: Document) -> Document:
    if "type" not in node and "$ref" not in node and "anyOf" not in node:
        return node
    return {**node, "description": "Words.", "x-order": 1} if isinstance(node.get("type", ""), str) else node


def null_default(node: Document) -> Document:
    return {"default": None, **node} if is_nullable(node) else node


def not_required(node: Document) -> Document:
    return {"required": False, **node} if "in" in node and "schema" in node else node


def referred(node: Document) -> Document:
    """Parameters, bodies and answers in the components, parameters of a path at the path."""
    root = copy.deepcopy(node)
    if "paths" not in root:
        return root
    parts = root["components"]
    parts.update(parameters={}, requestBodies={}, responses={})
    for path in root["paths"].values():
        for method in [*path]:
            each = path[method]
            for parameter in each.pop("parameters", []):
                if parameter["in"] == "path":
                    path["parameters"] = [parameter]
                    continue
                name = f"{each['operationId']}/~{parameter['name']}"
                parts["parameters"][name] = parameter
                reference = {"$ref": "#/components/parameters/" + name.replace("~", "~0").replace("/", "~1")}
                each.setdefault("parameters", []).append(reference)
            if "requestBody" in each:
                parts["requestBodies"][each["operationId"]] = each["requestBody"]
                each["requestBody"] = {"$ref": f"#/components/requestBodies/{each['operationId']}"}
            parts["responses"][each["operationId"]] = each["responses"]["200"]
            each["responses"]["200"] = {"$ref": f"#/components/responses/{each['operationId']}"}
    return root


def key_for_all(node: Document) -> Document:
    if "paths" in node:
        return {**node, "security": [{"key": []}]}
    return {name: each for name, each in node.items() if name != "security"}


SPELLINGS = [one_of, nullable, type_list, explained, null_default, not_required, referred, key_for_all]


@pytest.mark.parametrize("rewrite", SPELLINGS, ids=lambda rewrite: str(rewrite.__name__))
def test_spelling_makes_no_difference(rewrite: Callable[[Document], Document]) -> None:
    """A document that says the same in other words has no difference."""
    other = spelled(document(), rewrite)
    assert other != document()
    assert [] == differences(other)


def leaves() -> st.SearchStrategy[Schema]:
    texts = st.frozensets(st.sampled_from("abc"), min_size=1).map(lambda values: tuple(sorted(values)))
    bounds = st.dictionaries(st.sampled_from(["minLength", "maxLength"]), st.integers(2, 3))
    types = st.sampled_from(["string", "integer", "number", "boolean"]).map(lambda name: frozenset({name}))
    return st.builds(Schema, types=types, limits=bounds, values=st.none() | texts)


def larger(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    field = st.builds(Field, inner, st.booleans(), default=st.sampled_from([None, 0, "a"]))
    arrays = st.builds(Schema, types=st.just(frozenset({"array"})), items=inner)
    objects = st.dictionaries(st.sampled_from("fg"), field).map(an_object)
    return arrays | objects | inner.map(lambda schema: attrs.evolve(schema, types=schema.types | {"null"}))


SCHEMAS = st.recursive(leaves(), larger, max_leaves=4)


@given(SCHEMAS, SCHEMAS)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_equal_or_told(one: Schema, other: Schema) -> None:
    """Any two schemas have a difference exactly when they are not the same, in a body and in an answer."""

    def operation(schema: Schema) -> Operation:
        return Operation(id="o", method="POST", path=PREFIX, body=Field(schema), answers={"200": schema})

    assert [] == differences(document(operation(one)), [operation(one)])
    assert (one != other) == bool(differences(document(operation(other)), [operation(one)]))


# Models


@attrs.frozen(kw_only=True)
class Place:
    """A model that is wrong in four fields, to be told from a right one."""

    latitude: int
    longitude: float = 0.0
    address: str
    town: str | None = None


def test_a_wrong_model_is_told() -> None:
    """A model with a wrong type, default, null or name differs from a document that was right before."""
    right = document(*[each for each in OPERATIONS if each.id == "createConversation"])
    right["paths"][PREFIX]["post"]["responses"]["200"] = {
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Geolocation"}}}
    }
    (stated,) = [each for each in OPERATIONS if each.id == "createConversation"]
    assert [
        "createConversation: Place.latitude in the answer is number in the file, integer in the statement.",
        "createConversation: Place.longitude in the answer is required in the file, optional in the statement.",
        "createConversation: Place.longitude in the answer has default none in the file, 0.0 in the statement.",
        "createConversation: Place.address in the answer is optional in the file, required in the statement.",
        "createConversation: Place.address in the answer is string or null in the file, string in the statement.",
        "createConversation: Place.town in the answer is in the statement and not in the file.",
        "createConversation: Place.google_place_id in the answer is in the file and not in the statement.",
        "createConversation: Place.location_type in the answer is in the file and not in the statement.",
    ] == differences(right, [attrs.evolve(stated, answers={"200": read_off(Place)})])


# What is known


def test_known_differences_are_set_apart() -> None:
    """A known difference is accepted with its reason, another one is new, and a known one that is not there is gone."""
    changing = Changing()
    changing.body("updateConversation").update(required=["title"])
    changing.operation("createConversation").update(deprecated=True)
    known, new = differences(changing.root)
    excuses = {known: "a reason", "listConversations: nothing of the kind.": "an old one"}
    verdict = judge(changing.root, OPERATIONS, known=excuses)
    assert [new] == verdict.new
    assert {known: "a reason"} == verdict.accepted
    assert ["listConversations: nothing of the kind."] == verdict.gone


def test_known_differences_can_occur() -> None:
    """Each of the project's own known differences is a sentence that a document can cause, and has a reason."""
    assert set(KNOWN) == set(compare.differences(as_known()))
    assert all(KNOWN.values())


def as_known() -> Document:
    """A document with exactly the known differences."""
    changing = Changing(document(*ALL))
    newer = changing.body("createConversationFromSegments")["properties"]
    for name in (
        "conversation_role",
        "conversation_finalization_reason",
        "client_processing",
        "capture_evidence",
    ):
        newer.pop(name)
    changing.fields("CreatedConversation").pop("meeting_treatment_eligible")
    for path in ("/v1/dev/user/daily-summaries", "/v1/dev/user/daily-summaries/{summary_id}", "/v1/dev/key"):
        changing.root["paths"].pop(path)
    changing.fields("Memory")["tags"].pop("default")
    match = changing.model("MemoryMatch")
    match["additionalProperties"] = True
    match["properties"]["category"]["anyOf"][0].pop("enum")
    goal = changing.model("Goal")
    goal["properties"]["success_criteria"].pop("default")
    for name in ("goal_id", "desired_outcome", "status", "source"):
        goal["properties"][name] = {"type": "string"}
        goal["required"].append(name)
    metric = changing.model("GoalMetric")
    metric["additionalProperties"] = False
    metric["properties"]["unit"]["anyOf"][0]["maxLength"] = 64
    bounded = copy.deepcopy(changing.model("Geolocation"))
    bounded["properties"]["latitude"].update(minimum=-90.0, maximum=90.0)
    bounded["properties"]["longitude"].update(minimum=-180.0, maximum=180.0)
    changing.root["components"]["schemas"]["Bounded"] = bounded
    changing.fields("Conversation")["geolocation"]["anyOf"][0]["$ref"] = "#/components/schemas/Bounded"
    return changing.root


# The command


def test_command_of_an_api_that_stayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known differences alone are printed with their reasons and end with 0."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(as_known()))
    assert 0 == main([str(file)])
    *lines, last = capsys.readouterr().out.splitlines()
    assert sorted(f"known: {sentence} Accepted: {reason}" for sentence, reason in KNOWN.items()) == sorted(lines)
    assert f"32 operations compared: 0 new differences, 0 known ones no longer so, {len(KNOWN)} known." == last


def test_command_of_an_api_that_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new difference is printed and ends with 1, and so does a known one that is gone."""
    changing = Changing(as_known())
    changing.add_operation(f"{PREFIX}/search", "get", "searchConversations")
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(changing.root))
    assert 1 == main([str(file)])
    first = f"new: searchConversations: GET {PREFIX}/search is in the file and not wrapped."
    assert first == capsys.readouterr().out.splitlines()[0]
    file.write_text(json.dumps(document(*ALL)))
    assert 1 == main([str(file)])
    assert [f"no longer so: {sentence}" for sentence in KNOWN] == capsys.readouterr().out.splitlines()[:-1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file"),
        ("<html>", "Expecting value"),
        ("[]", "not an OpenAPI document"),
        ('{"paths": []}', "not an OpenAPI document"),
        ('{"paths": {"/a": {"get": {"parameters": [{"$ref": "#/components/p"}]}}}}', "#/components/p leads nowhere"),
        ('{"paths": {"/a": {"get": {"parameters": [{"$ref": "other.json"}]}}}}', "other.json leads nowhere"),
    ],
    ids=["no file", "not JSON", "a list", "no paths", "reference to nothing", "reference elsewhere"],
)
def test_command_without_a_document(
    text: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be compared ends with 2 and the reason."""
    file = tmp_path / "openapi.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit) as stop:
        main([str(file)])
    assert 2 == stop.value.code
    assert problem in capsys.readouterr().err
