"""`negtui serve`: the dashboard in a browser on this machine, by textual-serve. Half-blocks only: browsers show text.

Whoever reaches the page can do what the dashboard can. So it listens on the loopback address alone, and asks for a token that only
its own line tells: other users of this machine have no token, other pages in the browser another origin.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from daemon.protocol.errors import NegError
from negtui.commands.invocation import Invocation

HOST = "127.0.0.1"
INSTALL = "pip install 'negtui[serve]'"


@dataclass(frozen=True)
class Gate:
    """Who may come in."""

    port: int
    token: str

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """What is opened in the browser; the token then stays in a cookie."""
        return f"http://{self.address}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """By port: a browser sends a cookie to every port of a host."""
        return f"negtui-{self.port}"

    def refusal(self, host: str, origin: str | None, tokens: tuple[str, ...]) -> str:
        """Why a request is turned away; empty where it may pass. `tokens`: those of its cookie and its address."""
        if host != self.address:
            return f"Open it as {self.address}."
        if origin is not None and origin != f"http://{self.address}":
            return "Another page may not use this one."
        if not any(hmac.compare_digest(token.encode(), self.token.encode()) for token in tokens):
            return "Open the address that negtui serve printed, with its token."
        return ""


async def serve(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui serve`: until ctrl+c."""
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise NegError("invalid", "negtui serve needs textual-serve, which is not installed here.", f"{INSTALL} installs it.") from None
    gate = Gate(arguments.port, secrets.token_urlsafe(24))
    server = Server(shlex.join(dashboard_command(arguments)), host=HOST, port=gate.port, title="negtui")
    server.console.quiet = True
    application = await server._make_app()
    application.middlewares.append(web.middleware(_guard(gate, web)))
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, gate.port).start()
        invocation.output.result(gate.url)
        invocation.output.object({"url": gate.url})
        invocation.output.line("Open this in a browser on this machine; ctrl+c ends it. The daemon and its jobs go on.")
        invocation.output.line(f"From another one: ssh -L {gate.port}:{gate.address} THIS-MACHINE, then the same address there.")
        await asyncio.Event().wait()
    except OSError as error:
        raise NegError("invalid", f"Port {gate.port} cannot be had: {error.strerror}.", "negtui serve --port N takes another.") from None
    finally:
        await runner.cleanup()
    return 0


def dashboard_command(arguments: argparse.Namespace) -> list[str]:
    """The dashboard that each page starts: on the same daemon, with the same options."""
    command = [sys.executable, "-m", "negtui.cli"]
    for name in ("workspace", "connect"):
        if getattr(arguments, name):
            command += [f"--{name}", getattr(arguments, name)]
    return [*command, *(["--read-only"] if arguments.read_only else [])]


def _guard(gate: Gate, web: Any) -> Callable[[Any, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]:
    """The middleware in front of every page, file and socket."""

    async def guard(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        tokens = request.cookies.get(gate.cookie, ""), request.query.get("token", "")
        refusal = gate.refusal(request.host, request.headers.get("Origin"), tokens)
        if refusal:
            raise web.HTTPForbidden(text=refusal)
        response = await handler(request)
        if request.path == "/":
            response.set_cookie(gate.cookie, gate.token, httponly=True, samesite="Strict")
            response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return guard
