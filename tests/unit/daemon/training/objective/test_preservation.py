import contextlib
from collections.abc import Iterator

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.objective.preservation import draw_prompts, preservation_loss, preservation_prompts


class Scale:
    """A model of one number: with the adapter it says `weight` times what it says without."""

    def __init__(self, weight: float) -> None:
        self.weight = torch.nn.Parameter(torch.tensor(weight))
        self.is_off = False

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        self.is_off = True
        yield
        self.is_off = False

    def predict(self) -> torch.Tensor:
        said = torch.tensor([[[[1.0, 2.0]]]])
        return said if self.is_off else said * self.weight


def test_the_loss_is_the_adapter_s_effect_and_its_gradient_undoes_it() -> None:
    adapter = Scale(3.0)
    loss = preservation_loss(adapter, adapter.predict)
    assert float(loss.detach()) == pytest.approx((2.0**2 + 4.0**2) / 2)
    loss.backward()
    # d/dw mean(((w - 1) x)^2) = 2 (w - 1) mean(x^2): nothing flows through the prediction without the adapter.
    assert float(adapter.weight.grad) == pytest.approx(2 * 2.0 * 2.5)
    assert not adapter.is_off


def test_an_adapter_without_effect_costs_nothing() -> None:
    adapter = Scale(1.0)
    assert float(preservation_loss(adapter, adapter.predict).detach()) == 0.0


def test_without_prompts_it_is_no_caption_and_the_class_prompt() -> None:
    spec = TrainingSpec()
    assert preservation_prompts(spec) == (None,)
    assert preservation_prompts(msgspec.structs.replace(spec, class_prompt="a toy")) == (None, "a toy")
    assert preservation_prompts(msgspec.structs.replace(spec, class_prompt="a toy", preservation_prompts=("x", "y"))) == ("x", "y")


@given(seed=st.integers(0, 2**32), step=st.integers(1, 10**6), micro_step=st.integers(0, 7), batch_size=st.integers(1, 9))
def test_prompts_are_drawn_by_place_alone(seed: int, step: int, micro_step: int, batch_size: int) -> None:
    prompts = ("a", None, "b")
    drawn = draw_prompts(prompts, batch_size, seed, step, micro_step)
    assert len(drawn) == batch_size
    assert set(drawn) <= set(prompts)
    assert drawn == draw_prompts(prompts, batch_size + 3, seed, step, micro_step)[:batch_size]


def test_every_prompt_has_its_turn() -> None:
    drawn = [draw_prompts(("a", None, "b"), 1, 0, step, 0)[0] for step in range(1, 601)]
    assert all(150 < drawn.count(prompt) < 250 for prompt in ("a", None, "b"))
