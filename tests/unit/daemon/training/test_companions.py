import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch
from accelerate import Accelerator
from tiny_sdxl import TinyEngine, make_context, make_job, make_session

from daemon.failures import ProcessUnfit
from daemon.protocol.errors import ErrorDetail, NegError
from daemon.recipe import Interrupted
from daemon.training.companions import LOOK_SECONDS, Companions, Told, accompanied, told_path
from daemon.training.recipe import make_plan

WAITING = "import sys; sys.stdin.read()"


def process(program: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)


class Joining:
    """A trainer before its first step."""

    step, device, dtype = 0, torch.device("cpu"), torch.float32

    def __init__(self) -> None:
        self.joined: list[Accelerator] = []

    def join(self, accelerator: Accelerator) -> None:
        self.joined.append(accelerator)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Companions]:
    """Two companions that say nothing and do nothing."""
    folder = tmp_path / "folder"
    folder.mkdir()
    found = Companions(folder, [process(WAITING), process(WAITING)])
    yield found
    found.end()
    assert all(one.returncode is not None for one in found.processes)
    assert not folder.exists()


def tell(companions: Companions, rank: int, error: ErrorDetail | None = None) -> None:
    told_path(companions.folder, rank).write_bytes(msgspec.json.encode(Told(error=error)))


def test_all_are_waited_for(two: Companions, tmp_path: Path) -> None:
    told = []

    def watch(event: object) -> None:
        told.append(event)
        for rank in (1, 2):
            tell(two, rank)

    two.wait(make_context(tmp_path, TinyEngine(), tell=watch))
    assert [(event.phase, event.step, event.num_steps) for event in told] == [("load", 0, 2)]


def test_what_one_could_not_do_is_said_with_its_number(two: Companions, tmp_path: Path) -> None:
    tell(two, 1)
    tell(two, 2, ErrorDetail(code="gpu_oom", message="It does not fit.", hint="Less."))
    with pytest.raises(NegError) as caught:
        two.wait(make_context(tmp_path, TinyEngine()))
    assert caught.value.detail == ErrorDetail(code="gpu_oom", message="Process 3 of 3: It does not fit.", hint="Less.")


def test_one_that_ends_without_a_word_makes_this_process_unfit(two: Companions, tmp_path: Path) -> None:
    two.processes[0].kill()
    with pytest.raises(ProcessUnfit, match="process 2 ended with code -9"):
        two.wait(make_context(tmp_path, TinyEngine()))


def test_a_person_need_not_wait_for_them(two: Companions, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        two.wait(make_context(tmp_path, TinyEngine(), asked=lambda: "cancel"))


def given_up(companions: Companions) -> "queue.SimpleQueue[Exception]":
    found: queue.SimpleQueue[Exception] = queue.SimpleQueue()
    companions.watch(found.put)
    return found


def test_while_this_process_waits_one_that_is_gone_is_noticed(two: Companions) -> None:
    found = given_up(two)
    two.processes[1].kill()
    why = found.get(timeout=60)
    assert isinstance(why, ProcessUnfit)
    assert "process 3 ended with code -9" in str(why)


def test_one_that_said_why_it_goes_is_no_reason_to_give_up(two: Companions) -> None:
    found = given_up(two)
    tell(two, 2, ErrorDetail(code="gpu_oom", message="It does not fit.", hint="Less."))
    two.processes[1].kill()
    two.processes[1].wait()
    with pytest.raises(queue.Empty):
        found.get(timeout=5 * LOOK_SECONDS)
    assert isinstance(two.why_lost(), NegError)


def test_those_that_are_ended_are_no_loss(two: Companions) -> None:
    found = given_up(two)
    two.end()
    with pytest.raises(queue.Empty):
        found.get(timeout=5 * LOOK_SECONDS)


def test_one_process_needs_no_company(tmp_path: Path) -> None:
    context = make_context(make_session(tmp_path / "s"), TinyEngine())
    plan = make_plan(make_job(), context)
    trainer = Joining()
    with accompanied(plan, context, trainer):  # type: ignore[arg-type]
        assert [accelerator.num_processes for accelerator in trainer.joined] == [1]
        assert not plan.checkpoints_path.exists()
