"""`negtui` on a terminal: the dashboard. Textual is imported here, after the terminal was asked what it can draw."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from daemon.config import places
from negtui.commands.exits import OK
from negtui.commands.invocation import Invocation
from negtui.config import Settings, look
from negtui.launch import ensure_daemon

if TYPE_CHECKING:
    from negtui.bridge import Connect, OnContact
    from negtui.client import Client
    from negtui.voting import Voting

GOODBYE = "The daemon and its jobs go on. `negtui` opens the dashboard again; `negtui daemon stop` stops them."


async def dashboard(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui`"""
    return await open_dashboard(arguments, invocation)


async def open_dashboard(arguments: argparse.Namespace, invocation: Invocation, voting: Voting | None = None) -> int:
    """The dashboard on its first screen, or on the one that asks for these votes."""
    chosen = look(ascii=arguments.ascii, read_only=arguments.read_only, images=arguments.images)
    # Read by Textual when it is imported; smooth scrolling multiplies the bytes over SSH.
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    from negtui.pixels.choose import prepare

    choice, _ = prepare(chosen.images, ascii=chosen.ascii)
    from negtui.app import NegtuiApp
    from negtui.pixels.driver import PictureDriver

    app = NegtuiApp(
        connect_as(invocation.settings),
        read_only=chosen.read_only,
        ascii=chosen.ascii,
        theme=chosen.theme or theme_for(choice.colours, os.environ.get("COLORFGBG", "")),
        keymap=chosen.keys,
        endpoint=invocation.settings.connect or "",
        choice=choice,
        # In a browser Textual has a driver of its own (negtui serve).
        driver_class=None if "TEXTUAL_DRIVER" in os.environ else PictureDriver,
        voting=voting,
        command=(sys.executable, "-m", "negtui.cli", *where(invocation.settings)),
        revive=None if invocation.settings.connect else lambda: ensure_daemon(places(invocation.settings.workspace)),
    )
    await app.run_async()
    if app.fault is not None:
        raise app.fault
    invocation.output.line(GOODBYE if app.view.connection.state == "connected" else "The dashboard is closed; no daemon was reached.")
    return OK


def where(settings: Settings) -> list[str]:
    """The options that lead another command to the same daemon."""
    options = (("--connect", settings.connect), ("--workspace", settings.workspace))
    return [word for option, value in options if value for word in (option, value)]


def theme_for(colours: str, foreground_and_background: str) -> str:
    """The theme where none is configured: on 16 colours the terminal's own ones; light where it tells so (`COLORFGBG`)."""
    is_light = foreground_and_background.rpartition(";")[2] in ("7", "15")
    if colours == "16":
        return "ansi-light" if is_light else "ansi-dark"
    return "textual-light" if is_light else ""


def connect_as(settings: Settings) -> Connect:
    """How the bridge connects: as every other command does."""
    from negtui.commands.connection import client_of

    @asynccontextmanager
    async def connect(on_contact: OnContact, start: bool) -> AsyncIterator[Client]:
        async with client_of(settings, start, on_contact) as client:
            yield client

    return connect
