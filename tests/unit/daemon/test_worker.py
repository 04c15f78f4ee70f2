import socket
import threading
import time
import typing
from pathlib import Path

import pytest

from daemon import worker
from daemon.engine.base import Engine
from daemon.protocol import link
from daemon.protocol.errors import NegError
from daemon.protocol.events import AnyEvent, ImageSaved, ResidentPart, StepProgress
from daemon.protocol.link import Alive, FromWorker, InterruptUnit, OrderUnit, RunUnit, StopWorker, UnitEnded, UnitTold, WatchPreviews
from daemon.protocol.orders import Checkpoint, LearningRate, Sample
from daemon.protocol.specs import JobSpec, ModelSpec
from tests import fake_recipes


class Front:
    """The other end of a worker's line."""

    def __init__(self) -> None:
        self.connection, theirs = socket.socketpair()
        self.exits: list[int] = []
        self.line = worker.Line(theirs, end=self.exits.append)
        self._theirs = theirs

    def close(self) -> None:
        self.connection.close()
        self._theirs.close()

    def heard(self) -> list[FromWorker]:
        """All messages so far."""
        self.connection.setblocking(False)
        messages = []
        try:
            while True:
                length = link.unpack_length(self.connection.recv(4, socket.MSG_PEEK))
                messages.append(link.unpack_from_worker(self.connection.recv(4 + length)[4:]))
        except BlockingIOError:
            return messages

    def events(self) -> list[AnyEvent]:
        return [message.event for message in self.heard() if isinstance(message, UnitTold)]


@pytest.fixture
def front():
    made = Front()
    yield made
    made.close()


@pytest.fixture
def session_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEGTUI_RECIPES", "tests.fake_recipes:RECIPES")
    path = tmp_path / "sessions" / "fake"
    path.mkdir(parents=True)
    return path


def unit(session_path: Path, job_id: str = "j", **settings: object) -> RunUnit:
    return RunUnit(job_id=job_id, fence=4, spec=fake_recipes.job(**settings), session_path=str(session_path))


def progress(step: int, phase: str = "train") -> UnitTold:
    event = StepProgress(job_id="j", phase=phase, step=step, num_steps=1000)
    return UnitTold(job_id="j", fence=1, event=event)


def run(front: Front, given: RunUnit, tmp_path: Path) -> UnitEnded:
    return worker.Worker(front.line, tmp_path / "cache")._run_unit(given)


def test_a_done_unit_told_everything_under_its_fence(front: Front, session_path: Path, tmp_path: Path) -> None:
    assert run(front, unit(session_path, num_images=3), tmp_path) == UnitEnded(job_id="j", fence=4, outcome="done")
    told = front.heard()
    assert all(isinstance(message, UnitTold) and message.fence == 4 for message in told)
    events = [message.event for message in told if isinstance(message, UnitTold)]
    assert [event.index for event in events if isinstance(event, ImageSaved)] == [0, 1, 2]
    assert [type(event) for event in events[:2]] == [StepProgress, ImageSaved], "progress before what it led to"


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"raises": "neg"}, "incompatible", "The fake model does not fit."),
        ({"raises": "plain"}, "internal", "ValueError: fake trouble"),
        ({"raises": "oom"}, "gpu_oom", "Tried to allocate 2.00 GiB"),
        ({"full_file": "session.toml"}, "disk_full", "No room left"),
    ],
)
def test_failures_have_a_code_and_one_line(
    front: Front, session_path: Path, tmp_path: Path, settings: dict[str, object], code: str, words: str
) -> None:
    (session_path / "session.toml").touch()
    ended = run(front, unit(session_path, **settings), tmp_path)
    assert ended.outcome == "failed"
    assert ended.error is not None
    assert ended.error.code == code
    assert words in ended.error.message
    assert "\n" not in ended.error.message


