import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daemon.training.optimizers.ema import Ema, kept, warmed_up


def make_parameters(seed: int = 0) -> dict[str, torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.nn.Parameter(torch.randn(shape, generator=draw)) for name, shape in (("a", (3, 2)), ("b", (5,)))}


def walk(parameters: dict[str, torch.nn.Parameter], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=draw))


def test_it_is_the_average_by_its_definition() -> None:
    parameters = make_parameters()
    ema = Ema(parameters, 0.5)
    expected = {name: parameter.detach().double() for name, parameter in parameters.items()}
    for n in range(20):
        walk(parameters, n)
        ema.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = {name: decay * average + (1 - decay) * parameters[name].detach().double() for name, average in expected.items()}
    for name, average in ema.weights().items():
        assert torch.allclose(average.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not average.requires_grad


@given(st.floats(0.0, 1.0, exclude_max=True), st.integers(0, 10_000))
def test_the_decay_warms_up(decay: float, num_updates: int) -> None:
    assert warmed_up(decay, num_updates) <= decay
    assert warmed_up(decay, num_updates) <= warmed_up(decay, num_updates + 1)
    assert warmed_up(0.999, 0) == 0.1
    assert warmed_up(0.999, 100_000) == 0.999


def test_it_stands_in_and_goes_again_to_the_bit_whatever_is_raised() -> None:
    parameters = make_parameters()
    ema = Ema(parameters, 0.9)
    walk(parameters, 1)
    ema.update()
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    memory = {name: parameter.data_ptr() for name, parameter in parameters.items()}

    def look_and_fail() -> None:
        with ema.in_place():
            assert all(torch.equal(parameters[name], average) for name, average in ema.weights().items())
            assert not any(torch.equal(parameters[name], weight) for name, weight in before.items())
            raise RuntimeError("while it stands in")

    with pytest.raises(RuntimeError, match="while it stands in"):
        look_and_fail()
    assert all(torch.equal(parameters[name], weight) for name, weight in before.items())
    assert {name: parameter.data_ptr() for name, parameter in parameters.items()} == memory


def test_what_is_done_to_kept_weights_is_undone() -> None:
    parameters = make_parameters()
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    with kept(parameters), torch.no_grad():
        parameters["a"].fill_(torch.nan)
    assert all(torch.equal(parameters[name], weight) for name, weight in before.items())


def test_a_restored_average_goes_on_bit_for_bit() -> None:
    parameters = make_parameters()
    ema = Ema(parameters, 0.7)
    for n in range(4):
        walk(parameters, n)
        ema.update()
    saved, count = {name: average.clone() for name, average in ema.weights().items()}, ema.num_updates
    other = Ema(parameters, 0.7)
    other.restore(saved, count)
    for n in range(4, 8):
        walk(parameters, n)
        ema.update()
        other.update()
    assert other.num_updates == ema.num_updates == 8
    assert all(torch.equal(other.weights()[name], average) for name, average in ema.weights().items())


@pytest.mark.parametrize("wrong", [{}, {"a": torch.zeros(3, 2)}, {"a": torch.zeros(3, 2), "b": torch.zeros(6)}])
def test_averages_of_another_adapter_are_refused(wrong: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="another adapter"):
        Ema(make_parameters(), 0.7).restore(wrong, 1)
