"""The recipe for a chat bot: python-telegram-bot, with a Bot API of our own behind it."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from omi_sync import OmiClient
from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Program, Server

pytest.importorskip("telegram", reason="needs python-telegram-bot, which belongs to the extra `hosts`")

BOT = {"id": 1, "is_bot": True, "first_name": "Omi", "username": "omi_bot"}
CHAT = {"id": 7, "type": "private", "first_name": "Ann"}


class Telegram:
    """The Bot API: messages of one chat, and the replies to them."""

    def __init__(self) -> None:
        self.replies: list[str] = []
        self._updates: list[dict[str, object]] = []
        telegram = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                method = self.path.rpartition("/")[2]
                result = telegram.answer(method, {name: values[0] for name, values in parse_qs(body).items()})
                content = json.dumps({"ok": True, "result": result}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def say(self, *texts: str) -> None:
        """Let the user write messages."""
        for text in texts:
            number = len(self._updates) + 1
            sender = {"id": 7, "is_bot": False, "first_name": "Ann"}
            message = {"message_id": number, "date": 1, "chat": CHAT, "from": sender, "text": text}
            self._updates.append({"update_id": number, "message": message})

    def answer(self, method: str, values: dict[str, str]) -> object:
        match method:
            case "getMe":
                return BOT
            case "getUpdates":
                offset = int(values.get("offset", 0))
                end = time.monotonic() + 0.2
                while not (found := self._updates[max(0, offset - 1) :]) and time.monotonic() < end:
                    time.sleep(0.02)
                return found
            case "sendMessage":
                self.replies.append(values["text"])
                return {"message_id": 1000, "date": 1, "chat": CHAT, "from": BOT, "text": values["text"]}
            case _:
                return True


@pytest.fixture
def telegram() -> Iterator[Telegram]:
    telegram = Telegram()
    thread = threading.Thread(target=telegram.server.serve_forever)
    thread.start()
    yield telegram
    telegram.server.shutdown()
    thread.join()
    telegram.server.server_close()


@pytest.fixture
def bot(telegram: Telegram, start: Start) -> Program:
    api = f"http://127.0.0.1:{telegram.server.server_port}/bot"
    return start(sys.executable, "-X", "dev", RECIPES / "telegram_bot.py", BOT_TOKEN="1:token", BOT_API=api)


def test_answers_and_shutdown(server: Server, telegram: Telegram, bot: Program, figure: Callable[..., None]) -> None:
    """Each question has its answer, a failure is told, and SIGTERM waits for an answer that is under way."""
    questions = [f"{word} {number}?" for number in range(20) for word in ("release", "Lisbon", "search")]
    with OmiClient(server.key, base_url=server.url) as omi:
        answers = {question: omi.conversations.ask(question).answer for question in set(questions)}
    asked = len(server.calls)
    telegram.say(*questions)
    bot.wait_until(lambda: len(telegram.replies) == 60)
    assert sorted(answers[question] for question in questions) == sorted(telegram.replies)
    assert 60 == len(server.calls) - asked
    figure("Telegram", requests=60, right=60)

    server.fail(status=501)
    telegram.say("release?")
    bot.wait_until(lambda: len(telegram.replies) == 61)
    assert "No answer: the server answered 501 Not Implemented (Not Implemented)." == telegram.replies[60]

    before = len(server.calls)
    server.fail(status=503)  # in the log as soon as the answer is under way
    server.fail(delay=1.0)
    telegram.say("release 1?")
    bot.wait_until(lambda: len(server.calls) > before)
    assert 0 == bot.end()
    assert [answers["release 1?"]] == telegram.replies[61:]
    assert [] == bot.complaints
