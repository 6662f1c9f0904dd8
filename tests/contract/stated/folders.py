"""Folders."""

from omi_async import Folder

from ..statement import Call, Operation, array, read_off

OPERATIONS = (
    Operation(id="listFolders", method="GET", path="/v1/dev/user/folders", answers={"200": array(read_off(Folder))}),
)

CALLS = {"listFolders": Call("folders.list")}
