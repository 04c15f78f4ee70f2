from __future__ import annotations

import msgspec
import pytest

from daemon.protocol.commands import ReadSession, SessionRow
from daemon.protocol.events import SessionChanged, StepProgress
from daemon.protocol.specs import TrainJob
from daemon.protocol.training_spec import TrainingSpec
from negtui.screens.options import judge
from negtui.widgets.spec_form import OptionRows, SpecForm
from tests.curation_daemon import in_loop, told
from tests.fake_client import FakeClient
from tests.training_daemon import TrainingDaemon
from tests.unit.negtui.screens.test_train import opened, with_run


@in_loop
async def test_a_change_in_the_form_changes_the_session_and_is_marked() -> None:
    async with opened() as desk:
        assert "toy: not trained yet. r starts it." in desk.text
        desk.screen.query_one(OptionRows).focus()
        await desk.press("slash", *"reach", "enter", "enter", "backspace", "8", "enter")
        assert desk.daemon.changes == [{"training.rank": "8"}]
        assert desk.screen.spec is not None
        assert desk.screen.spec.training is not None
        assert desk.screen.spec.training.rank == 8
        assert "* rank" in desk.text


@in_loop
async def test_arrows_move_the_cursor_also_where_there_are_more_options_than_fit() -> None:
    async with opened(size=(80, 24)) as desk:
        rows = desk.screen.query_one(OptionRows)
        rows.focus()
        first = rows.current
        await desk.press("down", "down", "up")
        assert rows.current is not None
        assert rows.current.name == "seed"
        await desk.press("home")
        assert rows.current == first


@in_loop
async def test_a_refused_change_is_said_beside_its_field() -> None:
    async with opened(FakeClient(TrainingDaemon(refused=["training.use_dora"]))) as desk:
        desk.screen.query_one(OptionRows).focus()
        await desk.press("slash", *"use_dora", "enter", "space")
        assert "! use_dora" in desk.text
        assert "training.use_dora is refused." in desk.text.replace("\n", " ")


@in_loop
async def test_another_session_takes_back_nothing_of_the_one_before() -> None:
    client = FakeClient(TrainingDaemon(), sessions=(SessionRow(name="second"), SessionRow(name="toy")))
    async with opened(client) as desk:
        desk.screen.negtui.current_session = "toy"
        await desk.pilot.pause(0.5)
        desk.screen.query_one(OptionRows).focus()
        await desk.press("slash", *"use_dora", "enter", "space", "enter")
        assert len(desk.daemon.changes) == 2
        await desk.press("slash", *["backspace"] * 8, *"reach", "enter", "enter", "9")
        desk.screen.negtui.current_session = "second"
        await desk.pilot.pause(0.5)
        assert not desk.screen.query_one(SpecForm).is_writing
        await desk.press("u")
        assert len(desk.daemon.changes) == 2


@in_loop
async def test_a_refusal_that_comes_late_names_its_session() -> None:
    sessions = (SessionRow(name="second"), SessionRow(name="toy"))
    async with opened(FakeClient(TrainingDaemon(refused=["training.use_dora"]), sessions=sessions)) as desk:
        desk.screen.negtui.current_session = "toy"
        await desk.pilot.pause(0.5)
        desk.daemon.is_writing.clear()
        desk.screen.query_one(OptionRows).focus()
        await desk.press("slash", *"use_dora", "enter", "space")
        desk.screen.negtui.current_session = "second"
        await desk.pilot.pause(0.5)
        desk.daemon.is_writing.set()
        await desk.pilot.pause(0.3)
        assert "toy, use_dora: training.use_dora is refused." in told(desk.pilot.app)
        assert "! use_dora" not in desk.text


@in_loop
async def test_an_edit_from_elsewhere_is_seen_at_once() -> None:
    async with opened() as desk:
        training = TrainingSpec(seed=77)
        desk.daemon.spec = msgspec.structs.replace(desk.daemon.spec, training=training)
        desk.client.sessions = (SessionRow(name="toy", num_images=37),)
        await desk.tell(SessionChanged(session="toy", change="edited"))
        await desk.pilot.pause(0.5)
        assert desk.screen.query_one(SpecForm).spec == training


@in_loop
@pytest.mark.parametrize("refused", [(), ("training.rank",)])
async def test_a_start_waits_for_changes_on_their_way_and_starts_nothing_else(refused: tuple[str, ...]) -> None:
    async with opened(FakeClient(TrainingDaemon(refused))) as desk:
        desk.daemon.is_writing.clear()
        desk.screen.query_one(OptionRows).focus()
        await desk.press("slash", *"reach", "enter", "enter", "backspace", "8", "enter", "r")
        assert not desk.daemon.submitted
        desk.daemon.is_writing.set()
        await desk.pilot.pause(0.3)
        ranks = [spec.training.rank for spec, _ in desk.daemon.submitted if isinstance(spec, TrainJob)]
        assert ranks == ([] if refused else [8])
        assert ("Not started: the last change was refused." in told(desk.pilot.app)) is bool(refused)


@in_loop
async def test_a_session_without_training_gets_one_by_the_first_change() -> None:
    client = FakeClient(TrainingDaemon())
    client.daemon.spec = msgspec.structs.replace(client.daemon.spec, training=None)
    async with opened(client) as desk:
        assert "has no [training]" in desk.text
        desk.screen.query_one(OptionRows).focus()
        await desk.press("slash", *"use_dora", "enter", "space")
        assert desk.screen.spec is not None
        assert desk.screen.spec.training == TrainingSpec(use_dora=True)


@in_loop
async def test_the_session_is_read_when_it_changes_not_when_steps_pass() -> None:
    client, row = with_run()
    async with opened(client) as desk:
        num_reads = sum(isinstance(command, ReadSession) for command in desk.daemon.asked)
        for step in range(5):
            await desk.tell(StepProgress(job_id=row.id, phase="train", step=step, num_steps=4))
        assert sum(isinstance(command, ReadSession) for command in desk.daemon.asked) == num_reads


def test_rules_between_options_are_said_by_option_faults_first() -> None:
    found = judge(TrainingSpec(use_dora=True, peft_type="loha", lr_warmup_steps=5))
    assert found["use_dora"].is_fault
    assert "goes with peft_type lora" in found["use_dora"].words
    assert judge(TrainingSpec()) == {}
