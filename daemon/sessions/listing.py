"""The sessions of a workspace at a glance, read from their folders."""

from __future__ import annotations

from pathlib import Path

from daemon.judging.votes import VOTES_FILE, count_votes
from daemon.protocol.commands import SessionRow
from daemon.protocol.errors import NegError
from daemon.sessions.reading import read, session_names


def rows(sessions_path: Path) -> list[SessionRow]:
    """A row for each folder of `sessions_path` with a `session.toml`, by name; a bad one bears its error."""
    return [row(sessions_path, name) for name in session_names(sessions_path)]


def row(sessions_path: Path, name: str) -> SessionRow:
    """One session at a glance."""
    folder = sessions_path / name
    description = error = ""
    try:
        description = read(sessions_path, name).description
    except NegError as found:
        error = found.detail.message
    return SessionRow(
        name=name,
        description=description,
        num_images=len(list((folder / "dataset").glob("*.png"))),
        adapters=_folders_with(folder / "adapters", "pytorch_lora_weights.safetensors", "learned_embeds.safetensors"),
        comparisons=_folders_with(folder / "comparisons", "summary.json"),
        sweeps=_folders_with(folder / "sweeps", "summary.json"),
        num_votes=sum(count_votes(path.parent) for path in (folder / "comparisons").glob(f"*/{VOTES_FILE}")),
        error=error,
    )


def _folders_with(folder: Path, *files: str) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for file in files for path in folder.glob(f"*/{file}")))
