"""Folders: what is stored, and the list of them."""

from datetime import UTC, datetime

import attrs

from omi_async.sandbox.api import Generation, Incoming, Route
from omi_async.sandbox.conversations import ALL_READS, LISTS, READ
from omi_async.sandbox.replies import Kind, Reply, json_reply
from omi_async.sandbox.store import Store, check_aware, check_readable, wire_time

FOLDER = Kind("Folder")


@attrs.frozen
class SandboxFolder:
    """One stored folder, by the API's field names; to change it, put another in its place.

    A folder whose `order` is None is not listed. Only the server of May 2026 sends `category_mapping`.
    `unreadable` stands for a row that the server cannot send. Raises ValueError for a time without a zone.
    """

    id: str
    name: str = attrs.field(default="Folder", repr=False)
    description: str | None = attrs.field(default=None, repr=False)
    color: str = "#6B7280"
    icon: str = "📁"
    created_at: datetime = attrs.field(default=datetime(2026, 9, 1, 9, 0, tzinfo=UTC), validator=check_aware)
    updated_at: datetime = attrs.field(default=datetime(2026, 9, 1, 9, 0, tzinfo=UTC), validator=check_aware)
    order: int | None = 0
    is_default: bool = False
    is_system: bool = False
    conversation_count: int = 0
    category_mapping: str | None = None
    unreadable: bool = False


class Folders:
    """The endpoint of folders."""

    def __init__(self, store: Store[SandboxFolder], generation: Generation) -> None:
        self._store = store
        self._old = generation != "newest"

    @property
    def routes(self) -> tuple[Route, ...]:
        """The list; it is counted with the lists of conversations."""
        path = "/v1/dev/user/folders"
        windows = (ALL_READS, LISTS)
        return (Route(method="GET", path=path, handler=self._list, kind=FOLDER, scope=READ, windows=windows),)

    def _list(self, _: Incoming) -> Reply:
        placed = [(folder.order, folder) for folder in self._store.all() if folder.order is not None]
        placed.sort(key=lambda pair: pair[0])
        return json_reply(200, self._store.rows((folder for _, folder in placed), self._to_json))

    def _to_json(self, folder: SandboxFolder) -> dict[str, object]:
        check_readable(folder)
        row: dict[str, object] = {
            "id": folder.id,
            "name": folder.name,
            "description": folder.description,
            "color": folder.color,
            "icon": folder.icon,
            "created_at": wire_time(folder.created_at),
            "updated_at": wire_time(folder.updated_at),
            "order": folder.order,
            "is_default": folder.is_default,
            "is_system": folder.is_system,
            "conversation_count": folder.conversation_count,
        }
        return {**row, "category_mapping": folder.category_mapping} if self._old else row
