"""The conversations resource: the requests it builds, and one short method for each operation."""

import functools
import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .._jobs.items import Items
from .._late import load
from .._protocol import arguments
from .._protocol.arguments import refused
from .._protocol.collection import Collection, Page, value
from .._protocol.request import Request, builder
from ..bulk import AsyncBulk, start
from ..models.archive import Recreation, SaveProgress, SaveResult
from ..models.bulk import BulkProgress
from ..models.conversations import (
    Category,
    Conversation,
    ConversationAnswer,
    CreatedConversation,
    Geolocation,
    NewTranscriptSegment,
)
from ..models.shared import Deletion, Model
from ..pacing import windows
from ..paging import AsyncListing, ByTime
from ..retry import Retrier, RetryPolicy, Timeout

if TYPE_CHECKING:
    from ..archive.keep import Keeper
    from ..archive.store import Archive

_CONVERSATIONS = Collection("conversations", "/v1/dev/user/conversations", "Conversation", Conversation)

_TRANSCRIPT_WINDOWS = windows("GET", f"{_CONVERSATIONS.path}?include_transcript=true")
_SEGMENTS_WINDOWS = windows("POST", _CONVERSATIONS.of("from-segments"))

_TITLE_LENGTH = 500  # characters, https://docs.omi.me, UpdateConversationRequest.title

_LARGEST_PAGE = 200
# What every server gives. Of a larger number some give less and do not say so, which looks like hidden rows.
_USUAL_PAGE = 100
_USUAL_PAGE_WITH_TRANSCRIPTS = 25

_TEXT_LENGTH = 100_000  # characters
_TEXT_SOURCES = ("audio_transcript", "message", "other_text")
_MOST_SEGMENTS = 500
_SESSION_ID_LENGTH = 200  # characters
_ROLES = ("ambient", "meeting")
_ASK = "/v1/dev/user/ask"
_QUESTION_LENGTH = 1000  # characters
_MOST_SOURCES = 10
# What the server looks up as a file; a name that leads elsewhere is refused there.
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_ZONE_LENGTH = 64  # characters
_LATEST = 1e10  # seconds into a recording; the server computes a date from them, which must exist


@attrs.frozen(eq=False, repr=False)
class ConversationUpdate(Model):
    """One item of `update_many`; title and discarded as in `update`."""

    conversation_id: str
    title: str | None = attrs.field(default=None, kw_only=True, repr=False)
    discarded: bool | None = attrs.field(default=None, kw_only=True)


# Requests


def _title(title: str) -> str:
    # Older servers store a blank title as "", newer ones store padded ones stripped: stripped is right on all. So its
    # length counts stripped as well.
    stripped = arguments.text(title, "title", strip=True)
    arguments.check_length(len(stripped), "title", _TITLE_LENGTH)
    return stripped


@builder
def update_conversation(conversation_id: str, title: str | None, discarded: bool | None) -> Request[Conversation]:
    """Build the request of `update`."""
    record_id = arguments.identifier(conversation_id, "conversation_id")
    changes = arguments.changes(
        title=None if title is None else _title(title),
        discarded=None if discarded is None else arguments.flag(discarded, "discarded"),
    )
    return _CONVERSATIONS.update(record_id, changes)


@builder
def update_item(item: ConversationUpdate) -> Request[Conversation]:
    """Build the request of one item of `update_many`."""
    if not isinstance(item, ConversationUpdate):
        raise TypeError(f"an update must be a ConversationUpdate, not {arguments.kind(item)}")
    made = update_conversation(item.conversation_id, item.title, item.discarded)
    if isinstance(made, Exception):
        raise made
    return made


@builder
def delete_conversation(conversation_id: str) -> Request[Deletion]:
    """Build the request of `delete`."""
    return _CONVERSATIONS.delete(arguments.identifier(conversation_id, "conversation_id"))


@builder
def get_conversation(conversation_id: str, include_transcript: bool) -> Request[Conversation]:
    """Build the request of `get`."""
    record_id = arguments.identifier(conversation_id, "conversation_id")
    if not arguments.flag(include_transcript, "include_transcript"):
        return _CONVERSATIONS.get(record_id)
    return attrs.evolve(_CONVERSATIONS.get(record_id, "?include_transcript=true"), windows=_TRANSCRIPT_WINDOWS)


