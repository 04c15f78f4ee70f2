from pathlib import Path

import msgspec
import pytest

from daemon.engine.base import ModelIdentity
from daemon.protocol.specs import ModelSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.data.dataset import Dataset
from daemon.training.plan import RECIPE_VERSION, TrainingPlan, decisive, differences, fingerprint, goes_on

IDENTITY = ModelIdentity(base_sha256="b", torch_dtype="float32")
SPEC = TrainingSpec()
STOPPING = {"early_stopping": True, "validation_steps": 10}

DECISIVE: list[dict[str, object]] = [
    {"seed": 1},
    {"method": "textual_inversion"},
    {"peft_type": "loha"},
    {"rank": 8},
    {"lora_alpha": 8.0},
    {"lora_dropout": 0.1},
    {"use_rslora": True},
    {"use_dora": True},
    {"target_modules": "attention+feed_forward"},
    {"train_text_encoder": True},
    {"placeholder_token": "<bad>"},
    {"initializer_token": "ugly"},
    {"num_vectors": 2},
    {"instance_prompt": "bad"},
    {"captions": "txt"},
    {"caption_dropout": 0.1},
    {"resolution": 512},
    {"aspect_ratio_buckets": True},
    {"bucket_step": 32},
    {"center_crop": False},
    {"random_flip": True},
    {"repeats": 2},
    {"validation_images": 1},
    {"with_prior_preservation": True},
    {"class_prompt": "a toy"},
    {"num_class_images": 10},
    {"prior_loss_weight": 0.5},
    {"preservation_weight": 1.0},
    {"preservation_prompts": ("a wolf",)},
    {"snr_gamma": 5.0},
    {"noise_offset": 0.1},
    {"timestep_sampling": "logit_normal"},
    {"logit_mean": 1.0},
    {"logit_std": 2.0},
    {"min_timestep": 1},
    {"max_timestep": 999},
    {"optimizer": "adafactor"},
    {"learning_rate": 2e-4},
    {"text_encoder_lr": 1e-5},
    {"lr_scheduler": "cosine"},
    {"lr_warmup_steps": 1},
    {"lr_num_cycles": 2},
    {"lr_power": 2.0},
    {"max_train_steps": 501},
    {"train_batch_size": 2},
    {"gradient_accumulation_steps": 1},
    {"max_grad_norm": 2.0},
    {"adam_beta1": 0.8},
    {"adam_beta2": 0.99},
    {"adam_weight_decay": 0.0},
    {"adam_epsilon": 1e-6},
    {"ema_decay": 0.9},
    {"gradient_checkpointing": True},
    {"torch_compile": True},
    {"early_stopping": True},
]
NOT_DECISIVE: list[dict[str, object]] = [
    {"output_name": "other"},
    {"instance_data_dir": "photos"},
    {"class_data_dir": "class"},
    {"init_adapter": "other"},
    {"checkpointing_steps": 7},
    {"export_steps": 7},
    {"num_processes": 2},
    {"report_to": ("tensorboard",)},
]
WATCHED: list[dict[str, object]] = [
    {"validation_steps": 3},
    {"early_stopping_patience": 3},
    {"sample_steps": 3},
    {"sample_prompts": ("a wolf",)},
    {"sample_seed": 3},
    {"sample_num_inference_steps": 3},
    {"sample_guidance_scale": 3.0},
]


def print_of(**changes: object) -> str:
    return fingerprint(msgspec.structs.replace(SPEC, **changes), "d", IDENTITY)


def test_every_option_is_judged() -> None:
    judged = {name for changes in DECISIVE + NOT_DECISIVE + WATCHED for name in changes}
    assert judged == {field.name for field in msgspec.structs.fields(TrainingSpec)}


@pytest.mark.parametrize("changes", DECISIVE)
def test_every_setting_that_decides_the_weights_is_in_it(changes: dict[str, object]) -> None:
    assert print_of(**changes) != print_of()


