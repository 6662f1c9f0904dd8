"""The recipes for Django: views on WSGI and ASGI servers, and a management command."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Server, free_port, more, send, users
from tests.support import subprocesses

pytest.importorskip("django", reason="needs Django, which belongs to the extra `hosts`")

SETTINGS = """
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["notes"]
"""
URLS = """
from django.urls import path
import django_views
urlpatterns = [
    path("conversations/<conversation_id>", django_views.rename),
    path("async/<conversation_id>", django_views.rename_async),
]
"""
SERVED = """
import os
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
asgi, wsgi = get_asgi_application(), get_wsgi_application()
"""


@pytest.fixture
def site(project: Path) -> Path:
    """A Django project with the recipes in it."""
    (project / "site_settings.py").write_text(SETTINGS)
    (project / "site_urls.py").write_text(URLS)
    (project / "site_served.py").write_text(SERVED)
    shutil.copy(RECIPES / "django_views.py", project)
    commands = project / "notes/management/commands"
    commands.mkdir(parents=True)
    for package in (project / "notes", commands.parent, commands):
        (package / "__init__.py").touch()
    shutil.copy(RECIPES / "django_command.py", commands / "hide.py")
    return project


SERVERS = {
    "wsgi": ("gunicorn", "--workers", "2", "--threads", "4", "--no-control-socket", "--bind"),
    "asgi": ("uvicorn", "--port"),
}


@pytest.mark.parametrize(
    ("interface", "view"), [("wsgi", "conversations"), ("asgi", "conversations"), ("asgi", "async")]
)
def test_views(
    server: Server, start: Start, site: Path, interface: str, view: str, figure: Callable[..., None]
) -> None:
    """A view that is a function works on both interfaces, and one that is a coroutine function on ASGI."""
    name, *options = SERVERS[interface]
    pytest.importorskip(name, reason=f"needs {name}, which belongs to the extra `hosts`")
    port = free_port()
    address = f"127.0.0.1:{port}" if interface == "wsgi" else str(port)
    host = start(
        *(sys.executable, "-m", name, *options, address, f"site_served:{interface}"),
        DJANGO_SETTINGS_MODULE="site_settings",
        PYTHONPATH=f"{site}{os.pathsep}{subprocesses.ROOT}",
    )
    host.wait_for("Booting worker" if interface == "wsgi" else "Uvicorn running")
    with users(f"http://127.0.0.1:{port}/{view}") as tally:
        more(host, tally, 200)
    figure(f"Django {interface.upper()}, {view}", **tally.check(server))
    host.end()
    assert [] == host.complaints


def test_command(server: Server, start: Start, site: Path, figure: Callable[..., None]) -> None:
    """The command that is interrupted has told its journal what is done, and goes on when it is repeated."""
    ids = [f"conv_{number}" for number in range(40)]
    records = {"conversations": [{"id": conversation_id} for conversation_id in ids]}
    assert 204 == send("PUT", f"{server.url}/sandbox/records", records, key=server.key)[0]
    (site / "ids.txt").write_text("\n".join([*ids, "conv_unheard_of"]))
    command = (sys.executable, "-m", "django", "hide", "ids.txt")
    settings = {"DJANGO_SETTINGS_MODULE": "site_settings", "PYTHONPATH": f"{site}{os.pathsep}{subprocesses.ROOT}"}
    server.fail(delay=0.2, times=100)
    first = start(*command, **settings)
    first.wait_until(lambda: server.applied >= 8)
    assert 0 != first.end(signal.SIGINT)
    assert "KeyboardInterrupt" in first.text
    applied = server.applied
    assert applied < len(ids)

    second = start(*command, **settings)
    assert 1 == second.wait()
    assert f"40 of 41 hidden, {applied} settled before" in second.text
    assert "CommandError: conv_unheard_of: conversations.update: the server answered 404 Not Found" in second.text
    assert len(ids) == server.applied
    assert [] == first.complaints + second.complaints
    figure("Django command", requests=len(server.calls), hidden=server.applied, after_interrupt=len(ids) - applied)
