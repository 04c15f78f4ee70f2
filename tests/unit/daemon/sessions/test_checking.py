from __future__ import annotations

from pathlib import Path

import pytest

from daemon import sessions
from daemon.models import identity
from daemon.protocol.errors import NegError
from daemon.protocol.training_rules import PACKAGES
from daemon.sessions.checking import needed_bytes


def test_doubts_are_warnings(sessions_path: Path) -> None:
    changes = {
        "training.output_name": '"other"',
        "comparison.num_prompts": "5000",
        "model.refiner": "none",
    }
    warnings = sessions.create(sessions_path, "mine", "toy", changes).warnings
    for words in ("adapter 'wrong'", "num_prompts is 5000", "no refiner"):
        assert any(words in warning for warning in warnings), words
    assert sessions.check(sessions_path, "mine").warnings == warnings


def test_an_arm_s_embedding_that_is_neither_trained_nor_there_is_told(sessions_path: Path) -> None:
    sessions.create(sessions_path, "mine", "toy", {}, skip_checks=True)
    path = sessions_path / "mine" / "session.toml"
    arm = '[[comparison.arms]]\nname = "learned"\nnegative_prompt = "<wrong>"\nembeddings = [{ name = "wrong-ti" }]\n'
    path.write_text(f"{path.read_text()}\n{arm}")
    assert any("embedding 'wrong-ti'" in warning for warning in sessions.check(sessions_path, "mine").warnings)
    (sessions_path / "mine" / "adapters" / "wrong-ti").mkdir(parents=True)
    assert not any("wrong-ti" in warning for warning in sessions.check(sessions_path, "mine").warnings)


def test_a_wrong_prompt_in_the_prompts_file_is_named_with_its_line(sessions_path: Path) -> None:
    sessions.create(sessions_path, "mine", "toy", {}, skip_checks=True)
    (sessions_path / "mine" / "prompts.txt").write_text("a star\n\n7\ta (star:1.5)\n")
    with pytest.raises(NegError, match=r"prompts.txt, line 3: "):
        sessions.check(sessions_path, "mine")


def test_a_scorer_whose_files_are_not_here_is_said_before_anything_runs(sessions_path: Path) -> None:
    changes = {"comparison.scorers": '["toy-probe", "hpsv2.1"]'}
    with pytest.raises(NegError, match=r"The scorer hpsv2.1 has no files here: there is no folder .*scorers/hpsv2.1"):
        sessions.create(sessions_path, "mine", "toy", changes)
    assert not (sessions_path / "mine").exists()
    elsewhere = changes | {"comparison.scorer_paths": '{ hpsv2_1 = "/models/hps" }'}
    with pytest.raises(NegError, match=r"there is no folder /models/hps \(comparison.scorer_paths\)"):
        sessions.create(sessions_path, "mine", "toy", elsewhere)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training.use_dora": "true", "training.peft_type": '"lokr"'}, r"training.use_dora goes with peft_type lora"),
        ({"training.min_timestep": "900", "training.max_timestep": "900"}, r"training.min_timestep is 900"),
        ({"training.optimizer": '"adamw8bit"', "model.device": '"cpu"'}, r"training.optimizer adamw8bit needs an NVIDIA GPU"),
    ],
)
def test_options_of_a_training_that_contradict_each_other_are_said_before_anything_runs(
    sessions_path: Path, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(NegError, match=words):
        sessions.create(sessions_path, "mine", "toy", changes)
    assert not (sessions_path / "mine").exists()
    sessions.create(sessions_path, "mine", "toy", changes, skip_checks=True)
    with pytest.raises(NegError, match=words):
        sessions.check(sessions_path, "mine")


def test_more_processes_than_gpus_are_said(sessions_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "cuda_is_there", lambda: True)
    monkeypatch.setattr(identity, "visible_gpus", lambda: ("0",))
    changes = {"training.num_processes": "2", "training.gradient_accumulation_steps": "2"}
    with pytest.raises(NegError, match=r"training.num_processes is 2, and the daemon sees 1 GPU"):
        sessions.create(sessions_path, "mine", "toy", changes)


def test_options_of_a_training_without_effect_are_warned_of(sessions_path: Path) -> None:
    changes = {"training.lr_warmup_steps": "10", "training.lr_scheduler": '"constant"'}
    assert any("training.lr_warmup_steps has no effect" in one for one in sessions.create(sessions_path, "mine", "toy", changes).warnings)


def test_an_optimizer_whose_package_is_missing_is_said(sessions_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "prodigy", "no_such_package_prodigy")
    with pytest.raises(NegError, match="needs the package no_such_package_prodigy"):
        sessions.create(sessions_path, "mine", "toy", {"training.optimizer": '"prodigy"'})


def test_the_room_counts_flips_class_images_and_what_is_learned(sessions_path: Path) -> None:
    def needed(name: str, **training: str) -> int:
        sessions.create(sessions_path, name, "toy", {f"training.{key}": value for key, value in training.items()}, skip_checks=True)
        return needed_bytes(sessions.read(sessions_path, name), sessions_path / name)

    plain = needed("plain")
    preserving = {"with_prior_preservation": "true", "class_prompt": '"a circle"', "num_class_images": "500"}
    own = {**preserving, "class_data_dir": '"class"'}
    assert needed("learned", method='"textual_inversion"') < plain < needed("flipped", random_flip="true")
    assert plain < needed("own", **own) < needed("painted", **preserving)
