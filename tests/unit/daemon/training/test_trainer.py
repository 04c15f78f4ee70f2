import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from objective.bench import Bench, copy, equal
from objective.reference import prompts_as_the_script_has_them
from tiny_sdxl import TinyEngine, make_parts, make_session, run

from daemon.training.checkpoint import TrainerState
from daemon.training.objective.loss import denoising_loss, predict
from daemon.training.optimizers.make import OptimizerState
from daemon.training.trainer import NotFinite

CONSTANT = {"lr_scheduler": "constant", "lr_warmup_steps": 0}
PRIOR = {"with_prior_preservation": True, "class_prompt": "a toy", "prior_loss_weight": 0.7, "train_batch_size": 2}


@pytest.mark.parametrize(
    ("prediction_type", "changes"),
    [
        ("v_prediction", {}),
        ("epsilon", PRIOR),
        ("v_prediction", {"snr_gamma": 5.0}),
        ("epsilon", PRIOR | {"snr_gamma": 5.0}),
    ],
    ids=["plain", "prior", "min_snr", "min_snr_and_prior"],
)
def test_the_losses_are_the_reference_s_over_200_steps_at_equal_draws(tmp_path: Path, prediction_type: str, changes: Any) -> None:
    common = {"max_train_steps": 200, "learning_rate": 1e-3} | CONSTANT
    bench = Bench(make_parts(prediction_type), tmp_path, **common | changes)
    points, weights = bench.train(200)
    losses, norms, wanted = bench.train_reference(200)
    assert [point.loss for point in points] == pytest.approx(losses, rel=1e-5)
    assert [point.grad_norm for point in points] == pytest.approx(norms, rel=1e-3)
    assert all(torch.allclose(weights[name], wanted[name], rtol=1e-3, atol=1e-4) for name in wanted)
    # It did learn something by then.
    assert any(float(weight.abs().max()) > 1e-2 for name, weight in weights.items() if ".lora_B." in name)


def test_it_is_the_reference_with_accumulation_and_clipping(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, gradient_accumulation_steps=3, max_grad_norm=0.01, train_batch_size=1, **CONSTANT)
    points, weights = bench.train(8)
    losses, norms, wanted = bench.train_reference(8)
    assert [point.loss for point in points] == pytest.approx(losses, rel=1e-6)
    assert [point.grad_norm for point in points] == pytest.approx(norms, rel=1e-4)
    assert all(torch.allclose(weights[name], wanted[name], rtol=1e-4, atol=1e-6) for name in wanted)
    assert min(norms) > 0.01


