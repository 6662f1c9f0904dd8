"""The recipe for Streamlit, on its own server, with sessions that talk to it as browsers do."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from omi_sync import OmiClient
from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Server, free_port

pytest.importorskip("streamlit", reason="needs Streamlit, which belongs to the extra `hosts`")


async def session(url: str, runs: int) -> list[list[str]]:
    """Open the page, run it so many times and return what each run wrote."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    shown = []
    async with aiohttp.ClientSession() as browser, browser.ws_connect(f"{url}/_stcore/stream") as socket:
        for _ in range(runs):
            again = BackMsg()
            again.rerun_script.query_string = ""
            await socket.send_bytes(again.SerializeToString())
            texts: list[str] = []
            while (kind := (message := ForwardMsg.FromString(await socket.receive_bytes())).WhichOneof("type")) != (
                "script_finished"
            ):
                if kind == "delta":
                    assert not message.delta.new_element.HasField("exception"), str(message.delta)
                    if message.delta.new_element.HasField("markdown"):
                        texts.append(message.delta.new_element.markdown.body)
            shown.append(texts)
    return shown


async def test_sessions_share_a_client(server: Server, start: Start, figure: Callable[..., None]) -> None:
    """Runs of all sessions share the client and what was read in the last minute."""
    with OmiClient(server.key, base_url=server.url) as omi:
        listed = list(omi.conversations.list(limit=20))
    expected = [f"{each.structured.title} `{len(each.structured.overview.split())}`" for each in listed]
    asked = len(server.calls)
    port = free_port()
    settings = {"server.port": port, "server.headless": "true", "browser.gatherUsageStats": "false"}
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    streamlit = start(sys.executable, "-m", "streamlit", "run", RECIPES / "streamlit_app.py", *options)
    streamlit.wait_for("You can now view your Streamlit app")
    url = f"http://127.0.0.1:{port}"
    first = await session(url, 1)
    shown = [*first, *(run for runs in await asyncio.gather(*(session(url, 5) for _ in range(8))) for run in runs)]
    assert [expected] * 41 == shown
    assert asked == len(server.calls) - asked
    assert 0 == streamlit.interrupt()
    assert [] == streamlit.complaints
    figure("Streamlit", runs=41, right=41, requests=len(server.calls) - asked)


def test_models_as_arguments(start: Start, project: Path) -> None:
    """Streamlit cannot tell models apart as arguments by itself, and `to_dict` tells it how."""
    (project / "cached.py").write_text("""
import streamlit as st
from omi_sync import Folder, OmiClient, to_dict
from streamlit.runtime.caching.cache_errors import UnhashableParamError
with OmiClient() as omi:
    first, second, *_ = omi.folders.list()
try:
    st.cache_data(lambda folder: folder.name)(first)
except UnhashableParamError:
    print("not by itself")
name = st.cache_data(lambda folder: folder.name, hash_funcs={Folder: to_dict})
print([name(first), name(second), name(first)] == [first.name, second.name, first.name])
""")
    program = start(sys.executable, "cached.py")
    assert 0 == program.wait()
    assert ["not by itself", "True"] == [line for line in program.text.splitlines() if "WARNING" not in line]
