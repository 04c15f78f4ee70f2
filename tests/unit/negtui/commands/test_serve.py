from __future__ import annotations

import argparse
import asyncio
import sys

import pytest

from negtui.commands import serve
from negtui.commands.serve import Gate, dashboard_command
from tests.fake_daemon import FakeDaemon, call

GATE = Gate(8017, "secret")


def test_without_textual_serve_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    code, _, err = call(FakeDaemon(), "serve")
    assert code == 2
    assert "needs textual-serve" in err
    assert "pip install 'negtui[serve]'" in err


@pytest.mark.parametrize(
    ("host", "origin", "tokens", "refusal"),
    [
        ("127.0.0.1:8017", None, ("secret", ""), ""),
        ("127.0.0.1:8017", "http://127.0.0.1:8017", ("", "secret"), ""),
        ("127.0.0.1:8017", None, ("", ""), "with its token"),
        ("127.0.0.1:8017", None, ("", "secreT"), "with its token"),
        ("127.0.0.1:8017", None, ("", "sécret"), "with its token"),
        ("127.0.0.1:8017", "https://elsewhere.example", ("secret", "secret"), "Another page"),
        ("127.0.0.1:8017", "null", ("secret", "secret"), "Another page"),
        ("rebound.example:8017", None, ("secret", "secret"), "Open it as 127.0.0.1:8017"),
    ],
)
def test_only_who_has_the_token_on_this_machine_comes_in(host: str, origin: str | None, tokens: tuple[str, str], refusal: str) -> None:
    said = GATE.refusal(host, origin, tokens)
    assert refusal in said
    assert bool(said) is bool(refusal)


class Web:
    """As much of aiohttp's `web` as the guard knows."""

    class HTTPForbidden(Exception):
        def __init__(self, text: str) -> None:
            super().__init__(text)


class Answer:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.cookies: dict[str, dict[str, object]] = {}

    def set_cookie(self, name: str, value: str, **options: object) -> None:
        self.cookies[name] = {"value": value, **options}


def visit(path: str, token: str) -> Answer:
    request = argparse.Namespace(path=path, host=GATE.address, cookies={}, headers={}, query={"token": token})

    async def handler(request: object) -> Answer:
        return Answer()

    answer: Answer = asyncio.run(serve._guard(GATE, Web)(request, handler))  # type: ignore[arg-type]
    return answer


def test_the_first_page_leaves_the_token_where_other_pages_cannot_read_it() -> None:
    answer = visit("/", "secret")
    assert answer.cookies == {"negtui-8017": {"value": "secret", "httponly": True, "samesite": "Strict"}}
    assert visit("/static/js/textual.js", "secret").cookies == {}
    with pytest.raises(Web.HTTPForbidden):
        visit("/ws", "guessed")


def test_each_page_opens_the_dashboard_on_the_same_daemon() -> None:
    given = argparse.Namespace(workspace="/w/with space", connect=None, read_only=True)
    assert dashboard_command(given)[1:] == ["-m", "negtui.cli", "--workspace", "/w/with space", "--read-only"]
    assert GATE.url == "http://127.0.0.1:8017/?token=secret"
