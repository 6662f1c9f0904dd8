"""Rename, hide, restore and delete conversations, with the asynchronous and then the synchronous client.

Without `OMI_API_KEY` it starts the embedded sandbox and plays the whole story there; nothing leaves the machine.
With `OMI_API_KEY` it works on the real API, on the one conversation that you name and in no other way:

    python docs/examples/quickstart.py --conversation ID --title "New title"
    python docs/examples/quickstart.py --conversation ID --delete
"""

import argparse
import asyncio
import os
import sys

import omi_sync
from omi_async import AsyncOmiClient, OmiError, RetryPolicy
from omi_async.sandbox import Sandbox


def tell(what: str, outcome: object) -> None:
    print(f"  {what:<42} {outcome}")


async def async_story(sandbox: Sandbox) -> None:
    print("\nThe asynchronous client")
    async with AsyncOmiClient(sandbox.api_key, base_url=sandbox.url, retry=RetryPolicy(initial=0.05)) as omi:
        conversation = await omi.conversations.update("conv_standup", title="  Stand-up: the release date  ")
        tell("rename conv_standup", f"is now {conversation.structured.title!r}")

        await omi.conversations.update("conv_standup", discarded=True)
        tell("hide conv_standup", f"hidden: {sandbox.conversations['conv_standup'].discarded}")

        await omi.conversations.update("conv_standup", discarded=False)
        tell("restore conv_standup", f"hidden: {sandbox.conversations['conv_standup'].discarded}")

        deletion = await omi.conversations.delete("conv_noise")
        tell("delete conv_noise", f"gone, confirmed: {deletion.confirmed}")

        print("\n  When things fail")
        before = len(sandbox.requests)
        try:
            await omi.conversations.update("conv_standup", title="   ")
        except OmiError as error:
            tell("a blank title is refused here", error)
        tell("requests that cost", len(sandbox.requests) - before)

        try:
            await omi.conversations.update("conv_locked", title="Open sesame")
        except OmiError as error:
            tell("a locked conversation is refused there", f"{type(error).__name__}, outcome {error.outcome}")

        sandbox.fail(status=503)
        before = len(sandbox.requests)
        await omi.conversations.update("conv_lisbon", title="Lisbon on Sunday")
        tell("the server stumbles once (503)", f"renamed, in {len(sandbox.requests) - before} requests")

        sandbox.fail(close="after")
        deletion = await omi.conversations.delete("conv_lisbon")
        tell("the answer to a delete gets lost", f"gone, confirmed: {deletion.confirmed}")


def sync_story() -> None:
    print("\nThe synchronous client: the same calls, models and errors")
    with omi_sync.Sandbox() as sandbox, omi_sync.OmiClient(sandbox.api_key, base_url=sandbox.url) as omi:
        conversation = omi.conversations.update("conv_design", title="Design review", discarded=True)
        tell("rename and hide conv_design", f"is now {conversation.structured.title!r}")
        omi.conversations.update("conv_design", discarded=False)
        tell("restore conv_design", f"hidden: {sandbox.conversations['conv_design'].discarded}")
        deletion = omi.conversations.delete("conv_design")
        tell("delete conv_design", f"gone, confirmed: {deletion.confirmed}")
        try:
            omi.conversations.delete("conv_design")
        except omi_sync.NotFoundError as error:
            tell("delete it again", f"NotFoundError, outcome {error.outcome}")


async def sandbox_story() -> None:
    async with Sandbox() as sandbox:
        print(f"A sandbox of the Omi API at {sandbox.url}: nothing leaves this machine.")
        await async_story(sandbox)
        # The synchronous part on a thread of its own, as a program without an event loop would run it.
        await asyncio.to_thread(sync_story)
        print(f"\nDone. The first sandbox saw {len(sandbox.requests)} requests.")


async def real_story(conversation_id: str, title: str | None, *, delete: bool) -> None:
    async with AsyncOmiClient() as omi:
        if title is not None:
            conversation = await omi.conversations.update(conversation_id, title=title)
            tell(f"rename {conversation_id}", f"is now {conversation.structured.title!r}")
        if delete:
            deletion = await omi.conversations.delete(conversation_id)
            tell(f"delete {conversation_id}", f"gone, confirmed: {deletion.confirmed}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversation", metavar="ID", help="with OMI_API_KEY: the one conversation to work on")
    parser.add_argument("--title", help="with OMI_API_KEY: its new title")
    parser.add_argument("--delete", action="store_true", help="with OMI_API_KEY: delete it for good")
    options = parser.parse_args()
    if not os.environ.get("OMI_API_KEY"):
        asyncio.run(sandbox_story())
        return 0
    if not options.conversation or not (options.title or options.delete):
        print("OMI_API_KEY is set, so this would be the real API: name a --conversation, and --title or --delete.")
        return 1
    try:
        asyncio.run(real_story(options.conversation, options.title, delete=options.delete))
    except OmiError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
