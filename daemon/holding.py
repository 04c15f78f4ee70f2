"""What a worker's engine holds in memory, told to the front when it changes and while models come and go. Torch-free."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import msgspec

from daemon.engine.base import Holder
from daemon.protocol.errors import ErrorDetail, NegError
from daemon.protocol.events import Residents


class Holding:
    """`tell` sends a reading; `engine()` gives the engine if there is one yet. `look` may be called by any thread."""

    def __init__(self, engine: Callable[[], object | None], tell: Callable[[Residents], None]) -> None:
        self._engine = engine
        self._tell = tell
        self._lock = threading.Lock()
        self._doing = self._error = ""
        self._told = Residents(worker="")

    def look(self) -> None:
        """Tell what is held, if it differs from what was told last."""
        with self._lock:
            reading = self._read()
            if reading != self._told:
                self._told = reading
                self._tell(reading)

    def do(
        self,
        what: str,
        action: Callable[[], object],
        explain: Callable[[Exception], ErrorDetail],
        undo: Callable[[], object] = lambda: None,
    ) -> None:
        """Run `action` and tell of it before and after; what it raises is told, not raised, and `undo` called."""
        self._doing, self._error = what, ""
        self.look()
        try:
            action()
        except Exception as error:
            failure = explain(error)
            self._error = f"{failure.message} {failure.hint}".strip()
            undo()
        finally:
            self._doing = ""
        # Outside the handler: the traceback held what did not fit.
        gc.collect()
        self.look()

    def _read(self) -> Residents:
        engine = self._engine()
        words = msgspec.structs.replace(self._told, doing=self._doing, error=self._error)
        if not isinstance(engine, Holder):
            return msgspec.structs.replace(words, parts=(), allocated_bytes=None, reserved_bytes=None)
        try:
            parts, taken = engine.residents(), engine.gpu_bytes()
        except RuntimeError:
            return words  # it was changing while it was looked at: the next look sees it
        allocated, reserved = taken if taken is not None else (None, None)
        return msgspec.structs.replace(words, parts=parts, allocated_bytes=allocated, reserved_bytes=reserved)


def require_holder(engine: object | None) -> Holder:
    """The engine, if models can be loaded into it before they are needed; raises `NegError` `incompatible`."""
    if not isinstance(engine, Holder):
        raise NegError("incompatible", "This worker's engine loads models only when a job needs them.")
    return engine
