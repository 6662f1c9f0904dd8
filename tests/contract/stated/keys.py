"""API keys."""

from omi_async import ApiKey, CreatedApiKey

from ..statement import Call, Field, Operation, array, body, in_path, nullable, read_off, text

PREFIX = "/v1/dev/keys"

_KEY = read_off(ApiKey)
_SIGNED_IN = frozenset({"id_token"})

OPERATIONS = (
    Operation(id="getCallingApiKey", method="GET", path="/v1/dev/key", answers={"200": _KEY}),
    Operation(id="listApiKeys", method="GET", path=PREFIX, answers={"200": array(_KEY)}),
    Operation(
        id="createApiKey",
        method="POST",
        path=PREFIX,
        body=body({"name": Field(text(), required=True), "scopes": Field(nullable(array(text())))}),
        answers={"200": read_off(CreatedApiKey)},
    ),
    Operation(
        id="revokeApiKey",
        method="DELETE",
        path=f"{PREFIX}/{{key_id}}",
        parameters=in_path("key_id"),
        answers={"204": None},
    ),
)

CALLS = {
    "getCallingApiKey": Call("keys.current"),
    "listApiKeys": Call("keys.list", own=_SIGNED_IN),
    "createApiKey": Call("keys.create", own=_SIGNED_IN),
    "revokeApiKey": Call("keys.revoke", own=_SIGNED_IN),
}
