"""What a training step of full-size SDXL costs in operations and bytes, counted on meta tensors: no weights, no GPU, no clock.

    python tests/bench/trainer_cost.py [--resolution 1024]

Forward and backward of the base UNet of the published configuration with the adapter on it (rank 4, attention), as the trainer runs them:
the UNet frozen in bfloat16, attention fused (its probabilities are never kept). Operations: two for a multiplication with its addition;
what fused attention computes again in its backward counts once, the second forward of gradient checkpointing counts as backward.
Activations: all that autograd keeps from forward to backward; a lower bound, since autocast keeps what goes into norms in float32.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from daemon.models import published

aten = torch.ops.aten
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
NUM_TOKENS = 77
BATCH_SIZES = (1, 2, 4)
MASTER_BYTES = 4 * 4
"""Of a trained weight: itself, its gradient, and AdamW's two moments, all float32."""


@dataclass(frozen=True)
class Cost:
    """Of one step at one batch size."""

    forward_flops: int
    backward_flops: int
    """With gradient checkpointing also the second forward."""
    activation_bytes: int
    frozen_bytes: int
    trained_bytes: int

    @property
    def flops(self) -> int:
        return self.forward_flops + self.backward_flops


def adapted_unet(config: dict[str, Any], rank: int = 4, *, gradient_checkpointing: bool = False) -> Any:
    """A UNet on meta tensors in bfloat16, frozen, with an adapter."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=TARGETS))
        # In the adapter too, what autocast computes in.
        torch.nn.Module.to(unet, torch.bfloat16)
    if gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet.train()


def count(unet: Any, batch_size: int, resolution: int, downsampling: int = 8) -> Cost:
    """Run a step's shapes through forward and backward. `resolution` in pixels, of which a latent stands for `downsampling`^2."""
    kept: dict[int, Any] = {}
    own = {parameter.untyped_storage()._cdata for parameter in unet.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    counter = FlopCounterMode(display=False, custom_mapping={aten._scaled_dot_product_flash_attention_backward: _attention_backward})
    with fused_attention(), counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        predicted = unet(**_inputs(unet.config, batch_size, resolution // downsampling))[0]
        forward = counter.get_total_flops()
        num_bytes = sum(storage.nbytes() for storage in kept.values())
        predicted.float().square().mean().backward()
    trained = sum(parameter.numel() for parameter in unet.parameters() if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in unet.parameters()) - trained
    return Cost(forward, counter.get_total_flops() - forward, num_bytes, 2 * frozen, MASTER_BYTES * trained)


def _inputs(config: Any, batch_size: int, side: int) -> dict[str, Any]:
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    half = {"dtype": torch.bfloat16, "device": "meta"}
    conditions = {"text_embeds": torch.zeros(batch_size, pooled, **half), "time_ids": torch.zeros(batch_size, 6, device="meta")}
    return {
        "sample": torch.zeros(batch_size, config.in_channels, side, side, **half),
        "timestep": torch.zeros(batch_size, device="meta"),
        "encoder_hidden_states": torch.zeros(batch_size, NUM_TOKENS, config.cross_attention_dim, **half),
        "added_cond_kwargs": conditions,
        "return_dict": False,
    }


@contextmanager
def fused_attention() -> Iterator[None]:
    """Attention as a GPU's fused kernel has it. On meta tensors torch would take the plain one, which keeps its probabilities."""
    plain = F.scaled_dot_product_attention

    def fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return aten._scaled_dot_product_flash_attention(query, key, value)[0]

    F.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        F.scaled_dot_product_attention = plain


def _attention_backward(_: Any, query_shape: Any, key_shape: Any, value_shape: Any, *__: Any, **___: Any) -> int:
    """Two products for each of the forward's two."""
    return 2 * sdpa_flop_count(query_shape, key_shape, value_shape)


def table(costs: dict[tuple[int, bool], Cost]) -> str:
    """`costs` by batch size and whether activations are computed twice -> Markdown."""
    titles = [
        "batch",
        "gradient checkpointing",
        "forward, TFLOP",
        "backward, TFLOP",
        "UNet, GiB",
        "adapter with AdamW, GiB",
        "activations, GiB",
    ]
    lines = [f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"]
    for (batch_size, is_twice), cost in costs.items():
        flops = [f"{value / 1e12:.2f}" for value in (cost.forward_flops, cost.backward_flops)]
        sizes = [f"{value / 2**30:.2f}" for value in (cost.frozen_bytes, cost.trained_bytes, cost.activation_bytes)]
        lines.append(f"| {batch_size} | {'yes' if is_twice else 'no'} | {' | '.join([*flops, *sizes])} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=1024)
    given = parser.parse_args()
    costs = {}
    for is_twice in (False, True):
        unet = adapted_unet(published.UNET_BASE, gradient_checkpointing=is_twice)
        costs |= {(batch_size, is_twice): count(unet, batch_size, given.resolution) for batch_size in BATCH_SIZES}
    print(table(costs))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
