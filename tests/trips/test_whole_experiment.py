"""The whole experiment by keys alone, on a pty, with a real daemon, a real worker and the toy model: from a new session to the verdict.

Beside it a second client looks on, and the dashboard is killed in the midst of the training.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.workshop import Workshop
from tests.pty_terminal import NEGTUI, PtyTerminal

SECONDS = 180.0
NUM_STEPS = 40


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """An empty workspace; whatever daemon it got is gone afterwards."""
    made = Workshop(tmp_path / "w", monkeypatch)
    yield made
    made.kill_front()


def write(terminal: PtyTerminal, text: str) -> None:
    """Over what stands in a line."""
    terminal.press("end", "ctrl+u", text)


def make_session(terminal: PtyTerminal) -> None:
    terminal.wait_for("n makes one")
    terminal.press("n")
    terminal.wait_for("New session")
    terminal.press("tiny", "enter")
    write(terminal, "toy")
    terminal.press("enter", "enter", "enter", "enter")
    terminal.press("comparison.num_prompts=6 comparison.num_inference_steps=4 training.checkpointing_steps=4", "enter")
    terminal.wait_for(">  tiny")


def paint(terminal: PtyTerminal) -> None:
    terminal.press("2")
    terminal.wait_for("no pictures yet")
    terminal.press("e")
    terminal.wait_for("enter saves it")
    write(terminal, "blurry, grainy")
    terminal.press("down", "down")
    write(terminal, "3")
    terminal.press("down", "down")
    write(terminal, "4")
    terminal.wait_for("2 pictures, time unknown")
    terminal.press("ctrl+s")
    terminal.wait_for("tiny: 2 pictures, 2 undecided", SECONDS)
    terminal.press("x")
    terminal.wait_for("1 reject")
    terminal.press("u")
    terminal.wait_for("2 undecided")


def option(terminal: PtyTerminal, name: str, value: str) -> None:
    terminal.press("/", name, "enter")
    terminal.wait_for(f"{name}:")
    terminal.press("enter")
    write(terminal, value)
    terminal.press("enter")
    terminal.wait_for(f"* {name}")


def train_and_kill(terminal: PtyTerminal) -> None:
    """Started by its form; the dashboard is killed in its midst."""
    terminal.press("3")
    terminal.wait_for("[options]")
    option(terminal, "max_train_steps", str(NUM_STEPS))
    terminal.press("r")
    terminal.wait_for(lambda: re.search(rf" [1-9]\d*/{NUM_STEPS}\b", terminal.text), SECONDS)
    os.kill(terminal.process.pid, signal.SIGKILL)


def curve(terminal: PtyTerminal) -> tuple[str, str]:
    """What the first and the last point of the loss say."""
    terminal.wait_for("tiny")
    terminal.press("3")
    terminal.wait_for(f"done  step {NUM_STEPS}/{NUM_STEPS}", SECONDS)
    found = []
    for key, step in (("home", 1), ("end", NUM_STEPS)):
        reading = re.compile(rf"\bloss  at {step}: (\S+ \(\S+\))")
        terminal.press("tab", key)  # from the options to the curves
        terminal.wait_for(lambda reading=reading: reading.search(terminal.text))
        found += reading.findall(terminal.text)[:1]
        terminal.press("shift+tab")
    return found[0], found[1]


def compare(terminal: PtyTerminal) -> None:
    terminal.press("4")
    terminal.wait_for("no comparison yet")
    terminal.press("r")
    terminal.wait_for("y: yes")
    terminal.press("y")
    terminal.wait_for("6 blocks. On flaw_probability", SECONDS)
    terminal.press("e")
    terminal.wait_for("this block")
    terminal.press("G")
    terminal.wait_for("cosine_guidance_baseline")
    terminal.press("escape")
    terminal.wait_for("cosine_guidance_baseline", gone=True)
    terminal.press("y")
    terminal.wait_for("Copied: prompt, seed")
    assert "Seed: 0" in terminal.clipboard


@pytest.mark.timeout(900)
def test_from_a_new_session_to_the_verdict_by_keys_alone(workshop: Workshop) -> None:
    argv = [*NEGTUI, "--workspace", str(workshop.folder)]
    with closing(PtyTerminal([*argv, "--read-only"], columns=120, rows=40)) as onlooker:
        with closing(PtyTerminal(argv)) as terminal:
            make_session(terminal)
            paint(terminal)
            train_and_kill(terminal)
        onlooker.wait_for("tiny")
        onlooker.press("r")
        onlooker.wait_for("Opened with --read-only")
        with closing(PtyTerminal(argv)) as terminal:
            assert curve(terminal) == curve(onlooker)
            compare(terminal)
            workshop.kill_front()
            terminal.wait_for("NO CONNECTION")
            terminal.press("f5")
            terminal.wait_for("NO CONNECTION", gone=True)
            terminal.press("q")
            terminal.wait_for("The daemon and its jobs go on")
            assert terminal.process.wait(10) == 0
