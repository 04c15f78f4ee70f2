from pathlib import Path

from daemon.jobs.executor import Executor, Worker, WorkerLost
from daemon.jobs.local import LocalExecutor, LocalWorker
from tests.fake_executor import FakeExecutor, FakeWorker


def names_of(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def test_local_and_fake_offer_what_the_scheduler_uses(tmp_path: Path) -> None:
    executor: Executor = LocalExecutor(tmp_path / "log", tmp_path / "cache")
    assert executor.names == ("worker",)
    for kind in (LocalExecutor, FakeExecutor):
        assert all(hasattr(kind("a"), name) if kind is FakeExecutor else hasattr(kind, name) for name in names_of(Executor))
    assert all(hasattr(LocalWorker, name) for name in names_of(Worker))
    assert all(hasattr(FakeWorker(), name) for name in names_of(Worker))


def test_a_loss_is_told_in_words() -> None:
    assert str(WorkerLost("was ended by SIGKILL")) == "was ended by SIGKILL"
