"""Settings, decided once per invocation: the command line, then the environment, then the configuration file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from daemon.protocol.errors import NegError

IMAGES = ("auto", "kitty", "sixel", "half", "off")
EXAMPLE = """\
# connect = "ssh://user@host"       another daemon; NEGTUI_CONNECT and --connect go before it
# workspace = "/path"               the folder that holds sessions/; NEGTUI_WORKSPACE and --workspace go before it
# theme = "textual-light"           of the dashboard; f2 there shows them all
# images = "auto"                   auto, kitty, sixel, half or off; NEGTUI_IMAGES and --images go before it
# ascii = false                     draw with nothing but ASCII, as --ascii
# read_only = false                 refuse whatever changes something, as --read-only

[keys]
# "jobs.cancel" = "ctrl+x"          by the ids of docs/keys.md; several keys are separated by commas
"""
_HINT = "Known are connect, workspace, theme, images, ascii, read_only and [keys]. `negtui config show` prints them all."


@dataclass(frozen=True)
class Settings:
    """`connect` names another daemon (`ssh://host`, `ipc:///path/ctl`); else the one of `workspace`, which is started when needed."""

    connect: str | None = None
    workspace: str | None = None


@dataclass(frozen=True)
class Look:
    """How the dashboard looks and behaves."""

    theme: str = ""
    images: str | None = None
    ascii: bool = False
    read_only: bool = False
    keys: dict[str, str] = field(default_factory=dict)
    """Other keys by the ids of `negtui.keys`."""


def config_path() -> Path:
    """The configuration file: `NEGTUI_CONFIG`, or `negtui/config.toml` in the user's configuration folder."""
    return Path(os.environ.get("NEGTUI_CONFIG") or platformdirs.user_config_path("negtui") / "config.toml")


def settings(connect: str | None = None, workspace: str | None = None) -> Settings:
    """Where to connect. Raises `NegError` where the configuration file is needed and is not one."""
    if connect or workspace:
        return Settings(connect=connect, workspace=workspace)
    if os.environ.get("NEGTUI_CONNECT"):
        return Settings(connect=os.environ["NEGTUI_CONNECT"])
    if os.environ.get("NEGTUI_WORKSPACE"):
        return Settings()
    found = read_file(config_path())
    return Settings(connect=found.get("connect"), workspace=found.get("workspace"))


def look(*, ascii: bool = False, read_only: bool = False, images: str | None = None) -> Look:
    """How the dashboard is to look; options given count. Raises `NegError` where the configuration file is not one."""
    found = read_file(config_path())
    return Look(
        theme=found.get("theme", ""),
        images=images or os.environ.get("NEGTUI_IMAGES") or found.get("images"),
        ascii=ascii or found.get("ascii", False),
        read_only=read_only or found.get("read_only", False),
        keys=found.get("keys", {}),
    )


def read_file(path: Path) -> dict[str, Any]:
    """The file's settings, their names and kinds checked; {} where there is none. Raises `NegError` `invalid`."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NegError("invalid", f"{path} cannot be read: {error}.", "Correct or remove it.") from None
    for name, value in found.items():
        problem = _problem(name, value)
        if problem:
            raise NegError("invalid", f"{path}: {name} = {value!r} {problem}.", _HINT)
    return found


def key_problems(keys: dict[str, str]) -> list[str]:
    """What is wrong with a keymap, in words: unknown ids, keys that already do something else in the same place."""
    from negtui.keys import by_id

    known = by_id()
    problems = [f"keys: {name!r} is no key's id; docs/keys.md lists them." for name in keys if name not in known]
    taken: dict[tuple[str, str], str] = {}
    for name, key in known.items():
        for one in keys.get(name, key.key).split(","):
            for scope in {key.scope, "app"} if key.scope == "app" else {key.scope}:
                other = taken.setdefault((scope, one.strip()), name)
                if other != name and (name in keys or other in keys):
                    problems.append(f"keys: {one.strip()} would be both {other} and {name}.")
    return problems


def theme_problems(theme: str) -> list[str]:
    """What is wrong with the name of a theme, in words; empty: none is named."""
    from textual.theme import BUILTIN_THEMES

    return [] if not theme or theme in BUILTIN_THEMES else [f"theme: {theme!r} is none; f2 in the dashboard shows them all."]


def _problem(name: str, value: object) -> str:
    """Why a setting cannot be; empty where it can."""
    if name in ("connect", "workspace", "theme"):
        return "" if isinstance(value, str) else "is no text"
    if name == "images":
        return "" if value in IMAGES else f"is none of {', '.join(IMAGES)}"
    if name in ("ascii", "read_only"):
        return "" if isinstance(value, bool) else "is neither true nor false"
    if name == "keys":
        fits = isinstance(value, dict) and all(isinstance(key, str) for key in value.values())
        return "" if fits else "is no table of keys by ids"
    return "is not a setting"
