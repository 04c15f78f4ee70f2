"""Textual's driver with our writer in it: pictures and text go out in one order, and the terminal's reports come back to the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from textual import events
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from negtui.pixels.base import Sender
from negtui.pixels.writer import OrderedWriter

if TYPE_CHECKING:
    from textual.app import App


class Connectable(Protocol):
    """What takes the way to the terminal: `Pictures`, found as `app.pictures`."""

    def connect(self, sender: Sender) -> None: ...

    def leave(self) -> str: ...


class PictureDriver(LinuxDriver):
    """Give it to the app as `driver_class`. At each start of the application mode, also after ctrl+z, `app.pictures` gets a new way."""

    _app: App[object]
    _ordered: OrderedWriter | None = None

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._writer_thread is None or self._file is None:
            return
        self._writer_thread.stop()
        self._ordered = OrderedWriter(self._file)
        self._ordered.start()
        self._writer_thread = self._ordered  # type: ignore[assignment]
        if self._pictures is not None:
            self._pictures.connect(self._ordered)

    def stop_application_mode(self) -> None:
        if self._pictures is not None and self._ordered is not None:
            self.write(self._pictures.leave())
        super().stop_application_mode()

    @property
    def _pictures(self) -> Connectable | None:
        return getattr(self._app, "pictures", None)

    def process_message(self, message: Message) -> None:
        if isinstance(message, events.CursorPosition):
            if self._ordered is not None and message.y == 1:
                self._ordered.acknowledge(message.x + 1)
            return
        super().process_message(message)