def conversation_pages(
    start_date: datetime | None,
    end_date: datetime | None,
    categories: Iterable[Category | str] | None,
    folder_id: str | None,
    starred: bool | None,
    include_transcript: bool,
    page_size: int | None,
) -> ByTime[Conversation]:
    """Build the pages of `list`; raises for a bad argument."""
    start = arguments.optional(arguments.utc, start_date, "start_date")
    end = arguments.optional(arguments.utc, end_date, "end_date")
    arguments.check_order(start, end)
    filters = {} if start is None else {"start_date": arguments.moment(start, "start_date")}
    if categories is not None:
        filters["categories"] = arguments.words(categories, "categories")
    if folder_id is not None:
        filters["folder_id"] = arguments.word(folder_id, "folder_id")
    if starred is not None:
        filters["starred"] = "true" if arguments.flag(starred, "starred") else "false"
    usual = _USUAL_PAGE
    if arguments.flag(include_transcript, "include_transcript"):
        filters["include_transcript"] = "true"
        usual = _USUAL_PAGE_WITH_TRANSCRIPTS
    size = usual if page_size is None else arguments.size(page_size, "page_size", largest=_LARGEST_PAGE)
    return ByTime(
        functools.partial(_page, filters, size),
        size=size,
        start=start,
        end=end,
        moment=lambda conversation: conversation.created_at,
    )


def _page(filters: dict[str, str], size: int, end_date: datetime | None, offset: int) -> Request[Page[Conversation]]:
    """One page of what was created until `end_date`."""
    bounds = {} if end_date is None else {"end_date": arguments.moment(end_date, "end_date")}
    request = _CONVERSATIONS.page({**filters, **bounds}, size, offset)
    if "include_transcript" in filters:
        request.windows = _TRANSCRIPT_WINDOWS
    return request


@builder
def create_conversation(
    text: str,
    text_source: str | None,
    text_source_spec: str | None,
    started_at: datetime | None,
    finished_at: datetime | None,
    language: str | None,
    geolocation: Geolocation | None,
) -> Request[CreatedConversation]:
    """Build the request of `create`."""
    fields: dict[str, object] = {"text": arguments.text(text, "text", longest=_TEXT_LENGTH)}
    if text_source is not None:
        fields["text_source"] = arguments.word(text_source, "text_source")
        if fields["text_source"] not in _TEXT_SOURCES:
            raise refused(f"text_source must be one of {', '.join(_TEXT_SOURCES)}.")
    fields |= arguments.texts(text_source_spec=text_source_spec, language=language)
    fields |= _times(started_at, finished_at)
    if started_at is not None and finished_at is not None and finished_at < started_at:
        raise refused("finished_at must not be before started_at.")
    if geolocation is not None:
        fields["geolocation"] = _place(geolocation)
    request: Request[CreatedConversation] = _CONVERSATIONS.write(
        "create", _CONVERSATIONS.path, fields, value(CreatedConversation), effect="once"
    )
    request.slow = True
    return request


@builder
def create_conversation_from_segments(
    segments: Iterable[NewTranscriptSegment],
    client_session_id: str | None,
    source: str | None,
    started_at: datetime | None,
    finished_at: datetime | None,
    language: str | None,
    geolocation: Geolocation | None,
    client_device_id: str | None,
    client_platform: str | None,
    conversation_role: str | None,
    conversation_finalization_reason: str | None,
    client_processing: Mapping[str, Any] | None,
    capture_evidence: Mapping[str, Any] | None,
) -> Request[CreatedConversation]:
    """Build the request of `create_from_segments`."""
    # The server recognizes a session, so that a repeated request does not make a second conversation.
    session = uuid.uuid4().hex if client_session_id is None else client_session_id
    fields: dict[str, object] = {
        "transcript_segments": [
            _segment(segment, f"segments[{position}]")
            for position, segment in enumerate(
                arguments.many(segments, "segments", largest=_MOST_SEGMENTS, what="NewTranscriptSegment")
            )
        ],
        "client_session_id": arguments.word(session, "client_session_id", longest=_SESSION_ID_LENGTH),
    }
    fields |= arguments.texts(
        source=source,
        language=language,
        client_device_id=client_device_id,
        client_platform=client_platform,
        conversation_role=conversation_role,
        conversation_finalization_reason=conversation_finalization_reason,
    )
    if conversation_role is not None and fields["conversation_role"] not in _ROLES:
        raise refused("conversation_role must be ambient or meeting.")
    if client_processing is not None:
        fields["client_processing"] = arguments.document(client_processing, "client_processing")
    if capture_evidence is not None:
        fields["capture_evidence"] = arguments.document(capture_evidence, "capture_evidence")
    fields |= _times(started_at, finished_at)
    if started_at is not None and finished_at is not None and finished_at <= started_at:
        raise refused("finished_at must be after started_at.")
    if geolocation is not None:
        fields["geolocation"] = _place(geolocation)
    request: Request[CreatedConversation] = _CONVERSATIONS.write(
        "create_from_segments",
        _CONVERSATIONS.of("from-segments"),
        fields,
        value(CreatedConversation),
        effect="repeatable",
    )
    request.windows = _SEGMENTS_WINDOWS
    request.still_running_on_409 = True
    request.slow = True
    return request


