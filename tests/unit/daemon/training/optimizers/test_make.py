import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.adapters import tensors
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.checkpoint import TrainerState, load_checkpoint, save_checkpoint
from daemon.training.optimizers import kinds
from daemon.training.optimizers.make import AdapterOptimizer, OptimizerState

NUM_STEPS = 9
SPECS = {
    "adamw": TrainingSpec(learning_rate=1e-2),
    "adamw, rates apart": TrainingSpec(learning_rate=1e-2, text_encoder_lr=1e-3, adam_weight_decay=0.1),
    "adamw, averaged": TrainingSpec(learning_rate=1e-2, ema_decay=0.9),
    "prodigy": TrainingSpec(optimizer="prodigy", learning_rate=1.0),
    "prodigy, averaged": TrainingSpec(optimizer="prodigy", learning_rate=1.0, ema_decay=0.5),
    "prodigy, no first moment": TrainingSpec(optimizer="prodigy", learning_rate=1.0, adam_beta1=0.0),
    "schedulefree": TrainingSpec(optimizer="schedulefree", learning_rate=1e-2, text_encoder_lr=1e-3),
    "adafactor": TrainingSpec(optimizer="adafactor", learning_rate=1e-2),
    "adafactor, averaged": TrainingSpec(optimizer="adafactor", learning_rate=1e-2, ema_decay=0.9),
}
SHAPES = {
    "text_encoder.q_proj.lora_A.weight": (2, 8),
    "text_encoder_2.q_proj.lora_B.weight": (8, 2),
    "unet.conv.lora_A.weight": (2, 3, 3, 3),
    "unet.to_k.lora_A.weight": (2, 6),
    "unet.to_k.lora_B.weight": (6, 2),
    "unet.to_k.lora_magnitude_vector.weight": (6,),
}


class Bench:
    """A small problem for an optimizer: weights, and gradients and factors that depend on nothing but the step."""

    def __init__(self, spec: TrainingSpec, device: str = "cpu") -> None:
        draw = torch.Generator().manual_seed(0)
        starts = {name: torch.zeros(shape) if ".lora_B." in name else torch.randn(shape, generator=draw) for name, shape in SHAPES.items()}
        self.parameters = {name: torch.nn.Parameter(start.to(device)) for name, start in starts.items()}
        self.optimizer = AdapterOptimizer(spec, self.parameters, device)

    def take_steps(self, first: int, last: int) -> None:
        for step in range(first, last + 1):
            self.optimizer.zero_grad()
            for place, parameter in enumerate(self.parameters.values()):
                noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * step + place))
                parameter.grad = parameter.detach() * 0.1 + noise.to(parameter.device)
            self.optimizer.step(0.0 if step == 4 else 1.0 / step)

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def saved_weights(self) -> dict[str, torch.Tensor]:
        with self.optimizer.evaluating():
            return self.weights()


def through_disk(state: OptimizerState) -> OptimizerState:
    facts = msgspec.json.decode(msgspec.json.encode(state.facts))
    return OptimizerState(tensors.from_bytes(tensors.to_bytes(state.tensors)), facts)


def is_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one)


@contextlib.contextmanager
def resumed(spec: TrainingSpec, step: int, device: str = "cpu") -> Iterator[Bench]:
    """A fresh optimizer that goes on from what another one saved after `step`."""
    first = Bench(spec, device)
    first.take_steps(1, step)
    weights, state = first.weights(), through_disk(first.optimizer.state())
    # What is done to the first one afterwards must not reach the second.
    first.take_steps(step + 1, NUM_STEPS)
    second = Bench(spec, device)
    with torch.no_grad():
        for name, parameter in second.parameters.items():
            parameter.copy_(weights[name])
    second.optimizer.restore(state)
    yield second


@pytest.mark.parametrize("kind", SPECS)
@settings(max_examples=10, deadline=None)
@given(step=st.integers(0, NUM_STEPS))
def test_a_restored_optimizer_goes_on_bit_for_bit(kind: str, step: int) -> None:
    undisturbed = Bench(SPECS[kind])
    undisturbed.take_steps(1, NUM_STEPS)
    with resumed(SPECS[kind], step) as bench:
        bench.take_steps(step + 1, NUM_STEPS)
        assert is_equal(bench.weights(), undisturbed.weights())
        assert is_equal(bench.saved_weights(), undisturbed.saved_weights())
        assert is_equal(bench.optimizer.state().tensors, undisturbed.optimizer.state().tensors)
        assert bench.optimizer.state().facts == undisturbed.optimizer.state().facts
        assert step == NUM_STEPS or bench.optimizer.learning_rate == undisturbed.optimizer.learning_rate


