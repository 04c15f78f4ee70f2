import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.errors import NegError
from daemon.protocol.training_rules import DOUBTS, FAULTS, doubts, require_sound
from daemon.protocol.training_spec import TrainingSpec

FAULTY: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("use_dora", {"use_dora": True, "peft_type": "loha"}, {"peft_type": "lora"}),
    ("use_rslora", {"use_rslora": True, "peft_type": "lokr"}, {"peft_type": "lora"}),
    ("lora_dropout", {"lora_dropout": 0.1, "peft_type": "lokr"}, {"peft_type": "lora"}),
    ("lora_dropout", {"lora_dropout": 0.1, "peft_type": "lokr"}, {"peft_type": "lora"}),
    ("lora_dropout", {"lora_dropout": 1.0}, {"lora_dropout": 0.9}),
    ("train_text_encoder", {"method": "textual_inversion", "train_text_encoder": True}, {"method": "lora"}),
    ("caption_dropout", {"method": "textual_inversion", "caption_dropout": 0.1}, {"caption_dropout": 0.0}),
    (
        "with_prior_preservation",
        {"method": "textual_inversion", "with_prior_preservation": True, "class_prompt": "a toy"},
        {"method": "lora"},
    ),
    ("preservation_weight", {"method": "textual_inversion", "preservation_weight": 1.0}, {"preservation_weight": 0.0}),
    ("init_adapter", {"init_adapter": "wrong"}, {"output_name": "better"}),
    ("bucket_step", {"aspect_ratio_buckets": True, "resolution": 32}, {"bucket_step": 8}),
    ("class_prompt", {"with_prior_preservation": True, "class_prompt": " "}, {"class_prompt": "a toy"}),
    ("min_timestep", {"min_timestep": 500, "max_timestep": 500}, {"max_timestep": 501}),
    ("text_encoder_lr", {"optimizer": "prodigy", "learning_rate": 1.0, "text_encoder_lr": 0.5}, {"text_encoder_lr": 1.0}),
    ("lr_scheduler", {"optimizer": "schedulefree", "lr_scheduler": "cosine"}, {"lr_scheduler": "constant_with_warmup"}),
    ("ema_decay", {"optimizer": "schedulefree", "ema_decay": 0.9}, {"optimizer": "adamw"}),
    ("adam_beta1", {"optimizer": "schedulefree", "adam_beta1": 0.0}, {"optimizer": "prodigy"}),
    ("lr_scheduler", {"lr_scheduler": "polynomial", "learning_rate": 1e-7}, {"learning_rate": 2e-7}),
    ("num_processes", {"num_processes": 5}, {"gradient_accumulation_steps": 5}),
    ("early_stopping", {"early_stopping": True}, {"validation_steps": 10}),
    ("report_to", {"report_to": ("trackio", "trackio")}, {"report_to": ("trackio", "tensorboard")}),
]
DOUBTFUL: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("learning_rate", {"optimizer": "prodigy"}, {"learning_rate": 1.0}),
    ("learning_rate", {"learning_rate": 1.0}, {"learning_rate": 1e-3}),
    ("lr_warmup_steps", {"lr_warmup_steps": 10}, {"lr_scheduler": "constant_with_warmup"}),
    ("lr_warmup_steps", {"lr_warmup_steps": 500, "lr_scheduler": "linear"}, {"max_train_steps": 501}),
    ("lr_num_cycles", {"lr_num_cycles": 3, "lr_scheduler": "cosine"}, {"lr_scheduler": "cosine_with_restarts"}),
    ("lr_power", {"lr_power": 2.0}, {"lr_scheduler": "polynomial"}),
    ("text_encoder_lr", {"text_encoder_lr": 1e-5}, {"train_text_encoder": True}),
    ("adam_beta2", {"optimizer": "adafactor", "adam_beta2": 0.99}, {"optimizer": "adamw"}),
    ("logit_mean", {"logit_mean": 1.0}, {"timestep_sampling": "logit_normal"}),
    ("preservation_prompts", {"preservation_prompts": ("a wolf",)}, {"preservation_weight": 1.0}),
    ("class_data_dir", {"class_data_dir": "photos"}, {"with_prior_preservation": True, "class_prompt": "a toy"}),
    ("early_stopping", {"early_stopping": True, "validation_steps": 10}, {"validation_images": 4}),
    (
        "early_stopping",
        {"early_stopping": True, "validation_images": 4, "sample_steps": 10, "sample_prompts": ("a wolf",)},
        {"validation_steps": 10},
    ),
    ("sample_steps", {"sample_steps": 10}, {"sample_prompts": ("a wolf",)}),
    ("torch_compile", {"torch_compile": True, "aspect_ratio_buckets": True}, {"torch_compile": False}),
    ("num_processes", {"num_processes": 3}, {"gradient_accumulation_steps": 6}),
    ("rank", {"method": "textual_inversion", "rank": 8}, {"method": "lora"}),
    ("num_vectors", {"num_vectors": 2}, {"method": "textual_inversion"}),
    ("instance_prompt", {"method": "textual_inversion", "instance_prompt": "a toy"}, {"instance_prompt": "a <wrong> toy"}),
]


@pytest.mark.parametrize(("option", "faulty", "remedy"), FAULTY)
def test_a_contradiction_is_refused_by_the_options_name(option: str, faulty: dict[str, Any], remedy: dict[str, Any]) -> None:
    with pytest.raises(NegError) as caught:
        require_sound(TrainingSpec(**faulty))
    assert caught.value.detail.code == "invalid"
    assert caught.value.detail.message.startswith(f"training.{option} ")
    assert caught.value.detail.hint
    require_sound(TrainingSpec(**{**faulty, **remedy}))


@pytest.mark.parametrize(("option", "doubtful", "remedy"), DOUBTFUL)
def test_what_has_no_effect_is_told(option: str, doubtful: dict[str, Any], remedy: dict[str, Any]) -> None:
    (sentence,) = doubts(TrainingSpec(**doubtful))
    assert sentence.startswith(f"training.{option} ")
    assert doubts(TrainingSpec(**{**doubtful, **remedy})) == []


def test_every_rule_has_its_case() -> None:
    for rules, cases in ((FAULTS, FAULTY), (DOUBTS, DOUBTFUL)):
        silent = [rule.__name__ for rule in rules if not any(rule(TrainingSpec(**changes)) for _, changes, _ in cases)]
        assert silent == []


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(NegError) as caught:
        require_sound(TrainingSpec(use_dora=True, peft_type="loha", early_stopping=True))
    assert all(f"training.{option} " in caught.value.detail.message for option in ("use_dora", "early_stopping"))


def test_the_defaults_are_sound_and_beyond_doubt() -> None:
    require_sound(TrainingSpec())
    assert doubts(TrainingSpec()) == []


CHANGES = [changes for _, faulty, remedy in FAULTY + DOUBTFUL for changes in (faulty, remedy)]


@given(st.lists(st.sampled_from(CHANGES), max_size=6))
def test_whatever_is_mixed_is_answered_in_words(mixed: list[dict[str, Any]]) -> None:
    spec = TrainingSpec()
    for changes in mixed:
        spec = msgspec.structs.replace(spec, **changes)
    sentences = doubts(spec)
    with contextlib.suppress(NegError):
        require_sound(spec)
        assert not any(rule(spec) for rule in FAULTS)
    assert all(sentence.startswith("training.") and sentence.endswith(".") for sentence in sentences)
