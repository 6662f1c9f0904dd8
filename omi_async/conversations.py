"""The conversations resource: one short method for each endpoint."""

import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal

from . import _protocol
from .bulk import AsyncBulk, BulkProgress, ConversationUpdate, Items, start
from .errors import InvalidRequestError
from .models import Category, Conversation, CreatedConversation, Deletion, Geolocation, NewTranscriptSegment
from .paging import AsyncListing
from .retry import Retrier, RetryPolicy, Timeout


class AsyncConversations:
    """Conversations of the key's user, reached as `client.conversations`.

    Every write costs one of the key's allowance, which the server keeps small (25 an hour have been seen) and
    counts for refused writes too; so whatever can be refused is refused here, before anything is sent.
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

        `title` is 1 to 500 characters, stripped; it stays when Omi processes the conversation again. `discarded`
        hides (True) or restores (False); a hidden one is left out of lists and still found by its id. None leaves
        a value as it is, and giving neither is refused. The values are absolute, so a repeated update does no harm,
        but title and discarded are stored one after the other: an update of both whose outcome is unknown may
        be half done.

        The answer is the whole conversation with its transcript, as the server holds it afterwards; it does not
        tell whether the conversation is discarded. `timeout` and `retry` replace the client's for this call.

        Raises `InvalidRequestError` or TypeError before anything is sent; `NotFoundError`; `PaymentRequiredError`
        for a locked conversation; `PermissionDeniedError` for a key without `conversations:write`;
        `RateLimitError`; `TransportError`, `ServerError` and `ResponseError`, whose `outcome` tells whether the
        update may have been applied.

        Source: https://docs.omi.me (updateConversation) and observed behaviour.
        """
        request = _protocol.update_conversation(conversation_id, title, discarded)
        del title  # private: a traceback that shows locals must not show it
        return await self._retrier.call(request, timeout, retry)

    async def delete(
        self,
        conversation_id: str,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Deletion:
        """Delete a conversation for good. To hide it instead, update it with `discarded=True`.

        This cannot be undone. Memories, action items and audio that came from the conversation stay. Where an
        attempt went unanswered and its repetition found nothing, the conversation is gone and
        `Deletion.confirmed` is False. `timeout` and `retry` replace the client's for this call.

        Raises `InvalidRequestError` or TypeError before anything is sent; `NotFoundError` if no attempt before
        can have removed it; `PaymentRequiredError` for a locked conversation; `PermissionDeniedError` for a key
        without `conversations:write`; `RateLimitError`; `TransportError`, `ServerError` and `ResponseError`, whose
        `outcome` tells whether it may have been deleted.

        Source: https://docs.omi.me (deleteConversation) and observed behaviour.
        """
        return await self._retrier.call(_protocol.delete_conversation(conversation_id), timeout, retry)

    async def get(
        self,
        conversation_id: str,
        *,
        include_transcript: bool = False,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Conversation:
        """Fetch a conversation by its id, a discarded one as well.

        What was said is left out (`transcript_segments` is None) unless `include_transcript` is True; the server
        allows fewer of those reads (25 an hour have been seen, of 60 in all). `timeout` and `retry` replace the
        client's for this call.

        Raises `InvalidRequestError` or TypeError before anything is sent; `NotFoundError`, also for a locked
        conversation, which a write answers with `PaymentRequiredError`; `PermissionDeniedError` for a key without
        `conversations:read`; `RateLimitError`; `TransportError`, `ServerError` and `ResponseError`.

        Source: https://docs.omi.me (getConversation) and observed behaviour.
        """
        request = _protocol.get_conversation(conversation_id, include_transcript)
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
    ) -> AsyncListing:
        """List conversations, newest first, without those that are discarded or still in the making.

        Each filter restricts the list; the dates are those of creation and must be timezone-aware. What was said is
        left out (`transcript_segments` is None) unless `include_transcript` is True. `limit` is how many
        conversations there are at most, all by default; `page_size` how many are fetched at a time, 100 by default
        and at most, with transcripts 25. Pages are fetched as they are consumed, and each costs one of the reads that
        the server allows (60 an hour have been seen, 25 of them with transcripts); the end of the list costs two.

        Each conversation comes once, whatever is added or hidden meanwhile. Locked ones are left out by the server;
        `gaps` of the result tells more. `timeout` and `retry` replace the client's for each page.

        Raises `InvalidRequestError` or TypeError at once; iterating raises `BadRequestError` for a category that
        the server does not know, `PermissionDeniedError` for a key without `conversations:read`, `RateLimitError`,
        `TransportError`, `ServerError` and `ResponseError`, also where a single conversation cannot be read.

        Source: https://docs.omi.me (listConversations) and observed behaviour.
        """
        if limit is not None and type(limit) is not int:
            raise TypeError(f"limit must be an int or None, not {type(limit).__name__}")
        if limit is not None and limit < 1:
            raise InvalidRequestError("limit must be at least 1; None means no limit.")
        selection = _protocol.selection(
            start_date, end_date, categories, folder_id, starred, include_transcript, page_size
        )
        return AsyncListing(self._retrier, selection, limit, timeout, retry)

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

        `text` is 1 to 100,000 characters and not blank; `text_source` says what it is and `text_source_spec` where
        it is from, such as `email`. Times must be timezone-aware and in order. None leaves a value to the server:
        other text, begun now, five minutes long, in English.

        A language model reads the text before the server answers. A client without time-outs of its own waits up to
        130 seconds for an attempt and 300 in all. The server cannot tell a repeated text from a second one, so an
        attempt that may have been carried out is not repeated: the error's `outcome` is then `unknown`, and making
        the call again may make a second conversation. `create_from_segments` has no such trouble. `timeout` and
        `retry` replace the client's for this call.

        Raises `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
        `conversations:write`; `RateLimitError`; `TransportError`, `ServerError` and `ResponseError`, whose
        `outcome` tells whether a conversation may have been made.

        Source: https://docs.omi.me (createConversation) and observed behaviour.
        """
        request = _protocol.create_conversation(
            text, text_source, text_source_spec, started_at, finished_at, language, geolocation
        )
        del text, text_source_spec, geolocation  # private: a traceback that shows locals must not show it
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
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> CreatedConversation:
        """Have Omi make a conversation of a transcript; repeating it makes no second one.

        There are 1 to 500 `segments`. `client_session_id`, of 1 to 200 characters, names the recording: whatever is
        sent under the same name later gives the conversation that was made first, also if it was deleted since
        (`status` is then `deleted`). Without a name the call makes one up, so that its own attempts are safe to
        repeat; give one of your own where another run of your program may repeat the call. `source` is the device
        or service, such as `phone`. Times must be timezone-aware and in order. None leaves a value to the server.

        A language model reads the transcript before the server answers. A client without time-outs of its own waits
        up to 130 seconds for an attempt and 300 in all. `timeout` and `retry` replace the client's for this call.

        Raises `InvalidRequestError` or TypeError before anything is sent; `ConflictError` while the server is at
        work on the same session for another call, or still for an unanswered attempt of this one (its `outcome` is
        then `unknown`); `PermissionDeniedError` for a key without `conversations:write`; `RateLimitError`;
        `TransportError`, `ServerError` and `ResponseError`, whose `outcome` tells whether a conversation may have
        been made.

        Source: https://docs.omi.me (createConversationFromSegments) and observed behaviour.
        """
        request = _protocol.create_conversation_from_segments(
            segments,
            client_session_id,
            source,
            started_at,
            finished_at,
            language,
            geolocation,
            client_device_id,
            client_platform,
        )
        del segments, geolocation  # private: a traceback that shows locals must not show it
        return await self._retrier.call(request, timeout, retry)

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

        Iterating raises `BulkStoppedError` when something happens that would fail every further item, and
        `JournalError` for a journal that cannot be used; bad settings raise `ConfigurationError` at once.
        """
        return start(
            self._retrier,
            updates,
            _update,
            kind="update",
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
    ) -> AsyncBulk[Deletion]:
        """Delete many conversations for good, each as `delete` would, and report each one as it completes.

        This cannot be undone; `update_many` with `discarded=True` hides them instead. Arguments, pacing, journal and
        errors are those of `update_many`. An id whose deletion an earlier run may have carried out, and which is not
        found any more, is reported as `unconfirmed`.
        """
        return start(
            self._retrier,
            ids,
            _protocol.delete_conversation,
            kind="delete",
            concurrency=concurrency,
            journal=journal,
            on_progress=on_progress,
            wait=wait,
        )


def _update(item: object) -> _protocol.Request[Conversation] | _protocol.Refusal:
    if not isinstance(item, ConversationUpdate):
        return TypeError(f"an update must be a ConversationUpdate, not {type(item).__name__}")
    return _protocol.update_conversation(item.conversation_id, item.title, item.discarded)
