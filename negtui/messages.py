"""What the bridge tells the screens. The view itself is `app.view`."""

from __future__ import annotations

from textual.message import Message

from daemon.protocol.events import Preview


class ViewChanged(Message):
    """`changed`: names of the view's fields, all those since the last one; at most ten a second."""

    def __init__(self, changed: frozenset[str]) -> None:
        super().__init__()
        self.changed = changed


class PreviewArrived(Message):
    """A picture while it is denoised; the latest of its job counts."""

    def __init__(self, preview: Preview) -> None:
        super().__init__()
        self.preview = preview


class Noticed(Message):
    """Something that ended or failed, in words."""

    def __init__(self, text: str, severity: str = "information") -> None:
        super().__init__()
        self.text = text
        self.severity = severity
