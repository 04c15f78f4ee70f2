import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from tiny_sdxl import IDENTITY, RESOLUTION, SPEC, make_parts, make_session

from daemon.protocol.errors import NegError
from daemon.training.adapters.lora import attached_lora
from daemon.training.data.cache import encode_images, encode_prompt
from daemon.training.data.dataset import read_dataset, time_ids
from daemon.training.data.draws import batch_indices, draw_seed
from daemon.training.objective.loss import denoising_loss, noise_schedule
from daemon.training.plan import lora_alpha
from daemon.training.trainer import NotFinite, Trainer, learning_rate_at


class Bench:
    """A trainer on the tiny SDXL, with what it was made of."""

    def __init__(self, parts: Any, folder: Path, **changes: object) -> None:
        self.parts, self.spec = parts, msgspec.structs.replace(SPEC, **changes)
        session = folder / "s"
        images = read_dataset(session if session.exists() else make_session(session)).images
        self.posteriors = encode_images(parts.vae, "cpu", images, IDENTITY, RESOLUTION, folder / "c")
        self.conditioning = encode_prompt(parts, "wrong")[0]
        self.time_ids_N6 = torch.tensor([time_ids(image, RESOLUTION) for image in images], dtype=torch.float32)
        self.schedule = noise_schedule(parts.noise_scheduler)

    def lora(self) -> Any:
        return attached_lora(self.parts.unet, self.spec.rank, lora_alpha(self.spec), self.spec.seed)

    def trainer(self, parameters: Any) -> Trainer:
        return Trainer(
            self.spec,
            self.parts.unet,
            parameters,
            self.schedule,
            self.posteriors,
            self.conditioning,
            self.time_ids_N6,
            self.parts.device,
            self.parts.dtype,
        )

    def train(self, num_steps: int) -> tuple[list[Any], dict[str, torch.Tensor]]:
        with self.lora() as parameters:
            trainer = self.trainer(parameters)
            points = [trainer.take_step() for _ in range(num_steps)]
            return points, {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def draws(self, step: int, micro_step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
        """What the trainer draws for a micro-step, drawn here again."""

        def draw(purpose: str) -> torch.Generator:
            return torch.Generator().manual_seed(draw_seed(self.spec.seed, purpose, step, micro_step))

        number = (step - 1) * self.spec.gradient_accumulation_steps + micro_step
        indices = list(batch_indices(len(self.posteriors), self.spec.train_batch_size, self.spec.seed, number))
        latents = self.posteriors.sample(indices, draw("posterior"))
        return (
            latents,
            torch.randn(latents.shape, generator=draw("noise")),
            torch.randint(0, 1000, (len(indices),), generator=draw("timesteps")),
            indices,
        )


def reference(bench: Bench, num_steps: int, fused: bool) -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """The loop of `train_dreambooth_lora_sdxl.py` at the same draws, by diffusers' own parts: losses, rates, weights."""
    spec, scheduler = bench.spec, DDPMScheduler.from_config(bench.parts.noise_scheduler.config)
    with bench.lora() as parameters:
        optimizer = torch.optim.AdamW(
            parameters.values(),
            spec.learning_rate,
            (spec.adam_beta1, spec.adam_beta2),
            spec.adam_epsilon,
            spec.adam_weight_decay,
            fused=fused,
        )
        lr_scheduler = get_scheduler(
            spec.lr_scheduler, optimizer, num_warmup_steps=spec.lr_warmup_steps, num_training_steps=spec.max_train_steps
        )
        losses, rates = [], []
        for step in range(1, num_steps + 1):
            window = []
            for micro_step in range(spec.gradient_accumulation_steps):
                model_input, noise, timesteps, indices = bench.draws(step, micro_step)
                size = len(indices)
                model_pred = bench.parts.unet(
                    scheduler.add_noise(model_input, noise, timesteps),
                    timesteps,
                    bench.conditioning.prompt_embeds.repeat(size, 1, 1),
                    added_cond_kwargs={
                        "time_ids": bench.time_ids_N6[indices],
                        "text_embeds": bench.conditioning.pooled_prompt_embeds.repeat(size, 1),
                    },
                    return_dict=False,
                )[0]
                velocity = scheduler.config.prediction_type == "v_prediction"
                wanted = scheduler.get_velocity(model_input, noise, timesteps) if velocity else noise
                loss = F.mse_loss(model_pred.float(), wanted.float(), reduction="mean")
                (loss / spec.gradient_accumulation_steps).backward()
                window.append(loss.item())
            torch.nn.utils.clip_grad_norm_(parameters.values(), spec.max_grad_norm)
            rates.append(lr_scheduler.get_last_lr()[0])
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
            losses.append(sum(window) / len(window))
        return losses, rates, {name: parameter.detach().clone() for name, parameter in parameters.items()}


@pytest.mark.parametrize(
    ("prediction_type", "changes"),
    [
        ("v_prediction", {}),
        ("epsilon", {"lr_scheduler": "constant", "lora_alpha": 8.0, "adam_weight_decay": 0.1}),
        ("epsilon", {"gradient_accumulation_steps": 3, "max_grad_norm": 0.01, "train_batch_size": 1}),
    ],
)
def test_it_is_the_reference_at_equal_draws(tmp_path: Path, prediction_type: str, changes: dict[str, Any]) -> None:
    bench = Bench(make_parts(prediction_type), tmp_path, **changes)
    points, weights = bench.train(8)
    # AdamW's one kernel rounds otherwise than its many: near-zero gradients differ, the losses do not.
    assert [point.loss for point in points] == pytest.approx(reference(bench, 8, fused=False)[0], rel=1e-6)
    losses, rates, wanted = reference(bench, 8, fused=True)
    assert [point.loss for point in points] == pytest.approx(losses, rel=1e-6)
    assert [point.learning_rate for point in points] == pytest.approx(rates, rel=1e-12)
    assert all(torch.allclose(weights[name], wanted[name], rtol=1e-5, atol=1e-8) for name in wanted)
    assert any(float(weight.abs().max()) > 1e-3 for name, weight in weights.items() if ".lora_B." in name)


def test_accumulation_is_a_larger_batch(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, train_batch_size=2, gradient_accumulation_steps=2)
    with bench.lora() as parameters:
        trainer = bench.trainer(parameters)
        halves = [float(trainer._loss(1, micro_step).detach()) for micro_step in (0, 1)]
        both = [torch.cat(pair) for pair in zip(*(bench.draws(1, m)[:3] for m in (0, 1)), strict=True)]
        indices = bench.draws(1, 0)[3] + bench.draws(1, 1)[3]
        whole = denoising_loss(parts.unet, bench.schedule, *both, bench.conditioning.repeat(4), bench.time_ids_N6[indices])
        assert sum(halves) / 2 == pytest.approx(float(whole.detach()), rel=1e-5)


@pytest.mark.parametrize("name", ["constant", "constant_with_warmup", "linear", "cosine", "polynomial"])
def test_the_rate_is_that_of_diffusers_at_every_step(name: str) -> None:
    spec = msgspec.structs.replace(SPEC, lr_scheduler=name, lr_warmup_steps=3, max_train_steps=12)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=spec.learning_rate)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=3, num_training_steps=12)
    rate_at = learning_rate_at(spec)
    for step in range(1, 13):
        assert rate_at(step) == scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()


