from __future__ import annotations

import pytest

from daemon.protocol.commands import LoadModel, Ordered, SessionRow, UnloadModel
from daemon.protocol.events import Gauges, ResidentPart, Residents, WorkerChanged
from negtui.app import NegtuiApp
from negtui.screens.gpu import NO_DRIVER, devices_lines, residents_lines, workers_lines
from negtui.view import View
from tests.curation_daemon import client, in_loop, press
from tests.fake_client import FakeClient
from tests.snapshots.screens import SIZES, matches, settled, text_of

GIB = 2**30
PARTS = (
    ResidentPart(name="unet", kind="base", num_bytes=5 * GIB, device="cuda", dtype="float16"),
    ResidentPart(name="vae", kind="shared", num_bytes=160 * 2**20, device="cuda", dtype="float16"),
    ResidentPart(name="wrong", kind="adapter", num_bytes=20 * 2**20, device="cpu", dtype="float32"),
)


def gauges(share: float) -> Gauges:
    return Gauges(
        device="NVIDIA H200", memory_used=int(40 * share) * GIB, memory_total=40 * GIB, utilisation=100 * share,
        temperature=40 + 30 * share, power_watts=700 * share,
    )  # fmt: skip


class Loading(FakeClient):
    """Also takes models in and out."""

    async def request(self, command):  # type: ignore[no-untyped-def]
        if isinstance(command, (LoadModel, UnloadModel)):
            self.daemon.asked.append(command)
            return Ordered(workers=("worker",))
        return await super().request(command)


@pytest.mark.parametrize("size", SIZES)
@in_loop
async def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    fake = client()
    app = NegtuiApp(fake.connect, start="gpu")
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.3)
        for step in range(20):
            app.bridge.take(gauges(step / 20))
        fake.tell(Residents(worker="worker", parts=PARTS, doing="loading wrong", allocated_bytes=6 * GIB, reserved_bytes=7 * GIB))
        await pilot.pause(0.4)
        assert matches(f"gpu-{size[0]}x{size[1]}", await settled(pilot))


@in_loop
async def test_models_are_loaded_and_after_a_question_unloaded() -> None:
    fake = Loading()
    app = NegtuiApp(fake.connect, start="gpu")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause(0.3)
        await press(pilot, "o")
        assert fake.daemon.asked[-1] == LoadModel(session="toy"), "the only one there is"
        app.view.sessions["second"] = SessionRow(name="second")
        await press(pilot, "o")
        assert "Choose a session on screen 1 first" in " ".join(text_of(app).split())
        app.current_session = "toy"
        await press(pilot, "o")
        await press(pilot, "U", "n")
        assert fake.daemon.asked[-1] == LoadModel(session="toy")
        await press(pilot, "U", "y")
        assert fake.daemon.asked[-1] == UnloadModel()


def test_without_a_driver_it_says_so() -> None:
    assert devices_lines({"none": [Gauges(device="none")]}, 80) == [NO_DRIVER]
    assert "Waiting" in devices_lines({}, 80)[0]


def test_what_a_device_does_not_tell_is_not_available() -> None:
    lines = "\n".join(devices_lines({"gpu": [Gauges(device="gpu", utilisation=5.0)]}, 80))
    assert lines.count("n/a") >= 3
    assert "5 %" in lines


def test_a_sick_worker_is_seen_without_colours() -> None:
    view = View(workers={"w": WorkerChanged(worker="w", state="sick", message="a CUDA error")})
    assert "!! w  sick: a CUDA error" in "\n".join(workers_lines(view, 80))
    assert "none started yet" in "\n".join(workers_lines(View(), 80))


def test_resident_parts_are_told_with_their_sizes_and_places() -> None:
    lines = residents_lines({"w": Residents(worker="w", parts=PARTS, error="It did not fit.")}, 80)
    text = "\n".join(lines)
    assert "5.18 GiB in 3 parts" in text
    assert "!! It did not fit." in text
    assert "adapter wrong" in text
    assert "20.0 MiB  cpu float32" in text