@builder
def ask(question: str, limit: int, timezone: str) -> Request[ConversationAnswer]:
    """Build the request of `ask`."""
    zone = arguments.word(timezone, "timezone", longest=_ZONE_LENGTH, strip=True)
    # One that every database has shows that this machine has one.
    if not _ZONE.fullmatch(zone) or (not _is_zone(zone) and _is_zone("America/New_York")):
        raise refused("timezone must be an IANA name, such as Europe/Lisbon.")
    fields: dict[str, object] = {
        "question": arguments.text(question, "question", longest=_QUESTION_LENGTH),
        "limit": arguments.whole(limit, "limit", largest=_MOST_SOURCES),
        "timezone": zone,
    }
    request: Request[ConversationAnswer] = _CONVERSATIONS.write(
        "ask", _ASK, fields, value(ConversationAnswer), effect="none"
    )
    request.windows = windows("POST", _ASK)
    request.slow = True
    return request


def _is_zone(name: str) -> bool:
    """Whether this machine knows a time zone. It knows none but UTC where it has no database of them."""
    zoneinfo = load("zoneinfo")  # which only this call needs
    try:
        return name == "UTC" or zoneinfo.ZoneInfo(name) is not None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _times(started_at: datetime | None, finished_at: datetime | None) -> dict[str, object]:
    times = {"started_at": started_at, "finished_at": finished_at}
    return {name: arguments.moment(time, name) for name, time in times.items() if time is not None}


def _place(place: Geolocation) -> dict[str, object]:
    if not isinstance(place, Geolocation):
        raise TypeError(f"geolocation must be a Geolocation, not {arguments.kind(place)}")
    fields: dict[str, object] = {
        "latitude": arguments.number(place.latitude, "geolocation.latitude", lowest=-90, highest=90),
        "longitude": arguments.number(place.longitude, "geolocation.longitude", lowest=-180, highest=180),
    }
    for name in ("google_place_id", "address", "location_type"):
        text = getattr(place, name)
        if text is not None:
            fields[name] = arguments.word(text, f"geolocation.{name}")
    return fields


def _segment(segment: NewTranscriptSegment, name: str) -> dict[str, object]:
    if not isinstance(segment, NewTranscriptSegment):
        raise TypeError(f"{name} must be a NewTranscriptSegment, not {arguments.kind(segment)}")
    begin = arguments.number(segment.start, f"{name}.start", lowest=0, highest=_LATEST)
    end = arguments.number(segment.end, f"{name}.end", lowest=0, highest=_LATEST)
    if end <= begin:
        raise refused(f"{name}.end must be after its start.")
    fields: dict[str, object] = {"text": arguments.text(segment.text, f"{name}.text"), "start": begin, "end": end}
    if segment.speaker is not None:
        fields["speaker"] = arguments.word(segment.speaker, f"{name}.speaker")
    if segment.speaker_id is not None:
        if type(segment.speaker_id) is not int:
            raise TypeError(f"{name}.speaker_id must be an int or None, not {arguments.kind(segment.speaker_id)}")
        if abs(segment.speaker_id) >= arguments.LARGEST_INTEGER:
            raise refused(f"{name}.speaker_id is too large.")
        fields["speaker_id"] = segment.speaker_id
    if arguments.flag(segment.is_user, f"{name}.is_user"):
        fields["is_user"] = True
    if segment.person_id is not None:
        fields["person_id"] = arguments.word(segment.person_id, f"{name}.person_id")
    return fields


# Calls