def test_a_rate_that_its_schedule_refuses_is_said_in_words() -> None:
    with pytest.raises(NegError, match="polynomial does not go with this learning_rate"):
        learning_rate_at(msgspec.structs.replace(SPEC, lr_scheduler="polynomial", learning_rate=1e-9))


def test_a_restored_trainer_goes_on_bit_for_bit(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path)
    points, weights = bench.train(9)
    with bench.lora() as parameters:
        trainer = bench.trainer(parameters)
        for _ in range(5):
            trainer.take_step()
        state = trainer.state()
        adapter = {name: weight.clone() for name, weight in state.adapter.items()}
        moments = {name: weight.clone() for name, weight in state.moments.items()}
    torch.manual_seed(1234)
    with bench.lora() as parameters:
        trainer = bench.trainer(parameters)
        trainer.restore(type(state)(state.step, adapter, moments, state.num_updates, state.grad_scaler))
        assert [trainer.take_step() for _ in range(4)] == points[5:]
        assert all(torch.equal(parameters[name], weights[name]) for name in weights)


def test_stopping_inside_a_window_leaves_the_step_before(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, gradient_accumulation_steps=3)
    points, weights = bench.train(4)
    with bench.lora() as parameters:
        trainer = bench.trainer(parameters)
        for _ in range(2):
            trainer.take_step()
        calls = iter([None, None, KeyboardInterrupt()])

        def stop() -> None:
            error = next(calls)
            if error:
                raise error

        with pytest.raises(KeyboardInterrupt):
            trainer.take_step(stop)
        assert trainer.state().step == 2
        assert [trainer.take_step() for _ in range(2)] == points[2:]
        assert all(torch.equal(parameters[name], weights[name]) for name in weights)


def test_not_a_number_stops_before_the_weights_are_touched(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path)
    with bench.lora() as parameters:
        trainer = bench.trainer(parameters)
        trainer.take_step()
        bench.posteriors.keep(0, (torch.full((4, 16, 16), math.nan), torch.ones(4, 16, 16)))
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}

        def go_on() -> None:
            for _ in range(5):
                before.update({name: parameter.detach().clone() for name, parameter in parameters.items()})
                trainer.take_step()

        with pytest.raises(NotFinite, match="the loss became nan"):
            go_on()
        assert all(torch.equal(parameters[name], weight) for name, weight in before.items())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_small_updates_of_a_half_precision_model_are_not_lost(tmp_path: Path, dtype: str) -> None:
    bench = Bench(make_parts(dtype=dtype), tmp_path, learning_rate=1e-6, lr_scheduler="constant", adam_weight_decay=0.0)
    with bench.lora() as parameters:
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        trainer = bench.trainer(parameters)
        for _ in range(4):
            assert math.isfinite(trainer.take_step().loss)
        first, last = (
            torch.cat([found[name].detach().flatten() for name in before if ".lora_A." in name]) for found in (before, parameters)
        )
        # Updates of 1e-6 on weights around 0.25 are lost in bfloat16, whose next number is 1e-3 off.
        assert float((first != last).float().mean()) > 0.5
        assert float((first.bfloat16() != last.bfloat16()).float().mean()) < 0.01
        assert {moment.dtype for moment in trainer.state().moments.values()} == {torch.float32}
        assert bool(trainer.state().grad_scaler) == (dtype == "float16")


def test_an_overflow_in_float16_skips_the_step_and_halves_the_scale(tmp_path: Path) -> None:
    bench = Bench(make_parts(dtype="float16"), tmp_path)
    with bench.lora() as parameters:
        trainer = bench.trainer(parameters)
        trainer.restore(type(trainer.state())(0, trainer.state().adapter, {}, 0, trainer.state().grad_scaler | {"scale": 2.0**40}))
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        point = trainer.take_step()
        state = trainer.state()
        assert point.grad_norm == 0.0
        assert (state.step, state.num_updates, state.grad_scaler["scale"]) == (1, 0, 2.0**39)
        assert all(torch.equal(parameters[name], weight) for name, weight in before.items())