@pytest.mark.parametrize("kind", SPECS)
def test_it_goes_on_through_a_checkpoint_too(kind: str, tmp_path: Path) -> None:
    undisturbed, first, second = (Bench(SPECS[kind]) for _ in range(3))
    undisturbed.take_steps(1, NUM_STEPS)
    first.take_steps(1, 5)
    save_checkpoint(tmp_path, TrainerState(5, first.weights(), first.optimizer.state()), "f", {}, True)
    found = load_checkpoint(tmp_path, "f", pytest.fail)
    assert found is not None
    with torch.no_grad():
        for name, parameter in second.parameters.items():
            parameter.copy_(found[0].adapter[name])
    second.optimizer.restore(found[0].optimizer)
    second.take_steps(6, NUM_STEPS)
    assert is_equal(second.weights(), undisturbed.weights())


@pytest.mark.parametrize("kind", SPECS)
def test_one_that_is_used_goes_back_to_a_state(kind: str) -> None:
    bench = Bench(SPECS[kind])
    bench.take_steps(1, 3)
    weights, state = bench.weights(), through_disk(bench.optimizer.state())
    bench.take_steps(4, NUM_STEPS)
    after = bench.weights()
    with torch.no_grad():
        for name, parameter in bench.parameters.items():
            parameter.copy_(weights[name])
    bench.optimizer.restore(state)
    bench.take_steps(4, NUM_STEPS)
    assert is_equal(bench.weights(), after)


def test_what_each_must_remember_is_in_its_state() -> None:
    kept = {}
    for kind in ("adamw", "prodigy", "schedulefree", "adafactor"):
        bench = Bench(SPECS[kind])
        bench.take_steps(1, 3)
        state = bench.optimizer.state()
        kept[kind] = ({name.split(".")[0] for name in state.tensors}, state.facts["groups"][0])
    assert kept["adamw"] == ({"exp_avg", "exp_avg_sq", "step"}, {})
    assert kept["prodigy"][0] == {"exp_avg", "exp_avg_sq", "p0", "s", "step"}
    assert {"d_numerator", "k"} <= kept["prodigy"][1].keys()
    assert kept["schedulefree"][0] == {"exp_avg_sq", "z"}
    assert kept["schedulefree"][1].keys() >= {"k", "weight_sum", "lr_max"}
    assert {"exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_sq"} <= kept["adafactor"][0]


@pytest.mark.parametrize("kind", SPECS)
def test_saved_weights_stand_in_and_go_again_to_the_bit(kind: str) -> None:
    bench, other = Bench(SPECS[kind]), Bench(SPECS[kind])
    bench.take_steps(1, 5)
    other.take_steps(1, 5)
    live, inside = bench.weights(), {}

    def look_and_stop() -> None:
        with bench.optimizer.evaluating():
            inside.update(bench.weights())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look_and_stop()
    assert is_equal(bench.weights(), live)
    is_averaged = SPECS[kind].optimizer == "schedulefree" or bool(SPECS[kind].ema_decay)
    assert is_equal(inside, live) != is_averaged
    bench.take_steps(6, NUM_STEPS)
    other.take_steps(6, NUM_STEPS)
    assert is_equal(bench.weights(), other.weights())


def test_schedule_free_saves_the_average_of_its_definition() -> None:
    """x is the mean of the z of every step, weighted by lr^2 (Defazio et al., 2024), here with a rate of 1e-2 throughout."""
    spec = TrainingSpec(optimizer="schedulefree", learning_rate=1e-2)
    bench, points = Bench(spec), []
    name = "unet.to_k.lora_A.weight"
    for step in range(1, 7):
        for place, parameter in enumerate(bench.parameters.values()):
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * step + place))
        bench.optimizer.step(1.0)
        points.append(bench.optimizer.state().tensors[f"z.{name}"].clone())
    assert torch.allclose(bench.saved_weights()[name], torch.stack(points).mean(0), atol=1e-5)


def test_the_text_encoders_have_a_rate_of_their_own() -> None:
    optimizer = Bench(SPECS["adamw, rates apart"]).optimizer
    optimizer.step(0.5)
    unet, text = optimizer.torch_optimizer.param_groups
    assert ([len(group["params"]) for group in (unet, text)], unet["lr"], text["lr"]) == ([4, 2], 5e-3, 5e-4)
    assert optimizer.learning_rate == 5e-3
    both = Bench(SPECS["adamw"]).optimizer
    both.step(0.5)
    assert [group["lr"] for group in both.torch_optimizer.param_groups] == [5e-3, 5e-3]