class AsyncConversations:
    """Conversations of the key's user, reached as `client.conversations`.

    Every write costs one of the key's allowance, which the server keeps small (we have observed 25 an hour) and counts
    for refused writes too. So the client refuses here whatever it can, before anything is sent.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
    `conversations:read` or, for writes, `conversations:write`; `AuthenticationError`; `RateLimitError`;
    `RouteNotFoundError` from a server that does not have the operation; `TransportError`, `ServerError` and
    `ResponseError`. The `outcome` of each tells whether the write may have been applied.
    """

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    async def update(
        self,
        conversation_id: str,
        *,
        title: str | None = None,
        discarded: bool | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Conversation:
        """Rename a conversation, hide it, or bring it back.

        `title` is 1 to 500 characters, sent stripped; it stays when Omi processes the conversation again. `discarded`
        hides (True) or restores (False). Lists leave a hidden conversation out, and `get` still finds it. None leaves
        a value as it is, and giving neither is refused. The values are absolute, so repeating an update does no harm.
        The server stores title and discarded one after the other: an update of both whose outcome is unknown may be
        half done.

        The answer is the whole conversation with its transcript, as the server holds it afterwards. It does not tell
        whether the conversation is discarded.

        Raises `NotFoundError`, and `PaymentRequiredError` for a locked conversation.

        Source: https://docs.omi.me (updateConversation) and observed behavior.
        """
        request = update_conversation(conversation_id, title, discarded)
        return await self._retrier.call(request, timeout, retry)

    async def delete(
        self,
        conversation_id: str,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
        keep: "Archive | None" = None,
    ) -> Deletion:
        """Delete a conversation for good. To hide it instead, update it with `discarded=True`.

        This cannot be undone. Memories, action items and audio that came from the conversation stay. If an attempt
        went unanswered and the next one found nothing, the conversation is gone and `Deletion.confirmed` is False.

        `keep` is an archive: the conversation is first fetched with its transcript and stored there, durably. What
        cannot be fetched or stored is not deleted, and the error says why. `recreate` makes a conversation of the copy.

        Raises `NotFoundError` if no attempt before can have removed it, and `PaymentRequiredError` for a locked
        conversation.

        Source: https://docs.omi.me (deleteConversation) and observed behavior.
        """
        request = delete_conversation(conversation_id)
        if keep is None or isinstance(request, Exception):
            return await self._retrier.call(request, timeout, retry)
        keeper = self._keeper(keep)
        await keeper.prepare(conversation_id)
        deletion = await self._retrier.call(request, timeout, retry)
        keeper.done(conversation_id)
        return deletion

    async def get(
        self,
        conversation_id: str,
        *,
        include_transcript: bool = False,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Conversation:
        """Fetch a conversation by its id, a discarded one as well.

        `transcript_segments` is None unless `include_transcript` is True. The server allows fewer reads with
        transcripts: we have observed 25 an hour, of 60 in all. When those are spent, reads without go on.

        Raises `NotFoundError`, also for a locked conversation, which a write answers with `PaymentRequiredError`.

        Source: https://docs.omi.me (getConversation) and observed behavior.
        """
        request = get_conversation(conversation_id, include_transcript)
        return await self._retrier.call(request, timeout, retry)

    def list(
        self,
        *,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        categories: Iterable[Category | str] | None = None,
        folder_id: str | None = None,
        starred: bool | None = None,
        include_transcript: bool = False,
        limit: int | None = None,
        page_size: int | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AsyncListing[Conversation]:
        """List conversations, newest first, without those that are discarded or still being processed.

        Each filter restricts the list; the dates are those of creation and must be timezone-aware.
        `transcript_segments` is None unless `include_transcript` is True. `limit` is how many conversations the list
        gives at most, all by default. `page_size` is how many are fetched at a time, 100 by default, with transcripts
        25, and at most 200, of which older servers give fewer. Pages are fetched as they are consumed. Each costs one
        of the reads that the server allows (we have observed 60 an hour, 25 of them with transcripts), and the end of
        the list costs two.

        Each conversation comes once, even if others are added or hidden meanwhile. The server leaves locked ones out;
        `gaps` of the result tells more. `timeout` and `retry` hold for each page.

        Bad arguments are refused at once. Iterating raises `BadRequestError` for a category that the server does not
        know, and `ResponseError` also if a single conversation cannot be read.

        Source: https://docs.omi.me (listConversations) and observed behavior.
        """
        pages = conversation_pages(start_date, end_date, categories, folder_id, starred, include_transcript, page_size)
        return AsyncListing(self._retrier, pages, arguments.limit(limit), timeout, retry)

    async def create(
        self,
        text: str,
        *,
        text_source: Literal["audio_transcript", "message", "other_text"] | None = None,
        text_source_spec: str | None = None,
        started_at: datetime | None = None,
        finished_at: datetime | None = None,
        language: str | None = None,
        geolocation: Geolocation | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> CreatedConversation:
        """Have Omi make a conversation of a text.

        `text` is 1 to 100,000 characters and not blank; `text_source` says what it is, and `text_source_spec` where
        it is from, such as `email`. Times must be timezone-aware and in order. None leaves a value to the server:
        other text, begun now, five minutes long, in English.

        A language model reads the text before the server answers. A client without timeouts of its own waits up to
        130 seconds for an attempt and 300 in all. The server cannot tell a repeated text from a second one, so an
        attempt that may have been carried out is not repeated: the error's `outcome` is then `unknown`, and making
        the call again may make a second conversation. `create_from_segments` can be repeated safely.

        Source: https://docs.omi.me (createConversation) and observed behavior.
        """
        request = create_conversation(
            text, text_source, text_source_spec, started_at, finished_at, language, geolocation
        )
        return await self._retrier.call(request, timeout, retry)

    async def create_from_segments(
        self,
        segments: Iterable[NewTranscriptSegment],
        *,
        client_session_id: str | None = None,
        source: str | None = None,
        started_at: datetime | None = None,
        finished_at: datetime | None = None,
        language: str | None = None,
        geolocation: Geolocation | None = None,
        client_device_id: str | None = None,
        client_platform: str | None = None,
        conversation_role: Literal["ambient", "meeting"] | None = None,
        conversation_finalization_reason: str | None = None,
        client_processing: Mapping[str, Any] | None = None,
        capture_evidence: Mapping[str, Any] | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> CreatedConversation:
        """Have Omi make a conversation of a transcript; repeating it makes no second one.

        There are 1 to 500 `segments`. `client_session_id`, of 1 to 200 characters, names the recording: a later call
        with the same name gives the conversation that was made first, even if it was deleted since (`status` is then
        `deleted`). Without a name the call makes one up, so that its own attempts are safe to repeat; give one of
        your own if another run of your program may repeat the call. `source` is the device
        or service, such as `phone`. Times must be timezone-aware and in order. None leaves a value to the server.
        `client_processing` and `capture_evidence` are sent as they are. They, the role and the reason are for newer
        servers; older ones ignore them.

        A language model reads the transcript before the server answers. A client without timeouts of its own waits
        up to 130 seconds for an attempt and 300 in all.

        Raises `ConflictError` while the server still works on the same session: for another call, or for an
        unanswered attempt of this one, whose `outcome` is then `unknown`.

        Source: https://docs.omi.me (createConversationFromSegments) and observed behavior.
        """
        request = create_conversation_from_segments(
            segments,
            client_session_id,
            source,
            started_at,
            finished_at,
            language,
            geolocation,
            client_device_id,
            client_platform,
            conversation_role,
            conversation_finalization_reason,
            client_processing,
            capture_evidence,
        )
        return await self._retrier.call(request, timeout, retry)

    async def ask(
        self,
        question: str,
        *,
        limit: int = 5,
        timezone: str = "UTC",
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> ConversationAnswer:
        """Have Omi answer a question from the user's conversations.

        `question` is 1 to 1000 characters; `limit` is how many conversations the answer is made from, 1 to 10.
        `timezone`, an IANA name such as `Europe/Lisbon`, says what a word like yesterday means. Nothing is changed.
        Discarded and locked conversations are not used. Where nothing is found the answer says so and has no sources.

        A language model reads the conversations before the server answers. A client without timeouts of its own waits
        up to 130 seconds for an attempt and 300 in all. Questions have an allowance of their own: we have observed 25
        an hour.

        Source: https://docs.omi.me (ask) and observed behavior.
        """
        return await self._retrier.call(ask(question, limit, timezone), timeout, retry)

    def update_many(
        self,
        updates: Items[ConversationUpdate],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> AsyncBulk[Conversation]:
        """Update many conversations, each as `update` would, and report each one as it completes.

        `updates` is pulled as the job goes. At most `concurrency` requests are under way at once, never two for one
        id, and those of one id in the order of the input. One bad item does not stop the others. When the
        server's window is spent the job waits for the next one, which may take an hour; with `wait=False` it stops.

        `journal` is a file that makes the job resumable: run it again with the same input and journal after it was
        interrupted, however that came about, and it goes on; only what is not settled yet is reported. It holds ids
        and outcomes, no titles and no key. `on_progress` is called after each item and when a wait begins.

        Iterating raises `JournalError` for a journal that cannot be opened, and `BulkStoppedError` when something
        happens that would fail every further item. Bad settings raise `ConfigurationError` at once.
        """
        return start(
            self._retrier,
            updates,
            update_item,
            id_of=lambda update: getattr(update, "conversation_id", update),
            kind="conversations.update",
            window=_CONVERSATIONS.writes,
            concurrency=concurrency,
            journal=journal,
            on_progress=on_progress,
            wait=wait,
        )

    def delete_many(
        self,
        ids: Items[str],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
        keep: "Archive | None" = None,
    ) -> AsyncBulk[Deletion]:
        """Delete many conversations for good, each as `delete` would, and report each one as it completes.

        This cannot be undone; `update_many` with `discarded=True` hides them instead. Arguments, pacing, journal and
        errors are those of `update_many`. An id whose deletion an earlier run may have carried out, and which is not
        found any more, is reported as `unconfirmed`.

        `keep` is an archive, in which each conversation is stored durably before its deletion is sent, as with
        `delete`. The job then keeps pace with the windows of reads with transcripts and of writes. A conversation that
        cannot be kept, as a locked one, is not deleted and reported as `failed`.
        """
        return start(
            self._retrier,
            ids,
            delete_conversation,
            is_confirmed=lambda deletion: deletion.confirmed,
            kind="conversations.delete",
            window=_CONVERSATIONS.writes,
            concurrency=concurrency,
            journal=journal,
            on_progress=on_progress,
            wait=wait,
            guard=None if keep is None else self._keeper(keep),
        )

    async def save_to(
        self,
        archive: "Archive",
        *,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        include_transcripts: bool = True,
        overlap: timedelta = timedelta(days=7),
        full: bool = False,
        on_progress: Callable[[SaveProgress], None] | None = None,
        wait: bool = True,
    ) -> SaveResult:
        """Save conversations in an archive: all of them at first, later what is new and what has changed.

        The dates are those of creation and restrict what is saved. A later run looks at the list without transcripts,
        as far back as `overlap` before the newest conversation that it knows, or at all of it if `full` is True, and
        fetches what is new or looks different. The list does not show a change of a transcript alone.

        When the server's window of reads is spent, the run waits for the next one, which may take an hour; with
        `wait=False` it raises `RateLimitError`. Every page is stored as it comes: after an interruption or an error,
        call it again, and it goes on. `on_progress` is called after each page, and when a wait begins or ends.

        The server leaves hidden, locked and unfinished conversations out; `gaps` of the result tells where it withholds
        some. What is gone from the server stays in the archive.

        Raises `ArchiveError`, and `ConfigurationError` for bad settings.
        """
        pull = load("omi_async.archive.pull")
        result: SaveResult = await pull.save(
            self._retrier,
            archive,
            self._documents(),
            start_date=start_date,
            end_date=end_date,
            include_transcripts=include_transcripts,
            overlap=overlap,
            full=full,
            on_progress=on_progress,
            wait=wait,
        )
        return result

    async def recreate(
        self,
        archive: "Archive",
        conversation_id: str,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Recreation:
        """Make a conversation of an archive's copy of one that is gone; repeating it makes no second one.

        Omi makes it of the transcript, with its times, language, source and place, and then it gets its title. Its id,
        its summary and all that Omi derives are new; audio and photos are lost, and it is in no folder. `differences`
        of the result lists what is not as before. It costs a read and two writes. After an error, call it again: it
        goes on with what was made.

        A language model reads the transcript before the server answers. A client without timeouts of its own waits
        up to 130 seconds for an attempt and 300 in all.

        Raises `InvalidRequestError` for a conversation that the archive does not have, or has without a transcript;
        `ConflictError` for one that the server still has; `ArchiveError`; and what `create_from_segments` and `update`
        raise.
        """
        room = load("omi_async.archive.recreate")
        requests = room.Requests(get_conversation, create_conversation_from_segments, update_conversation)
        result: Recreation = await room.recreate(self._retrier, archive, conversation_id, requests, timeout, retry)
        return result

    def _documents(self) -> Any:
        return load("omi_async.archive.documents").Source(_page, get_conversation)

    def _keeper(self, archive: "Archive") -> "Keeper":
        room = load("omi_async.archive.keep")
        keeper: Keeper = room.Keeper(self._retrier, archive, self._documents(), _TRANSCRIPT_WINDOWS)
        return keeper
