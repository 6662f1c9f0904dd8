"""A conversation made anew of one that was kept."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from .._database import Connection, storable
from .._protocol.arguments import refused
from .._protocol.convert import Unreadable, structure
from .._protocol.request import Refusal, Request
from ..errors import ConflictError, NotFoundError
from ..models.archive import ArchivedConversation, Recreation
from ..models.conversations import Conversation, CreatedConversation, NewTranscriptSegment, TranscriptSegment
from ..retry import Retrier, RetryPolicy, Timeout
from .rows import writing
from .store import Archive, checked

_MOST_SEGMENTS = 500  # that the server takes
_LONGEST_TITLE = 500

_LOST = ("audio", "photos")
"""What the API neither tells nor takes."""


@attrs.frozen
class Requests:
    """The usual requests that it takes."""

    get: Callable[[str, bool], Request[Conversation] | Refusal]
    create: Callable[..., Request[CreatedConversation] | Refusal]
    update: Callable[[str, str | None, bool | None], Request[Conversation] | Refusal]


async def recreate(
    retrier: Retrier,
    archive: Archive,
    conversation_id: str,
    requests: Requests,
    timeout: Timeout | float | None,
    retry: RetryPolicy | None,
) -> Recreation:
    """Make a conversation of the copy that the archive has."""
    existing = requests.get(conversation_id, False)
    if isinstance(existing, Exception):
        raise existing
    before = _readable(await checked(archive).get(conversation_id))
    try:
        await retrier.call(existing, timeout, retry)
    except NotFoundError as error:
        if error.from_intermediary:
            raise
    else:
        raise ConflictError(
            "the server still has the conversation: recreating it would make a second one.", outcome="not_applied"
        )
    created = await retrier.call(_creation(requests, before), timeout, retry)
    if created.status == "deleted":
        return Recreation(
            id=created.id,
            recreated_from=conversation_id,
            status=created.status,
            conversation=None,
            differences=("id", *_LOST),
        )
    title = before.structured.title.strip()[:_LONGEST_TITLE] or None
    visible = False if created.discarded else None
    renamed = requests.update(created.id, title, visible) if title or created.discarded else None
    after = await retrier.call(renamed or requests.get(created.id, True), timeout, retry)
    await archive._run(partial(_note, conversation_id, created.id))
    return Recreation(
        id=created.id,
        recreated_from=conversation_id,
        status=created.status,
        conversation=after,
        differences=(*_differences(before, after), *_LOST),
    )


def _readable(saved: ArchivedConversation | None) -> Conversation:
    if saved is None:
        raise refused("the archive does not have the conversation.")
    try:
        conversation = structure(saved.json, Conversation)
    except Unreadable as failure:
        problem = str(failure)
    else:
        if not any(segment.text.strip() for segment in conversation.transcript_segments or ()):
            raise refused("the archive has no transcript of the conversation.")
        return conversation
    raise refused(f"the archive's copy cannot be read by this version ({problem}).")


def _creation(requests: Requests, before: Conversation) -> Request[CreatedConversation] | Refusal:
    begin, end = before.started_at, before.finished_at
    is_timed = begin is not None and end is not None and begin < end
    return requests.create(
        _segments(before.transcript_segments or ()),
        client_session_id=f"recreated-{hashlib.sha256(before.id.encode()).hexdigest()[:40]}",
        source=before.source,
        started_at=begin,
        finished_at=end if is_timed else None,
        language=before.language if before.language and before.language.strip() else None,
        geolocation=before.geolocation,
        client_device_id=None,
        client_platform=None,
        conversation_role=None,
        conversation_finalization_reason=None,
        client_processing=None,
        capture_evidence=None,
    )


def _segments(segments: tuple[TranscriptSegment, ...]) -> list[NewTranscriptSegment]:
    """The segments as the server takes them. If they are too many, neighbors become one, of the same speaker first."""
    made = [
        NewTranscriptSegment(
            text=each.text,
            start=max(0.0, each.start),
            end=max(each.end, max(0.0, each.start) + 0.01),
            speaker=None if each.speaker_id is None else f"SPEAKER_{each.speaker_id:02}",
            speaker_id=each.speaker_id,
        )
        for each in segments
        if each.text.strip()
    ]
    if len(made) > _MOST_SEGMENTS:
        made = _merged(made, lambda one, other: one.speaker_id == other.speaker_id)
    while len(made) > _MOST_SEGMENTS:
        made = _merged(made, lambda _one, _other: True)
    return made


def _merged(
    segments: list[NewTranscriptSegment], may_merge: Callable[[NewTranscriptSegment, NewTranscriptSegment], bool]
) -> list[NewTranscriptSegment]:
    """The segments, of which two neighbors at a time become one, until they are few enough."""
    merged: list[NewTranscriptSegment] = []
    left = len(segments) - _MOST_SEGMENTS
    is_made = False  # the last one is two already
    for each in segments:
        if merged and left > 0 and not is_made and may_merge(merged[-1], each):
            text = f"{merged[-1].text}\n{each.text}"
            merged[-1] = attrs.evolve(merged[-1], text=text, end=max(merged[-1].end, each.end))
            left -= 1
            is_made = True
        else:
            merged.append(each)
            is_made = False
    return merged


def _differences(before: Conversation, after: Conversation) -> list[str]:
    """The fields that are not as they were."""
    found = []
    for name, one, other in [
        *_fields(before, after, "", ("structured", "transcript_segments")),
        *_fields(before.structured, after.structured, "structured.", ()),
    ]:
        if one != other:
            found.append(name)
    if _said(before) != _said(after):
        found.append("transcript_segments")
    if any(each.speaker_name for each in before.transcript_segments or ()):
        found.append("transcript_segments.speaker_name")
    return found


def _fields(one: Any, other: Any, prefix: str, without: tuple[str, ...]) -> list[tuple[str, Any, Any]]:
    names = [each.name for each in attrs.fields(type(one)) if each.name not in without]
    return [(prefix + name, getattr(one, name), getattr(other, name)) for name in names]


def _said(conversation: Conversation) -> list[tuple[object, ...]]:
    return [(each.text, each.start, each.end, each.speaker_id) for each in conversation.transcript_segments or ()]


def _note(conversation_id: str, new_id: str, connection: Connection) -> None:
    with writing(connection):
        connection.execute(
            "UPDATE conversations SET recreated_as = ? WHERE id = ?", (storable(new_id), storable(conversation_id))
        )