def test_unexpected_errors_are_in_the_log_with_their_story(
    front: Front, session_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(front, unit(session_path, raises="plain"), tmp_path)
    assert "Traceback" in caplog.text
    assert "with a second line" in caplog.text


def test_out_of_gpu_memory_frees_the_engine(front: Front, session_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_ENGINE", "tests.unit.daemon.test_worker:create_engine")
    monkeypatch.setattr(worker, "load", lambda reference: create_engine if "engine" in reference else fake_recipes.RECIPES)
    made = worker.Worker(front.line, tmp_path / "cache")
    made._run_unit(unit(session_path))
    made._run_unit(unit(session_path, raises="oom"))
    assert [engine.closed for engine in CREATED] == [True]
    made._run_unit(unit(session_path))
    assert [engine.closed for engine in CREATED] == [True, False]


class CountedEngine:
    closed = False

    def close(self) -> None:
        self.closed = True


CREATED: list[CountedEngine] = []


def create_engine(cache_path: Path) -> Engine:
    CREATED.append(CountedEngine())
    return CREATED[-1]  # type: ignore[return-value]


@pytest.mark.parametrize(("how", "outcome"), [("pause", "paused"), ("cancel", "cancelled")])
def test_orders_reach_the_unit_they_name(front: Front, session_path: Path, tmp_path: Path, how: str, outcome: str) -> None:
    made = worker.Worker(front.line, tmp_path / "cache")
    given = unit(session_path)
    made._obey(InterruptUnit(job_id="another", how="cancel"))
    assert made._run_unit(given).outcome == "done"
    made._obey(InterruptUnit(job_id="j", how=how))  # type: ignore[arg-type]
    assert made._run_unit(given).outcome == outcome
    made._obey(given)
    assert made._run_unit(given).outcome == "done", "a new start forgets the old order"


def test_orders_wait_for_the_unit_they_name_the_latest_of_each_kind(front: Front, session_path: Path, tmp_path: Path) -> None:
    made = worker.Worker(front.line, tmp_path / "cache")
    given = unit(session_path)
    made._obey(OrderUnit(job_id="j", order=Sample()))
    made._obey(given)
    for order in (LearningRate(value=1.0), Sample(), Sample(), LearningRate(value=2.0)):
        made._obey(OrderUnit(job_id="j", order=order))
    made._obey(OrderUnit(job_id="another", order=Checkpoint()))
    context = made._context(given)
    assert context.orders() == (Sample(), LearningRate(value=2.0))
    assert context.orders() == ()
    made._obey(OrderUnit(job_id="j", order=Checkpoint()))
    assert context.orders() == (Checkpoint(),)


def test_a_unit_that_ended_takes_its_orders_along(front: Front, session_path: Path, tmp_path: Path) -> None:
    made = worker.Worker(front.line, tmp_path / "cache")
    given = unit(session_path)
    made._obey(given)
    made._obey(OrderUnit(job_id="j", order=Sample()))
    assert made._run_unit(given).outcome == "done"
    made._obey(OrderUnit(job_id="j", order=Sample()))
    assert made._context(given).orders() == ()


def test_no_order_is_lost_between_threads() -> None:
    orders = worker.Orders()
    taken: list[float] = []

    def give() -> None:
        for number in range(1, 2001):
            orders.add(LearningRate(value=float(number)))

    thread = threading.Thread(target=give)
    thread.start()
    while thread.is_alive():
        taken += [order.value for order in orders.take() if isinstance(order, LearningRate)]
    taken += [order.value for order in orders.take() if isinstance(order, LearningRate)]
    assert taken == sorted(set(taken))
    assert taken[-1] == 2000.0


def test_leaving_pauses(front: Front, session_path: Path, tmp_path: Path) -> None:
    made = worker.Worker(front.line, tmp_path / "cache")
    made._obey(StopWorker())
    assert made._run_unit(unit(session_path)).outcome == "paused"


def test_previews_are_wanted_when_said(front: Front, session_path: Path, tmp_path: Path) -> None:
    made = worker.Worker(front.line, tmp_path / "cache")
    context = made._context(unit(session_path))
    assert not context.previews_wanted()
    made._obey(WatchPreviews(wanted=True))
    assert context.previews_wanted()


def test_progress_is_conflated_and_the_last_always_told(front: Front) -> None:
    pulse = worker.Pulse(front.line)
    pulse.start()
    for step in range(1, 501):
        pulse.offer(progress(step))
    time.sleep(3 * worker.TELL_SECONDS)
    steps = [event.step for event in front.events() if isinstance(event, StepProgress)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 500
    assert len(steps) < 20


def test_signs_of_life_count_steps_and_name_the_phase(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ALIVE_SECONDS", 0.01)
    pulse = worker.Pulse(front.line)
    for step in (1, 2, 3):
        pulse.offer(progress(step, "measure"))
    pulse.start()
    time.sleep(0.1)
    alive = [message for message in front.heard() if isinstance(message, Alive)]
    assert alive
    assert set(alive) == {Alive(num_steps=3, phase="measure")}


def test_the_line_carries_messages_that_come_in_pieces(front: Front) -> None:
    packed = link.pack(WatchPreviews(wanted=True)) + link.pack(StopWorker())

    def drip() -> None:
        for byte in packed:
            front.connection.sendall(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    assert [front.line.receive(), front.line.receive()] == [WatchPreviews(wanted=True), StopWorker()]
    thread.join()
    front.connection.close()
    with pytest.raises(EOFError):
        front.line.receive()


def test_what_interrupted_writes_left_is_swept_but_not_beside_session_toml(session_path: Path) -> None:
    for left in (".tmp-1.toml", "dataset/.tmp-2.png", "checkpoints/wrong/.tmp-3/optimizer.safetensors"):
        (session_path / left).parent.mkdir(parents=True, exist_ok=True)
        (session_path / left).touch()
    (session_path / "dataset" / "kept.png").touch()
    worker.sweep(session_path)
    files = sorted(str(path.relative_to(session_path)) for path in session_path.rglob("*") if path.is_file())
    assert files == [".tmp-1.toml", "dataset/kept.png"]


def test_a_missing_session_is_said(front: Front, session_path: Path, tmp_path: Path) -> None:
    session_path.rmdir()
    ended = run(front, unit(session_path), tmp_path)
    assert ended.error is not None
    assert ended.error.code == "not_found"


def test_an_unknown_kind_is_said(session_path: Path) -> None:
    with pytest.raises(NegError, match="no recipe for 'paint'"):
        worker.find_recipe("paint")


def test_every_kind_of_job_has_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "load", lambda reference: reference)
    kinds = [kind.__struct_config__.tag for kind in typing.get_args(JobSpec)]
    assert {worker.find_recipe(kind) for kind in kinds} == set(worker.RECIPES.values())


def test_a_line_without_a_front_ends_the_process(front: Front) -> None:
    front.connection.close()
    pulse = worker.Pulse(front.line)
    pulse.start()
    pulse.join(10)
    assert not pulse.is_alive()
    assert front.exits == [0]


class HoldingEngine:
    """An engine that holds what it is told to, and fails for one base."""

    def __init__(self, cache_path: Path) -> None:
        self.parts: tuple[ResidentPart, ...] = ()

    def residents(self) -> tuple[ResidentPart, ...]:
        return self.parts

    def gpu_bytes(self) -> None:
        return None

    def hold(self, model: ModelSpec) -> None:
        self.parts = (ResidentPart(name=model.base, kind="base", num_bytes=5, device="cpu"),)
        if model.base == "bad":
            raise NegError("not_found", "There is no bad.", "Take another.")

    def close(self) -> None:
        self.parts = ()


def test_models_are_held_and_dropped_between_units(
    front: Front, session_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEGTUI_ENGINE", "json:loads")
    made = worker.Worker(front.line, tmp_path / "cache")
    monkeypatch.setattr(worker, "load", lambda reference: HoldingEngine if reference == "json:loads" else fake_recipes.RECIPES)
    for order in (
        link.HoldModel(model=ModelSpec(base="toy"), label="toy"),
        link.HoldModel(model=ModelSpec(base="bad"), label="bad"),
        link.DropModels(),
        unit(session_path),
        StopWorker(),
    ):
        made._obey(order)
    made._leaving = False
    assert made.run() == 0
    heard = front.heard()
    told = [message.event for message in heard if isinstance(message, link.WorkerTold)]
    assert [(one.doing, one.error, [part.name for part in one.parts]) for one in told] == [
        ("loading toy", "", []),
        ("", "", ["toy"]),
        ("loading bad", "", ["toy"]),
        ("", "There is no bad. Take another.", []),
        ("unloading", "", []),
        ("", "", []),
    ]
    assert [message.outcome for message in heard if isinstance(message, UnitEnded)] == ["done"]
