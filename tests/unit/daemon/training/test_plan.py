import msgspec
import pytest

from daemon.engine.base import ModelIdentity
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.plan import fingerprint

IDENTITY = ModelIdentity(base_sha256="b", torch_dtype="float32")
SPEC = TrainingSpec()


def print_of(**changes: object) -> str:
    return fingerprint(msgspec.structs.replace(SPEC, **changes), "d", IDENTITY)


@pytest.mark.parametrize(
    "changes",
    [
        {"instance_prompt": "bad"},
        {"resolution": 512},
        {"rank": 8},
        {"lora_alpha": 8.0},
        {"learning_rate": 2e-4},
        {"lr_scheduler": "cosine"},
        {"lr_warmup_steps": 1},
        {"max_train_steps": 501},
        {"train_batch_size": 2},
        {"gradient_accumulation_steps": 1},
        {"max_grad_norm": 2.0},
        {"adam_beta1": 0.8},
        {"adam_beta2": 0.99},
        {"adam_weight_decay": 0.0},
        {"adam_epsilon": 1e-6},
        {"gradient_checkpointing": True},
        {"seed": 1},
    ],
)
def test_every_setting_that_decides_the_weights_is_in_it(changes: dict[str, object]) -> None:
    assert print_of(**changes) != print_of()


@pytest.mark.parametrize("changes", [{"output_name": "other"}, {"checkpointing_steps": 7}, {"lora_alpha": 4.0}])
def test_what_does_not_decide_them_is_not(changes: dict[str, object]) -> None:
    assert print_of(**changes) == print_of()


def test_images_and_model_are_in_it_and_the_refiner_is_not() -> None:
    others = [
        fingerprint(SPEC, "e", IDENTITY),
        fingerprint(SPEC, "d", ModelIdentity(base_sha256="c", torch_dtype="float32")),
        fingerprint(SPEC, "d", ModelIdentity(base_sha256="b", torch_dtype="float16")),
        fingerprint(SPEC, "d", ModelIdentity(base_sha256="b", vae_sha256="v", torch_dtype="float32")),
    ]
    assert len({print_of(), *others}) == 5
    assert fingerprint(SPEC, "d", ModelIdentity(base_sha256="b", refiner_sha256="r", torch_dtype="float32")) == print_of()
