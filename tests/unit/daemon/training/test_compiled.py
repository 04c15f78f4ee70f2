from typing import Any

import pytest
import torch
from tiny_sdxl import SPEC

from daemon.training.adapters.attach import attached
from daemon.training.compiled import compiled_blocks


def blocks(unet: Any) -> list[Any]:
    return [module for module in unet.modules() if type(module).__name__ == "BasicTransformerBlock"]


def loss(unet: Any) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    added = {"text_embeds": torch.randn(1, 16, generator=draw), "time_ids": torch.randn(1, 6, generator=draw)}
    latents, words = torch.randn(1, 4, 16, 16, generator=draw), torch.randn(1, 12, 32, generator=draw)
    return unet(latents, torch.tensor([500]), words, added_cond_kwargs=added, return_dict=False)[0].square().mean()


def gradients(unet: Any, adapter: Any) -> list[torch.Tensor]:
    for weight in adapter.parameters.values():
        weight.grad = None
    loss(unet).backward()
    return [weight.grad.clone() for weight in adapter.parameters.values()]


def test_compiled_blocks_say_the_same_and_are_plain_again_afterwards(parts: Any) -> None:
    with attached(parts, SPEC) as adapter:
        wanted = gradients(parts.unet, adapter)
        # The compiler's front alone: what it captures and that it is called, without generating code.
        with compiled_blocks(parts.unet, True, backend="eager"):
            assert all(block._compiled_call_impl is not None for block in blocks(parts.unet))
            assert all(torch.allclose(found, want, atol=1e-7) for found, want in zip(gradients(parts.unet, adapter), wanted, strict=True))
            with adapter.off():
                assert float(loss(parts.unet).detach()) > 0
        assert all(block._compiled_call_impl is None for block in blocks(parts.unet))
    assert blocks(parts.unet)


def test_they_are_plain_again_whatever_was_raised(parts: Any) -> None:
    with pytest.raises(KeyboardInterrupt), compiled_blocks(parts.unet, True, backend="eager"):
        raise KeyboardInterrupt
    assert all(block._compiled_call_impl is None for block in blocks(parts.unet))


def test_unasked_nothing_is_compiled(parts: Any) -> None:
    with compiled_blocks(parts.unet, False):
        assert all(block._compiled_call_impl is None for block in blocks(parts.unet))