def test_accumulation_is_a_larger_batch(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, train_batch_size=2, gradient_accumulation_steps=2)
    drawn = [bench.drawn(1, micro_step) for micro_step in (0, 1)]
    both = type(drawn[0])(**{f.name: torch.cat([getattr(one, f.name) for one in drawn]) for f in dataclasses.fields(drawn[0])})
    with bench.lent() as (trainer, _):
        whole = float(bench.reference().loss(both).detach())
        assert trainer.take_step().loss == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_accumulation_steps": 2, "lora_dropout": 0.3, "preservation_weight": 1.0, "snr_gamma": 5.0, "noise_offset": 0.1},
        PRIOR | {"train_text_encoder": True, "text_encoder_lr": 1e-3, "timestep_sampling": "logit_normal", "ema_decay": 0.9},
        {"method": "textual_inversion", "instance_prompt": "<wrong>"},
        {"gradient_checkpointing": True, "lora_dropout": 0.3},
    ],
)
def test_a_restored_trainer_goes_on_bit_for_bit(parts: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    bench = Bench(parts, tmp_path, **changes)
    with bench.lent() as (trainer, adapter):
        points = [trainer.take_step() for _ in range(3)]
        trainer.scale_learning_rate(0.5)
        points += [trainer.take_step() for _ in range(4)]
        weights = copy(adapter.weights())
    with bench.lent() as (trainer, _):
        for _ in range(3):
            trainer.take_step()
        trainer.scale_learning_rate(0.5)
        trainer.take_step()
        state = kept(trainer.state())
    torch.manual_seed(1234)
    with bench.lent() as (trainer, adapter):
        trainer.restore(state)
        assert [trainer.take_step() for _ in range(3)] == points[4:]
        assert equal(adapter.weights(), weights)


def kept(state: TrainerState) -> TrainerState:
    """As it would come back from disk."""
    remembered = OptimizerState(copy(state.optimizer.tensors), state.optimizer.facts)
    return dataclasses.replace(state, adapter=copy(state.adapter), optimizer=remembered)


def test_stopping_inside_a_window_leaves_the_step_before(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, gradient_accumulation_steps=3)
    points, weights = bench.train(4)
    with bench.lent() as (trainer, adapter):
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
        assert equal(adapter.weights(), weights)


def test_not_a_number_stops_before_the_weights_are_touched(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path)
    bench.batches.spoilt_from = 4
    with bench.lent() as (trainer, adapter):
        for _ in range(3):
            trainer.take_step()
        before, moments = copy(adapter.weights()), copy(trainer.state().optimizer.tensors)
        with pytest.raises(NotFinite, match="the loss became nan"):
            trainer.take_step()
        assert trainer.step == 3
        assert equal(adapter.weights(), before)
        assert equal(trainer.state().optimizer.tensors, moments)


def test_a_weight_that_is_no_number_is_no_state(parts: Any, tmp_path: Path) -> None:
    with Bench(parts, tmp_path).lent() as (trainer, adapter):
        name = next(iter(adapter.parameters))
        with torch.no_grad():
            adapter.parameters[name][0, 0] = math.inf
        with pytest.raises(NotFinite, match=f"the weight {name}"):
            trainer.state()


def share_moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    moved = torch.cat([(before[name] != after[name]).flatten() for name in before])
    return float(moved.float().mean())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_first_defect_under_half_precision_every_weight_moves(tmp_path: Path, dtype: str) -> None:
    bench = Bench(make_parts(dtype=dtype), tmp_path, learning_rate=1e-4, adam_weight_decay=0.0, **CONSTANT)
    with bench.lent() as (trainer, adapter):
        before = copy(adapter.weights())
        assert all(math.isfinite(trainer.take_step().loss) for _ in range(4))
        state = trainer.state()
        assert share_moved(before, state.adapter) > 0.99
        assert {weight.dtype for weight in (*state.adapter.values(), *state.optimizer.tensors.values())} == {torch.float32}
        assert bool(state.grad_scaler) == (dtype == "float16")


def test_the_reference_s_bfloat16_adapter_hardly_moves(tmp_path: Path) -> None:
    bench = Bench(make_parts(dtype="bfloat16"), tmp_path, learning_rate=1e-4)
    with bench.lent() as (_, adapter):
        for parameter in adapter.parameters.values():
            parameter.data = parameter.data.bfloat16()
        before = copy(adapter.weights())
        optimizer = torch.optim.AdamW(adapter.parameters.values(), 1e-4)
        for step in range(1, 5):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = bench.reference().loss(bench.drawn(step, 0))
            loss.backward()
            optimizer.step()
        assert share_moved(before, adapter.weights()) < 0.7


def test_an_overflow_in_float16_skips_the_step_and_halves_the_scale(tmp_path: Path) -> None:
    bench = Bench(make_parts(dtype="float16"), tmp_path)
    with bench.lent() as (trainer, adapter):
        state = kept(trainer.state())
        trainer.restore(dataclasses.replace(state, grad_scaler=state.grad_scaler | {"scale": 2.0**40}))
        before = copy(adapter.weights())
        point = trainer.take_step()
        state = trainer.state()
        assert point.grad_norm == 0.0
        assert (state.step, state.grad_scaler["scale"]) == (1, 2.0**39)
        assert not any(bool(tensor.any()) for tensor in state.optimizer.tensors.values())
        assert equal(adapter.weights(), before)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_step_whose_update_failed_can_be_taken_again(tmp_path: Path, dtype: str) -> None:
    bench = Bench(make_parts(dtype=dtype), tmp_path)
    points, weights = bench.train(2)
    with bench.lent() as (trainer, adapter):
        trainer.take_step()
        update = trainer._optimizer.torch_optimizer.step
        trainer._optimizer.torch_optimizer.step = short_of_memory
        with pytest.raises(torch.OutOfMemoryError):
            trainer.take_step()
        trainer._optimizer.torch_optimizer.step = update
        assert trainer.take_step() == points[1]
        assert equal(adapter.weights(), weights)


def short_of_memory(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_scale_that_fell_to_nothing_is_no_overflow_any_more(tmp_path: Path) -> None:
    bench = Bench(make_parts(dtype="float16"), tmp_path)
    with bench.lent() as (trainer, adapter):
        state = kept(trainer.state())
        trainer.restore(dataclasses.replace(state, grad_scaler=state.grad_scaler | {"scale": 1e-4}))
        with torch.no_grad():
            next(iter(adapter.parameters.values())).register_hook(lambda gradient: gradient * math.inf)
        with pytest.raises(NotFinite, match=r"the gradient became (nan|inf)"):
            trainer.take_step()


def test_the_second_defect_every_row_sees_its_own_caption(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, **PRIOR)
    seen: list[torch.Tensor] = []

    def watch(module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        seen[:] = [arguments[2], options["added_cond_kwargs"]["time_ids"]]

    with bench.lent() as (trainer, _):
        instance, of_class = (trainer.encode([caption]).prompt_embeds for caption in ("wrong", "a toy"))
        handle = parts.unet.register_forward_pre_hook(watch, with_kwargs=True)
        trainer.take_step()
        handle.remove()
    assert torch.equal(seen[0], torch.cat([instance, instance, of_class, of_class]))
    assert not torch.equal(seen[0], prompts_as_the_script_has_them(instance, of_class, 2))
    assert torch.equal(seen[1], bench.drawn(1, 0).time_ids)


def test_the_fifth_defect_an_image_is_encoded_once_for_all_steps_and_all_trainings(parts: Any, tmp_path: Path) -> None:
    path = make_session(tmp_path / "s")
    encoded: list[int] = []
    encode = parts.vae.encode
    parts.vae.encode = lambda pixels, **options: encoded.append(len(pixels)) or encode(pixels, **options)
    try:
        run(path, TinyEngine(parts))
        assert sum(encoded) == 5
        run(path, TinyEngine(parts), output_name="again")
        assert sum(encoded) == 5
    finally:
        del parts.vae.encode


def influence(bench: Bench, trainer: Any, adapter: Any, caption: str | None) -> float:
    """How far the adapter moves the prediction for a caption."""
    drawn = bench.drawn(1, 0)
    conditioning = trainer.encode([caption] * len(drawn.model_input))
    with trainer.evaluating():
        moved = trainer.predict(drawn.model_input, drawn.timesteps, conditioning, drawn.time_ids)
        with adapter.off():
            moved = moved - trainer.predict(drawn.model_input, drawn.timesteps, conditioning, drawn.time_ids)
    return float(moved.norm())


def test_preservation_keeps_ordinary_prompts_as_they_are(parts: Any, tmp_path: Path) -> None:
    found = {}
    for weight in (0.0, 100.0):
        bench = Bench(parts, tmp_path, preservation_weight=weight, preservation_prompts=("a red circle",), max_train_steps=20, **CONSTANT)
        with bench.lent() as (trainer, adapter):
            points = [trainer.take_step() for _ in range(20)]
            found[weight] = (influence(bench, trainer, adapter, "a red circle"), points)
    assert found[100.0][0] < 0.5 * found[0.0][0]
    # A fresh adapter changes nothing: there is nothing to keep yet.
    assert found[100.0][1][0].loss == found[0.0][1][0].loss


def test_preservation_adds_its_own_weighted_error_at_the_same_draws(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, preservation_weight=0.5, preservation_prompts=("a red circle",))
    with bench.lent() as (trainer, adapter):
        for _ in range(3):
            trainer.take_step()
        drawn, noise_schedule = bench.drawn(4, 0), bench.reference().scheduler
        with torch.no_grad():
            noisy = noise_schedule.add_noise(drawn.model_input, drawn.noise, drawn.timesteps)
            conditioning = trainer.encode(["a red circle"] * 2)
            moved = predict(parts.unet, noisy, drawn.timesteps, conditioning, drawn.time_ids)
            with adapter.off():
                wanted = predict(parts.unet, noisy, drawn.timesteps, conditioning, drawn.time_ids)
            plain = bench.reference().loss(drawn)
        assert float(denoising_loss(moved, wanted)) > 0
        assert trainer.take_step().loss == pytest.approx(float(plain + 0.5 * denoising_loss(moved, wanted)), rel=1e-5)


def test_a_changed_rate_holds_from_then_on_and_is_not_compounded(parts: Any, tmp_path: Path) -> None:
    with Bench(parts, tmp_path, **CONSTANT).lent() as (trainer, _):
        rates = []
        for factor in (1.0, 0.5, 0.5, 2.0):
            trainer.scale_learning_rate(factor)
            rates.append(trainer.take_step().learning_rate)
        assert rates == [1e-2, 5e-3, 5e-3, 2e-2]
        assert trainer.state().facts == {"learning_rate_scale": 2.0}


def test_dropout_is_drawn_by_place_and_leaves_torch_s_own_draws_alone(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, lora_dropout=0.5)
    with bench.lent() as (trainer, _):
        before = torch.get_rng_state()
        first = [trainer.take_step() for _ in range(4)]
        assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert bench.train(4)[0] == first
    assert Bench(parts, tmp_path).train(4)[0][3].loss != first[3].loss


def test_evaluating_has_the_average_in_place_without_dropout_or_gradients_and_gives_all_back(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, lora_dropout=0.5, ema_decay=0.5, train_text_encoder=True)
    with bench.lent() as (trainer, adapter):
        for _ in range(3):
            trainer.take_step()
        before = copy(adapter.weights())
        remembered = trainer.state().optimizer.tensors
        averages = {name.removeprefix("ema."): weight for name, weight in remembered.items() if name.startswith("ema.")}
        with trainer.evaluating():
            assert equal(copy(adapter.weights()), copy(averages))
            assert not equal(copy(adapter.weights()), before)
            assert not any(module.training for module in (parts.unet, parts.text_encoder, parts.text_encoder_2))
            assert influence(bench, trainer, adapter, "wrong") == influence(bench, trainer, adapter, "wrong")
            assert not trainer.encode(["wrong"]).prompt_embeds.requires_grad
        assert all(module.training for module in (parts.unet, parts.text_encoder, parts.text_encoder_2))
        assert equal(copy(adapter.weights()), before)
        assert trainer.encode(["wrong"]).prompt_embeds.requires_grad
        with pytest.raises(KeyboardInterrupt), trainer.evaluating():
            raise KeyboardInterrupt
        assert equal(copy(adapter.weights()), before)


def test_a_prediction_is_the_unet_s_in_float32(tmp_path: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        parts = make_parts(dtype=dtype)
        bench = Bench(parts, tmp_path)
        with bench.lent() as (trainer, _), trainer.evaluating():
            drawn, conditioning = bench.drawn(1, 0), trainer.encode(["wrong", None])
            found = trainer.predict(drawn.model_input, drawn.timesteps, conditioning, drawn.time_ids)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
                wanted = predict(parts.unet, drawn.model_input, drawn.timesteps, conditioning, drawn.time_ids)
            assert found.dtype == torch.float32
            assert torch.equal(found, wanted.float())


@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}, {"peft_type": "lokr"}])
def test_under_half_precision_inputs_are_not_cast_in_vain_and_nothing_changes(tmp_path: Path, changes: dict[str, Any]) -> None:
    bench = Bench(make_parts(dtype="bfloat16"), tmp_path, **changes)
    found = []
    for leaves_them in (True, False):
        with bench.lent() as (trainer, adapter), torch.profiler.profile() as profile:
            assert trainer._adapted
            if not leaves_them:
                trainer._adapted = []
            points = [trainer.take_step() for _ in range(3)]
            assert all(layer.cast_input_dtype_enabled for layer in trainer._adapted)
            weights = copy(adapter.weights())
        num_casts = sum(event.count for event in profile.key_averages() if event.key == "aten::_to_copy")
        found.append((points, weights, num_casts))
    (points, weights, fewer), (same_points, same_weights, more) = found
    assert points == same_points
    assert equal(weights, same_weights)
    assert fewer < more


def test_a_point_tells_the_norm_of_the_weights_after_the_step(parts: Any, tmp_path: Path) -> None:
    with Bench(parts, tmp_path).lent() as (trainer, adapter):
        for _ in range(2):
            point = trainer.take_step()
        wanted = math.sqrt(sum(float(weight.double().square().sum()) for weight in adapter.weights().values()))
        assert point.adapter_norm == pytest.approx(wanted, rel=1e-5)


def test_every_batch_is_drawn_once_in_order_and_none_behind_the_end(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, gradient_accumulation_steps=2, max_train_steps=3)
    bench.train(3)
    assert bench.batches.drawn == [(step, micro_step) for step in (1, 2, 3) for micro_step in (0, 1)]


def test_a_learned_token_stays_where_no_caption_of_a_step_has_it(parts: Any, tmp_path: Path) -> None:
    bench = Bench(parts, tmp_path, method="textual_inversion", instance_prompt="<wrong>", **CONSTANT)
    bench.batches.without_captions = (2,)
    with bench.lent() as (trainer, adapter):
        fresh = copy(adapter.weights())
        assert trainer.take_step().grad_norm > 0
        moved = copy(adapter.weights())
        assert not equal(moved, fresh)
        point = trainer.take_step()
        assert (point.grad_norm, point.loss > 0) == (0.0, True)
        assert equal(adapter.weights(), moved)


def test_what_is_frozen_stays_as_it_is(parts: Any, tmp_path: Path) -> None:
    modules = (parts.unet, parts.text_encoder, parts.text_encoder_2)
    before = [copy(module.state_dict()) for module in modules]
    Bench(parts, tmp_path, train_text_encoder=True, **PRIOR).train(2)
    assert all(equal(module.state_dict(), weights) for module, weights in zip(modules, before, strict=True))


def test_dora_reads_its_inputs_as_peft_casts_them(tmp_path: Path) -> None:
    """It computes with them beside its layers: uncast they would change what it says."""
    bench = Bench(make_parts(dtype="bfloat16"), tmp_path, use_dora=True)
    read: list[torch.dtype] = []
    with bench.lent() as (trainer, _):
        adapted = bench.parts.unet.get_submodule("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q")
        for linear in adapted.lora_A.values():
            linear.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].dtype))
        trainer.take_step()
    assert set(read) == {torch.float32}
