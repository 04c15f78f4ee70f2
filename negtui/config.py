"""Where the client connects, decided once per invocation: the command line, then the environment, then the configuration file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from daemon.protocol.errors import NegError


@dataclass(frozen=True)
class Settings:
    """`connect` names another daemon (`ssh://host`, `ipc:///path/ctl`); else the one of `workspace`, which is started when needed."""

    connect: str | None = None
    workspace: str | None = None


def config_path() -> Path:
    """The configuration file: `NEGTUI_CONFIG`, or `negtui/config.toml` in the user's configuration folder."""
    return Path(os.environ.get("NEGTUI_CONFIG") or platformdirs.user_config_path("negtui") / "config.toml")


def settings(connect: str | None = None, workspace: str | None = None) -> Settings:
    """The settings in force. Raises `NegError` where the configuration file is not one."""
    if connect or workspace:
        return Settings(connect=connect, workspace=workspace)
    if os.environ.get("NEGTUI_CONNECT"):
        return Settings(connect=os.environ["NEGTUI_CONNECT"])
    if os.environ.get("NEGTUI_WORKSPACE"):
        return Settings()
    return _from_file(config_path())


def _from_file(path: Path) -> Settings:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise NegError("invalid", f"{path} cannot be read: {error}.", "Correct or remove it.") from None
    for name, value in found.items():
        if name not in ("connect", "workspace") or not isinstance(value, str):
            raise NegError("invalid", f"{path}: {name} = {value!r} is not a setting.", 'Known are connect = "..." and workspace = "...".')
    return Settings(connect=found.get("connect"), workspace=found.get("workspace"))
