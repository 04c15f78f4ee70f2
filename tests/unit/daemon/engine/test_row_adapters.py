"""Adapters on single rows: the negative half is the LoRA's, the positive half the base's, on a UNet of the toy's structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.engine.adapters import AdapterShelf
from daemon.engine.guidance import Row
from daemon.engine.row_adapters import NO_ADAPTER, RowAdapters
from daemon.files import sha256_file

ROWS = (Row(0, "negative"), Row(0, "positive"))


@pytest.fixture(scope="module")
def unet(model_path: Path) -> Any:
    import torch
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(model_path / "base" / "unet", torch_dtype=torch.float64).eval().requires_grad_(False)


class Pipeline:
    """As much of one as carries adapters."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet


@pytest.fixture(scope="module")
def files(make_adapter: Callable[[int], Path]) -> dict[str, Path]:
    return {sha256_file(path): path for path in (make_adapter(1), make_adapter(2))}


@pytest.fixture
def shelf(files: dict[str, Path], unet: Any) -> Iterator[AdapterShelf]:
    import torch
    from torch import nn

    made = AdapterShelf(dict(files))
    made.load(Pipeline(unet), files)
    nn.Module.to(unet, torch.float64)
    yield made
    made.unload_all(unet)


def predict(unet: Any, num_rows: int = 2) -> Any:
    """The same inputs in every row: rows differ by what acts on them alone. In float64: large random adapters enlarge every rounding."""
    import torch

    generator = torch.Generator("cpu").manual_seed(0)
    config = unet.config
    pooled_dim = unet.add_embedding.linear_1.in_features - 6 * config.addition_time_embed_dim
    latents, words, pooled = (
        torch.randn(1, *shape, generator=generator, dtype=torch.float64)
        for shape in ((4, 16, 16), (77, config.cross_attention_dim), (pooled_dim,))
    )
    conditions = {"text_embeds": pooled.expand(num_rows, -1), "time_ids": torch.full((num_rows, 6), 64.0, dtype=torch.float64)}
    with torch.no_grad():
        return unet(
            latents.expand(num_rows, -1, -1, -1), torch.tensor(500), words.expand(num_rows, -1, -1), added_cond_kwargs=conditions
        ).sample


def alone(unet: Any, shelf: AdapterShelf, *found: tuple[str, float]) -> Any:
    shelf.activate(unet, "unet", found)
    return predict(unet)[0]


def by_row(unet: Any, shelf: AdapterShelf, *found: tuple[tuple[str, float], ...]) -> Any:
    rows = tuple(Row(number, "positive") for number in range(len(found)))
    acting = RowAdapters(unet, dict(zip(rows, shelf.row_names(unet, found), strict=True)))
    with acting.attached():
        acting.choose(rows)
        return predict(unet, len(found))


def test_the_negative_half_is_the_lora_s_and_the_positive_half_the_base_s(unet: Any, shelf: AdapterShelf, files: dict[str, Path]) -> None:
    import torch

    one = next(iter(files))
    with_lora, bare = alone(unet, shelf, (one, 1.0)), alone(unet, shelf)
    assert not torch.allclose(with_lora, bare, atol=1e-2)
    negative, positive = by_row(unet, shelf, ((one, 1.0),), ())
    torch.testing.assert_close(negative, with_lora, atol=1e-6, rtol=1e-6)
    assert torch.equal(positive, bare), "of two rows, as in plain guidance, the base's are the base's to the bit"


def test_one_file_at_two_weights_acts_at_each(unet: Any, shelf: AdapterShelf, files: dict[str, Path]) -> None:
    import torch

    one = next(iter(files))
    expected = [alone(unet, shelf, (one, weight)) for weight in (0.5, -1.0)]
    found = by_row(unet, shelf, ((one, 0.5),), ((one, -1.0),))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_several_adapters_on_one_row_are_their_sum_and_other_rows_have_their_own(
    unet: Any, shelf: AdapterShelf, files: dict[str, Path]
) -> None:
    import torch

    one, two = files
    combinations = [((one, 1.0), (two, 0.5)), ((one, 1.0),), (), ((two, -0.7),)]
    expected = [alone(unet, shelf, *found) for found in combinations]
    for ours, theirs in zip(by_row(unet, shelf, *combinations), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_afterwards_nothing_is_left_of_it(unet: Any, shelf: AdapterShelf, files: dict[str, Path]) -> None:
    import torch

    one = next(iter(files))
    before = alone(unet, shelf), alone(unet, shelf, (one, 1.0))
    by_row(unet, shelf, ((one, 1.0),), ())
    after = alone(unet, shelf), alone(unet, shelf, (one, 1.0))
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))


def test_names_are_kept_and_the_oldest_go(unet: Any, shelf: AdapterShelf, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import daemon.engine.adapters as adapters

    monkeypatch.setattr(adapters, "MAX_RESIDENT", 2)
    one = next(iter(files))
    first, none = shelf.row_names(unet, [((one, 1.0),), ()])
    assert none == NO_ADAPTER
    assert shelf.row_names(unet, [((one, 1.0),)]) == [first]
    assert len(set(shelf.row_names(unet, [((one, 2.0),), ((one, 3.0),)]))) == 2
    assert first not in unet.peft_config
    assert len([name for name in unet.peft_config if name.startswith("stack_")]) == 2
