"""Memories."""

from omi_async import Memory, MemoryCategory, MemoryMatch

from ..statement import (
    FLAG,
    INTEGER,
    SUCCESS,
    Call,
    Field,
    Operation,
    an_object,
    array,
    body,
    in_path,
    limited,
    nullable,
    read_off,
    text,
)

PREFIX = "/v1/dev/user/memories"

_MEMORY = read_off(Memory)
_CATEGORY = Field(nullable(read_off(MemoryCategory | str)))
_CONTENT = text(minLength=1, maxLength=500)

_NEW = {
    "content": Field(_CONTENT, required=True),
    "category": _CATEGORY,
    "visibility": Field(text(), default="private"),
    "tags": Field(array(text()), default=[]),
}

_POLICY = an_object(
    {
        "consumer": Field(text(), required=True),
        "app_has_default_memory_grant": Field(FLAG, required=True),
        "archive_capability": Field(FLAG, required=True),
        "raw_provenance_capability": Field(FLAG, required=True),
    }
)

OPERATIONS = (
    Operation(
        id="listMemories",
        method="GET",
        path=PREFIX,
        parameters={
            ("query", "limit"): Field(INTEGER, default=25),
            ("query", "offset"): Field(INTEGER, default=0),
            ("query", "categories"): Field(nullable(text())),
        },
        answers={"200": array(_MEMORY)},
    ),
    Operation(
        id="search_memories_vector_v1_dev_user_memories_vector_search_get",
        method="GET",
        path=f"{PREFIX}/vector/search",
        parameters={
            ("query", "query"): Field(text(minLength=1), required=True),
            ("query", "limit"): Field(limited(INTEGER, 1, 100), default=10),
        },
        answers={
            "200": an_object(
                {
                    "items": Field(array(read_off(MemoryMatch))),
                    "returned_count": Field(INTEGER, required=True),
                    "archive_default_visible": Field(FLAG, required=True),
                    "policy": Field(_POLICY, required=True),
                }
            )
        },
    ),
    Operation(id="createMemory", method="POST", path=PREFIX, body=body(_NEW), answers={"200": _MEMORY}),
    Operation(
        id="createMemoriesBatch",
        method="POST",
        path=f"{PREFIX}/batch",
        body=body({"memories": Field(array(an_object(_NEW), maxItems=25), required=True)}),
        answers={
            "200": an_object(
                {
                    "memories": Field(array(_MEMORY), required=True),
                    "created_count": Field(INTEGER, required=True),
                }
            )
        },
    ),
    Operation(
        id="updateMemory",
        method="PATCH",
        path=f"{PREFIX}/{{memory_id}}",
        parameters=in_path("memory_id"),
        body=body(
            {
                "content": Field(nullable(_CONTENT)),
                "visibility": Field(nullable(text())),
                "tags": Field(nullable(array(text()))),
                "category": _CATEGORY,
            }
        ),
        answers={"200": _MEMORY},
    ),
    Operation(
        id="deleteMemory",
        method="DELETE",
        path=f"{PREFIX}/{{memory_id}}",
        parameters=in_path("memory_id"),
        answers={"200": SUCCESS},
    ),
)

CALLS = {
    "listMemories": Call(
        "memories.list", renamed={"limit": "page_size"}, filled=frozenset({"offset"}), own=frozenset({"limit"})
    ),
    "search_memories_vector_v1_dev_user_memories_vector_search_get": Call("memories.search"),
    "createMemory": Call("memories.create"),
    "createMemoriesBatch": Call("memories.create_batch"),
    "updateMemory": Call("memories.update"),
    "deleteMemory": Call("memories.delete"),
}
