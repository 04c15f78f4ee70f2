"""A session's `session.toml` edited as a copy on this machine, wherever its daemon runs, and sent back. No Textual.

Nothing is lost: what the daemon refuses stays in the copy, and what others wrote meanwhile is laid beside it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from daemon.protocol.commands import MAX_SESSION_TEXT, Ping, WriteSession
from daemon.protocol.errors import NegError
from negtui.packing import Ask, Fetch

SESSION_FILE = "session.toml"
OF_THE_TEXT = ("invalid", "too_large", "conflict")
"""Refusals that the same text would meet again."""


@dataclass
class Draft:
    """A person's copy of a session's text, in a folder of its own."""

    session: str
    path: Path
    base: bytes
    """The daemon's text as it was last read."""
    _refused: tuple[bytes, NegError] | None = field(default=None, init=False)

    @classmethod
    async def begin(cls, fetch: Fetch, session: str) -> Draft:
        """Raises `NegError`: `too_large` or `invalid` (it could not be sent back, or not be written here), or what fetching raises."""
        base = await fetch(session, SESSION_FILE)
        _text(base, SESSION_FILE)
        try:
            path = Path(tempfile.mkdtemp(prefix="negtui-")) / f"{session}.toml"
            path.write_bytes(base)
        except OSError as error:
            raise NegError(
                "invalid", f"No copy can be written here: {error.strerror}.", "Make room, or name another folder in TMPDIR."
            ) from None
        return cls(session, path, base)

    @property
    def theirs_path(self) -> Path:
        """Where the daemon's text is laid that somebody else wrote meanwhile."""
        return self.path.with_name(f"{self.session}.theirs.toml")

    @property
    def paths(self) -> tuple[Path, ...]:
        """What an editor is to open."""
        return (self.path, self.theirs_path) if self.theirs_path.exists() else (self.path,)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a person's work or another's text would go with it."""
        return len(self.paths) > 1 or self._content() != self.base

    async def send(self, request: Ask, fetch: Fetch) -> bool:
        """Put the daemon's text in the copy's place; False where they are the same. A text that was refused is not sent again.

        Raises `NegError`: `conflict` (theirs is laid beside; the next text replaces it), `invalid` with the line, or what asking raises.
        """
        content = self._content()
        if content == self.base:
            return False
        if self._refused is not None and self._refused[0] == content:
            raise self._refused[1]
        try:
            text = _text(content, str(self.path))
            # An editor holds the whole program up, and the line may be dead since: a ping is asked again on the next one, a write is not.
            await request(Ping())
            await request(WriteSession(name=self.session, text=text, sha256=hashlib.sha256(self.base).hexdigest()))
        except NegError as error:
            if error.detail.code == "conflict":
                self.base = await fetch(self.session, SESSION_FILE)
                if self.base == content:
                    return False
                self.theirs_path.write_bytes(self.base)
                words = f"{self.session}: somebody else changed its session.toml meanwhile. Theirs is {self.theirs_path}."
                error = NegError("conflict", words, "Bring both together: what is sent next replaces theirs.")
            if error.detail.code in OF_THE_TEXT:
                self._refused = content, error
            raise error from None
        self.base = content
        return True

    def remove(self) -> None:
        """Away with it, but for what somebody else wrote."""
        if self.theirs_path.exists():
            self.path.unlink(missing_ok=True)
        else:
            shutil.rmtree(self.path.parent, ignore_errors=True)

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise NegError("not_found", f"{self.path} cannot be read: {error.strerror}.", "Save it under this name.") from None


def _text(content: bytes, where: str) -> str:
    """Raises `NegError` where it could not be sent."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NegError("invalid", f"{where}, line {line}: this is not UTF-8 text.", "Save the file as UTF-8.") from None
    if len(text) > MAX_SESSION_TEXT:
        raise NegError(
            "too_large",
            f"{where} has {len(text)} characters; at most {MAX_SESSION_TEXT} can be sent.",
            "Move long prompt lists to a prompts_file, or edit it where the daemon runs.",
        )
    return text