def test_weights_of_neither_go_with_the_unet_and_a_group_may_be_missing() -> None:
    parameters = {"placeholder": torch.nn.Parameter(torch.ones(3))}
    (group,) = AdapterOptimizer(SPECS["adamw, rates apart"], parameters, "cpu").torch_optimizer.param_groups
    assert group["lr"] == 1e-2
    parameters = {"text_encoder.x": torch.nn.Parameter(torch.ones(3))}
    optimizer = AdapterOptimizer(SPECS["adamw, rates apart"], parameters, "cpu")
    assert optimizer.learning_rate == 1e-3


def test_prodigys_rate_is_its_estimate() -> None:
    bench = Bench(SPECS["prodigy"])
    bench.take_steps(1, 1)
    assert bench.optimizer.learning_rate == 1e-6
    for step in range(2, 200):
        # A slope of 1 everywhere: the longer the way, the surer the estimate.
        for parameter in bench.parameters.values():
            parameter.grad = torch.ones_like(parameter)
        bench.optimizer.step(1.0)
        assert math.isfinite(bench.optimizer.learning_rate), step
    assert bench.optimizer.learning_rate > 1e-4


@pytest.mark.parametrize("kind", ["adamw", "prodigy", "schedulefree", "adafactor"])
def test_a_float16_overflow_skips_the_step(kind: str) -> None:
    bench = Bench(SPECS[kind])
    bench.take_steps(1, 2)
    before = bench.weights()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaler.scale(torch.ones(()))
    for parameter in bench.parameters.values():
        parameter.grad = torch.full_like(parameter, math.inf)
    scaler.unscale_(bench.optimizer.torch_optimizer)
    bench.optimizer.step(1.0, scaler)
    scaler.update()
    assert is_equal(bench.weights(), before)
    assert scaler.get_scale() == 2.0**9
    for parameter in bench.parameters.values():
        parameter.grad = torch.ones_like(parameter) * 2.0**9
    scaler.unscale_(bench.optimizer.torch_optimizer)
    bench.optimizer.step(1.0, scaler)
    assert not is_equal(bench.weights(), before)


def test_a_state_of_another_adapter_or_optimizer_is_refused() -> None:
    bench = Bench(SPECS["adamw"])
    bench.take_steps(1, 1)
    state = bench.optimizer.state()
    strange = {f"exp_avg.{name}.x": torch.zeros(1) for name in SHAPES}
    with pytest.raises(ValueError, match="another adapter"):
        bench.optimizer.restore(OptimizerState(strange, state.facts))
    with pytest.raises(KeyError, match="num_ema_updates"):
        Bench(SPECS["adamw, averaged"]).optimizer.restore(state)


def test_moments_of_8_bits_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """bitsandbytes also computes on a CPU, where nobody needs it: the check of the device apart, this is what runs on a GPU."""
    bitsandbytes = pytest.importorskip("bitsandbytes")

    def make(spec: TrainingSpec, groups: list[dict[str, Any]], device: torch.device) -> torch.optim.Optimizer:
        return bitsandbytes.optim.AdamW8bit(groups, **kinds._adam_settings(spec))

    monkeypatch.setitem(kinds.KINDS, "adamw8bit", make)
    monkeypatch.setitem(SHAPES, "unet.ff.lora_A.weight", (4, 2048))
    spec = TrainingSpec(optimizer="adamw8bit", learning_rate=1e-2)
    undisturbed = Bench(spec)
    undisturbed.take_steps(1, NUM_STEPS)
    assert undisturbed.optimizer.state().tensors["state1.unet.ff.lora_A.weight"].dtype == torch.uint8
    with resumed(spec, 4) as bench:
        bench.take_steps(5, NUM_STEPS)
        assert is_equal(bench.weights(), undisturbed.weights())


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [*SPECS, "adamw8bit"])
def test_on_a_gpu_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    monkeypatch.setitem(SHAPES, "unet.ff.lora_A.weight", (4, 2048))
    spec = SPECS.get(kind, TrainingSpec(optimizer="adamw8bit", learning_rate=1e-2))
    undisturbed = Bench(spec, "cuda")
    undisturbed.take_steps(1, NUM_STEPS)
    with resumed(spec, 5, "cuda") as bench:
        bench.take_steps(6, NUM_STEPS)
        assert is_equal(bench.weights(), undisturbed.weights())
        assert is_equal(bench.saved_weights(), undisturbed.saved_weights())
