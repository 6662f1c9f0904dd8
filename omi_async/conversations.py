"""The conversations resource: one short method for each endpoint."""

from . import _protocol
from .models import Conversation, Deletion
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
