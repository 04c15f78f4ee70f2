"""The process that computes: reads units from its line, runs their recipes one at a time, tells what they yield.

Started by the front as `python -m daemon.worker --fd N --cache PATH`; it ends with the front. It knows nothing of queue, store or clients.
Test seams: `NEGTUI_RECIPES=module:dict` replaces the table of recipes (kind -> recipe), `NEGTUI_ENGINE=module:callable` the engine.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import importlib
import logging
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from daemon import files
from daemon.engine.base import Engine
from daemon.failures import explain
from daemon.holding import Holding, require_holder
from daemon.protocol import link
from daemon.protocol.errors import ErrorDetail, NegError
from daemon.protocol.events import AnyEvent, EphemeralEvent, StepProgress
from daemon.protocol.link import (
    Alive,
    FromWorker,
    InterruptUnit,
    OrderUnit,
    RunUnit,
    StopWorker,
    UnitEnded,
    UnitTold,
)
from daemon.protocol.orders import Order
from daemon.recipe import How, Interrupted, JobContext, Recipe

RECIPES = {
    "synthesize": "daemon.synthesis.recipe:synthesize",
    "train": "daemon.training.recipe:train",
    "merge": "daemon.merging.recipe:merge",
    "compare": "daemon.comparison.recipe:compare",
    "sweep": "daemon.comparison.sweep.recipe:sweep",
}
ENGINE = "daemon.engine.models:create_engine"
TELL_SECONDS = 0.05
ALIVE_SECONDS = 1.0
NICE = 5
PR_SET_PDEATHSIG = 1
logger = logging.getLogger("daemon.worker")


class Line:
    """The worker's end of the socketpair. Sending blocks while the front is behind, so a recipe cannot run far ahead of it."""

    def __init__(self, connection: socket.socket, end: Callable[[int], object] = os._exit) -> None:
        """`end(code)` ends the process when the front is gone, and with it whoever wanted this work."""
        self._connection = connection
        self._lock = threading.Lock()
        self.end = end
        self.is_gone = False

    def send(self, message: FromWorker) -> None:
        """Send whole messages from any thread. The front gone: this process ends."""
        packed = link.pack(message)
        try:
            with self._lock:
                self._connection.sendall(packed)
        except OSError:
            self.is_gone = True
            self.end(0)

    def receive(self) -> link.ToWorker:
        """The next message; raises `EOFError` when the front is gone."""
        return link.unpack_to_worker(self._read(link.unpack_length(self._read(link.PREFIX_BYTES))))

    def _read(self, count: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < count:
            piece = self._connection.recv(count - len(pieces))
            if not piece:
                raise EOFError
            pieces += piece
        return bytes(pieces)


class Pulse(threading.Thread):
    """Tells every second that this process lives, and passes ephemeral events on: 20 a second of a kind, the latest always."""

    def __init__(self, line: Line, look: Callable[[], None] = lambda: None) -> None:
        """`look()` is called every second too."""
        super().__init__(name="pulse", daemon=True)
        self._line = line
        self._look = look
        self._changed = threading.Condition()
        self._waiting: dict[str, UnitTold] = {}
        self._sent: dict[str, float] = {}
        self._num_steps = 0
        self._phase = ""

    def offer(self, told: UnitTold) -> None:
        """Send an ephemeral event soon, unless a later one of its kind comes first."""
        with self._changed:
            if isinstance(told.event, StepProgress):
                self._num_steps += 1
                self._phase = told.event.phase
            self._waiting[type(told.event).__name__] = told
            self._changed.notify()

    def flush(self) -> None:
        """Send what waits, so that what is sent next comes after it."""
        with self._changed:
            self._send_due(float("inf"))

    def run(self) -> None:
        told_alive = float("-inf")
        while not self._line.is_gone:
            with self._changed:
                now = time.monotonic()
                self._send_due(now)
                if now - told_alive >= ALIVE_SECONDS:
                    self._line.send(Alive(num_steps=self._num_steps, phase=self._phase))
                    self._look()
                    told_alive = now
                self._changed.wait(TELL_SECONDS if self._waiting else ALIVE_SECONDS)

    def _send_due(self, now: float) -> None:
        for kind in [kind for kind in self._waiting if now - self._sent.get(kind, float("-inf")) >= TELL_SECONDS]:
            self._sent[kind] = time.monotonic()
            self._line.send(self._waiting.pop(kind))


class Orders:
    """What a unit was ordered and has not taken yet: the latest of each kind, so that they never pile up. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[type[Order], Order] = {}

    def add(self, order: Order) -> None:
        """Let it wait, in the place of one of its kind."""
        with self._lock:
            self._waiting.pop(type(order), None)
            self._waiting[type(order)] = order

    def take(self) -> tuple[Order, ...]:
        """All that wait, oldest first; they wait no more."""
        with self._lock:
            taken, self._waiting = tuple(self._waiting.values()), {}
        return taken


class Worker:
    """Runs units one after another on the main thread; a reader thread takes orders meanwhile."""

    def __init__(self, line: Line, cache_path: Path) -> None:
        self._line = line
        self._cache_path = cache_path
        self._holding = Holding(lambda: self._engine, lambda event: line.send(link.WorkerTold(event=event)))
        self._pulse = Pulse(line, self._holding.look)
        self._inbox: queue.SimpleQueue[RunUnit | link.HoldModel | link.DropModels | None] = queue.SimpleQueue()
        self._interrupts: dict[str, How] = {}
        self._orders: dict[str, Orders] = {}
        self._leaving = False
        self._previews_wanted = False
        self._engine: Engine | None = None

    def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        signal.signal(signal.SIGTERM, lambda number, frame: self.leave())
        self._line.send(link.WorkerReady(pid=os.getpid()))
        self._pulse.start()
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        while not self._leaving and (unit := self._inbox.get()) is not None:
            if isinstance(unit, RunUnit):
                ended = self._run_unit(unit)
                self._pulse.flush()
                self._line.send(ended)
            else:
                self._hold(unit)
            self._holding.look()
        self._drop_engine()
        return 0

    def leave(self) -> None:
        """Stop at the next step boundary, then end the process."""
        self._leaving = True
        self._inbox.put(None)

    def _listen(self) -> None:
        try:
            while True:
                self._obey(self._line.receive())
        except (EOFError, OSError):
            self._line.end(0)
        except NegError as error:
            logger.critical("%s", error)
            self._line.end(1)

    def _obey(self, order: link.ToWorker) -> None:
        match order:
            case RunUnit():
                self._interrupts.pop(order.job_id, None)
                self._orders[order.job_id] = Orders()
                self._inbox.put(order)
            case InterruptUnit():
                self._interrupts[order.job_id] = order.how
            case OrderUnit():
                self._orders.get(order.job_id, Orders()).add(order.order)
            case link.HoldModel() | link.DropModels():
                self._inbox.put(order)
            case link.WatchPreviews():
                self._previews_wanted = order.wanted
            case StopWorker():
                self.leave()

    def _run_unit(self, unit: RunUnit) -> UnitEnded:
        context = self._context(unit)
        try:
            sweep(context.session_path)
            context.engine = self._get_engine()
            context.check()
            self._run_recipe(unit, context)
        except Interrupted as stop:
            return _ended(unit, context, "paused" if stop.how == "pause" else "cancelled")
        except Exception as error:
            failure = explain(error)
        else:
            return _ended(unit, context, "done")
        finally:
            self._orders.pop(unit.job_id, None)
        # Outside the handler: the traceback held what the recipe held.
        if failure.code == "gpu_oom":
            self._drop_engine()
        gc.collect()
        return _ended(unit, context, "failed", failure)

    def _hold(self, order: link.HoldModel | link.DropModels) -> None:
        if isinstance(order, link.HoldModel):
            model, what = order.model, f"loading {order.label}"
            self._holding.do(what, lambda: require_holder(self._get_engine()).hold(model), explain, self._drop_engine)
        else:
            self._holding.do("unloading", self._drop_engine, explain)

    def _drop_engine(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _run_recipe(self, unit: RunUnit, context: JobContext) -> None:
        kind = str(unit.spec.__struct_config__.tag)
        with contextlib.closing(cast(Any, find_recipe(kind)(unit.spec, context))) as told:
            for event in told:
                self._pulse.flush()
                self._tell(unit, event)

    def _context(self, unit: RunUnit) -> JobContext:
        def asked() -> How | None:
            return "pause" if self._leaving else self._interrupts.get(unit.job_id)

        def tell(event: EphemeralEvent) -> None:
            self._pulse.offer(UnitTold(job_id=unit.job_id, fence=unit.fence, event=event))

        return JobContext(
            job_id=unit.job_id,
            session=unit.spec.session,
            session_path=Path(unit.session_path),
            engine=cast(Engine, None),  # made when the unit runs, so that what it raises is the unit's error
            tell=tell,
            asked=asked,
            previews_wanted=lambda: self._previews_wanted,
            orders=self._orders.setdefault(unit.job_id, Orders()).take,
            cache_path=self._cache_path,
        )

    def _tell(self, unit: RunUnit, event: AnyEvent) -> None:
        self._line.send(UnitTold(job_id=unit.job_id, fence=unit.fence, event=event))

    def _get_engine(self) -> Engine:
        if self._engine is None:
            if "NEGTUI_RECIPES" in os.environ and "NEGTUI_ENGINE" not in os.environ:
                return cast(Engine, None)
            self._engine = cast(Engine, load(os.environ.get("NEGTUI_ENGINE", ENGINE))(self._cache_path))
        return self._engine


def sweep(session_path: Path) -> None:
    """Remove what interrupted writes left in a session, but for its own folder, where `session.toml` may be being edited."""
    if not session_path.is_dir():
        raise NegError("not_found", f"The session folder {session_path} is gone.", "Bring it back, then resume the job.")
    for folder in session_path.iterdir():
        if folder.is_dir() and not folder.is_symlink():
            files.sweep_temporary(folder)


def find_recipe(kind: str) -> Recipe:
    """The recipe for a kind of job, imported now; raises `NegError` `incompatible` where there is none."""
    injected = os.environ.get("NEGTUI_RECIPES")
    table: dict[str, Recipe | str] = load(injected) if injected else dict(RECIPES)
    if kind not in table:
        raise NegError("incompatible", f"This worker has no recipe for {kind!r}.", "Restart the daemon: it and its worker differ.")
    recipe = table[kind]
    return cast(Recipe, load(recipe)) if isinstance(recipe, str) else recipe


def load(reference: str) -> Any:
    """`module:name` -> the object."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the process; see the module's words."""
    parser = argparse.ArgumentParser(prog="python -m daemon.worker", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socketpair's end")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what can be computed again")
    parsed = parser.parse_args(arguments)
    _harden()
    connection = socket.socket(fileno=parsed.fd)
    connection.setblocking(True)
    connection.set_inheritable(False)
    return Worker(Line(connection), parsed.cache).run()


def lift_memory_limit() -> None:
    """Take back the bound that the front put on itself, and a child inherits: models are larger."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _harden() -> None:
    """Die with the parent, leave ctrl+c and the first turn on a busy CPU to it, dump stacks on SIGUSR1, log without ever failing for it."""
    os.nice(NICE)
    lift_memory_limit()
    logging.raiseExceptions = False
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s worker %(process)d %(levelname)s %(message)s")
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _ended(unit: RunUnit, context: JobContext, outcome: Any, error: ErrorDetail | None = None) -> UnitEnded:
    return UnitEnded(job_id=unit.job_id, fence=unit.fence, outcome=outcome, error=error, timings=dict(context.timings))


if __name__ == "__main__":
    sys.exit(main())