@pytest.mark.parametrize("changes", [*NOT_DECISIVE, *WATCHED, {"lora_alpha": 4.0}, {"text_encoder_lr": SPEC.learning_rate}])
def test_what_does_not_decide_them_is_not(changes: dict[str, object]) -> None:
    assert print_of(**changes) == print_of()


@pytest.mark.parametrize("changes", WATCHED)
def test_what_is_watched_decides_where_it_may_end_the_run(changes: dict[str, object]) -> None:
    assert print_of(**{**STOPPING, **changes}) != print_of(**STOPPING)


def test_images_and_model_are_in_it_and_the_refiner_is_not() -> None:
    others = [
        fingerprint(SPEC, "e", IDENTITY),
        fingerprint(SPEC, "d", IDENTITY, "i"),
        fingerprint(SPEC, "d", ModelIdentity(base_sha256="c", torch_dtype="float32")),
        fingerprint(SPEC, "d", ModelIdentity(base_sha256="b", torch_dtype="float16")),
        fingerprint(SPEC, "d", ModelIdentity(base_sha256="b", vae_sha256="v", torch_dtype="float32")),
    ]
    assert len({print_of(), *others}) == 6
    assert fingerprint(SPEC, "d", ModelIdentity(base_sha256="b", refiner_sha256="r", torch_dtype="float32")) == print_of()


def test_places_carry_the_name_and_the_fingerprint(tmp_path: Path) -> None:
    job = TrainJob(session="s", model=ModelSpec(base="toy"), training=SPEC)
    plan = TrainingPlan(job, "j", tmp_path, Dataset(()), IDENTITY, "0123456789", "i")
    assert plan.checkpoints_path == tmp_path / "checkpoints" / "wrong-01234567"
    assert plan.metrics_path == tmp_path / "metrics" / "wrong-01234567.jsonl"
    assert plan.decisive == decisive(SPEC, plan.dataset.sha256, IDENTITY, "i")
    assert plan.decisive["recipe"] == RECIPE_VERSION


def decisive_of(**changes: object) -> dict[str, object]:
    return decisive(msgspec.structs.replace(SPEC, **changes), "d", IDENTITY)


def test_differences_are_named_with_both_values_also_after_a_way_through_json() -> None:
    before = msgspec.json.decode(msgspec.json.encode(decisive_of(preservation_prompts=("a", "b"))))
    assert differences(before, decisive_of(preservation_prompts=("a", "b"))) == {}
    found = differences(before, decisive_of(preservation_prompts=("a", "b"), rank=8, learning_rate=2e-4) | {"dataset": "e"})
    assert found == {
        "dataset": ("d", "e"),
        "learning_rate": (1e-4, 2e-4),
        "lora_alpha": (4.0, 8.0),
        "rank": (4, 8),
        "text_encoder_lr": (1e-4, 2e-4),
    }
    assert differences({}, decisive_of())["rank"] == (None, 4)


@pytest.mark.parametrize(
    ("before", "now", "is_one"),
    [
        ({}, {}, True),
        ({}, {"max_train_steps": 1000}, True),
        ({"max_train_steps": 1000}, {}, True),
        ({"lr_scheduler": "constant_with_warmup"}, {"lr_scheduler": "constant_with_warmup", "max_train_steps": 1000}, True),
        ({"lr_scheduler": "cosine"}, {"lr_scheduler": "cosine", "max_train_steps": 1000}, False),
        ({"lr_scheduler": "linear"}, {"max_train_steps": 1000}, False),
        ({}, {"max_train_steps": 1000, "rank": 8}, False),
        (STOPPING, {**STOPPING, "max_train_steps": 1000}, False),
        ({"optimizer": "schedulefree"}, {"optimizer": "schedulefree", "max_train_steps": 1000}, True),
    ],
)
def test_a_run_goes_on_from_one_that_only_had_fewer_steps(before: dict[str, object], now: dict[str, object], is_one: bool) -> None:
    assert goes_on(decisive_of(**before), decisive_of(**now)) == is_one
