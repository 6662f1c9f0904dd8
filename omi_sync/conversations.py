# Made from omi_async/resources/conversations.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The conversations resource for synchronous code."""

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from omi_async.client import AsyncOmiClient
from omi_async.models.archive import Recreation, SaveProgress, SaveResult
from omi_async.models.bulk import BulkProgress
from omi_async.models.conversations import (
    Category,
    Conversation,
    ConversationAnswer,
    CreatedConversation,
    Geolocation,
    NewTranscriptSegment,
)
from omi_async.models.shared import Deletion
from omi_async.resources.conversations import ConversationUpdate
from omi_async.retry import RetryPolicy, Timeout

from ._bridge import Bridge, original
from ._calls import Calls
from ._iterate import feed, relayed, run_with
from .bulk import Bulk
from .paging import Listing

if TYPE_CHECKING:
    from .archive import Archive


class Conversations:
    """Conversations of the key's user, reached as `client.conversations`.

    Every write costs one of the key's allowance, which the server keeps small (we have observed 25 an hour) and counts
    for refused writes too. So the client refuses here whatever it can, before anything is sent.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
    `conversations:read` or, for writes, `conversations:write`; `AuthenticationError`; `RateLimitError`;
    `RouteNotFoundError` from a server that does not have the operation; `TransportError`, `ServerError` and
    `ResponseError`. The `outcome` of each tells whether the write may have been applied.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:
        self._bridge = bridge

    def update(
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
        coroutine = self._bridge.target.conversations.update(
            conversation_id, title=title, discarded=discarded, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)

    def delete(
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
        coroutine = self._bridge.target.conversations.delete(
            conversation_id, timeout=timeout, retry=retry, keep=original(keep)
        )
        return self._bridge.run(coroutine)

    def get(
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
        coroutine = self._bridge.target.conversations.get(
            conversation_id, include_transcript=include_transcript, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)

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
    ) -> Listing[Conversation]:
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
        target = self._bridge.target.conversations.list(
            start_date=start_date,
            end_date=end_date,
            categories=categories,
            folder_id=folder_id,
            starred=starred,
            include_transcript=include_transcript,
            limit=limit,
            page_size=page_size,
            timeout=timeout,
            retry=retry,
        )
        return Listing(self._bridge, target)

    def create(
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
        coroutine = self._bridge.target.conversations.create(
            text,
            text_source=text_source,
            text_source_spec=text_source_spec,
            started_at=started_at,
            finished_at=finished_at,
            language=language,
            geolocation=geolocation,
            timeout=timeout,
            retry=retry,
        )
        return self._bridge.run(coroutine)

    def create_from_segments(
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
        coroutine = self._bridge.target.conversations.create_from_segments(
            segments,
            client_session_id=client_session_id,
            source=source,
            started_at=started_at,
            finished_at=finished_at,
            language=language,
            geolocation=geolocation,
            client_device_id=client_device_id,
            client_platform=client_platform,
            conversation_role=conversation_role,
            conversation_finalization_reason=conversation_finalization_reason,
            client_processing=client_processing,
            capture_evidence=capture_evidence,
            timeout=timeout,
            retry=retry,
        )
        return self._bridge.run(coroutine)

    def ask(
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
        coroutine = self._bridge.target.conversations.ask(
            question, limit=limit, timezone=timezone, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)

    def update_many(
        self,
        updates: Iterable[ConversationUpdate],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> Bulk[Conversation]:
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
        items = feed(updates)
        target = self._bridge.target.conversations.update_many(
            items, concurrency=concurrency, journal=journal, on_progress=relayed(items, on_progress), wait=wait
        )
        return Bulk(self._bridge, target, items)

    def delete_many(
        self,
        ids: Iterable[str],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
        keep: "Archive | None" = None,
    ) -> Bulk[Deletion]:
        """Delete many conversations for good, each as `delete` would, and report each one as it completes.

        This cannot be undone; `update_many` with `discarded=True` hides them instead. Arguments, pacing, journal and
        errors are those of `update_many`. An id whose deletion an earlier run may have carried out, and which is not
        found any more, is reported as `unconfirmed`.

        `keep` is an archive, in which each conversation is stored durably before its deletion is sent, as with
        `delete`. The job then keeps pace with the windows of reads with transcripts and of writes. A conversation that
        cannot be kept, as a locked one, is not deleted and reported as `failed`.
        """
        items = feed(ids)
        target = self._bridge.target.conversations.delete_many(
            items,
            concurrency=concurrency,
            journal=journal,
            on_progress=relayed(items, on_progress),
            wait=wait,
            keep=original(keep),
        )
        return Bulk(self._bridge, target, items)

    def save_to(
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
        calls = Calls()
        coroutine = self._bridge.target.conversations.save_to(
            original(archive),
            start_date=start_date,
            end_date=end_date,
            include_transcripts=include_transcripts,
            overlap=overlap,
            full=full,
            on_progress=relayed(calls, on_progress),
            wait=wait,
        )
        return run_with(self._bridge, coroutine, calls)

    def recreate(
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
        coroutine = self._bridge.target.conversations.recreate(
            original(archive), conversation_id, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)
