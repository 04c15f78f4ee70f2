from pathlib import Path
from typing import Any

import pytest
from tiny_sdxl import TinyEngine, make_context, make_job, make_session

from daemon.training.accelerated import accelerated
from daemon.training.built import built
from daemon.training.recipe import make_plan


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, ["vae", "text_encoder", "text_encoder_2"]),
        ({"train_text_encoder": True}, ["vae"]),
        ({"method": "textual_inversion"}, ["vae"]),
    ],
)
def test_a_trainer_is_ready_for_its_first_step_and_leaves_the_model_as_it_was(
    parts: Any, tmp_path: Path, changes: dict[str, Any], idle: list[str]
) -> None:
    context = make_context(make_session(tmp_path / "s"), TinyEngine(parts))
    plan = make_plan(make_job(**changes), context)
    with built(plan, context) as found:
        assert [id(module) for module in found.idle] == [id(getattr(found.parts, name)) for name in idle]
        with accelerated(found.trainer.device, found.trainer.dtype) as accelerator:
            found.trainer.join(accelerator)
            assert (found.trainer.take_step().step, found.warning) == (1, "")
        assert found.adapter.num_parameters > 0
    assert not getattr(parts.unet, "peft_config", None)
    assert not any(parameter.requires_grad for parameter in parts.unet.parameters())


def test_captions_that_are_too_long_are_told(parts: Any, tmp_path: Path) -> None:
    context = make_context(make_session(tmp_path / "s"), TinyEngine(parts))
    with built(make_plan(make_job(instance_prompt="w" * 40), context), context) as found:
        assert found.warning == "The instance prompt is longer than the text encoders read; its end is cut off."
