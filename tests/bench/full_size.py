"""A full-size SDXL of random weights: on a GPU the inner loops of the three acts, timed; without one, its parts counted and wired on meta.

    python tests/bench/full_size.py                 # meta, seconds
    python tests/bench/full_size.py --gpu FOLDER    # writes about 14 GB of weights into FOLDER, prints a Markdown table

Random weights paint noise, but take the time and memory of real ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from peft import LoraConfig
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from daemon.engine.models import LocalEngine, create_engine
from daemon.models import published
from daemon.protocol.specs import AdapterRequest, ImageRequest, ModelSpec
from daemon.toy import BASE_PATH

PARAMETERS = {
    "base unet": 2_567_463_684,
    "refiner unet": 2_259_526_660,
    "text_encoder": 123_060_480,
    "text_encoder_2": 694_659_840,
    "vae": 83_653_863,
}
"""Of the published SDXL 1.0."""

ADAPTER_PARAMETERS = 5_806_080
"""Rank 4 on to_q, to_k, to_v and to_out.0 of the base's UNet."""

TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
KEYWORDS = "(blurry)++++, low quality, bad hands, random text, jpeg artifacts, watermark"


def make_parts() -> dict[str, Callable[[], torch.nn.Module]]:
    """Makers of every part, by name; run them under `torch.device(...)`."""
    return {
        "base unet": lambda: UNet2DConditionModel.from_config(published.UNET_BASE),
        "refiner unet": lambda: UNet2DConditionModel.from_config(published.UNET_REFINER),
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(**published.TEXT_ENCODER)),
        "text_encoder_2": lambda: CLIPTextModelWithProjection(CLIPTextConfig(**published.TEXT_ENCODER_2)),
        "vae": lambda: AutoencoderKL.from_config(published.VAE),
    }


def count_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def check_on_meta() -> dict[str, int]:
    """Counts every part, sends shapes through both UNets and the VAE, and puts a rank 4 adapter on the base. Name -> parameters."""
    found = {}
    with torch.device("meta"):
        for name, make in make_parts().items():
            module = make()
            found[name] = count_parameters(module)
            if name.endswith("unet"):
                _send_shapes(module, refiner=name.startswith("refiner"))
            if name == "base unet":
                found["adapter, rank 4"] = _count_adapter(module)
            if name == "vae":
                assert module.decode(torch.zeros(1, 4, 128, 128)).sample.shape == (1, 3, 1024, 1024)
    return found


def _send_shapes(unet: torch.nn.Module, *, refiner: bool) -> None:
    width, num_time_ids = (1280, 5) if refiner else (2048, 6)
    conditions = {"text_embeds": torch.zeros(2, 1280), "time_ids": torch.zeros(2, num_time_ids)}
    predicted = unet(torch.zeros(2, 4, 128, 128), torch.zeros(()), torch.zeros(2, 77, width), added_cond_kwargs=conditions).sample
    assert predicted.shape == (2, 4, 128, 128)


def _count_adapter(unet: torch.nn.Module) -> int:
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=TARGETS))
    return sum(parameter.numel() for parameter in unet.parameters() if parameter.requires_grad)


def write_random_model(folder: Path) -> ModelSpec:
    """Base and refiner as diffusers folders in fp16, sharing text encoder 2 and VAE; the toy's tokenizer spells the prompts."""
    for role, files in (("base", published.BASE_FILES), ("refiner", published.REFINER_FILES)):
        for name, table in files.items():
            path = folder / role / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(table))
        for name in ("tokenizer", "tokenizer_2") if role == "base" else ("tokenizer_2",):
            shutil.copytree(BASE_PATH / name, folder / role / name, dirs_exist_ok=True)
    for name, make in make_parts().items():
        torch.manual_seed(0)
        with torch.device("cuda"):
            module = make().to(torch.float16)
        role, part = ("refiner", "unet") if name == "refiner unet" else ("base", name.removeprefix("base "))
        module.save_pretrained(folder / role / part)
        if part in ("text_encoder_2", "vae"):
            shutil.copytree(folder / role / part, folder / "refiner" / part, dirs_exist_ok=True)
        del module
        torch.cuda.empty_cache()
    return ModelSpec(base=str(folder / "base"), refiner=str(folder / "refiner"), torch_dtype="float16", device="cuda")


class Table:
    """Measured rows: what, seconds, peak GiB of the device."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float]] = []

    def measure(self, name: str, action: Callable[[], Any], repeat: int = 1) -> Any:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        for _ in range(repeat):
            result = action()
        torch.cuda.synchronize()
        self.rows.append((name, (time.perf_counter() - begun) / repeat, torch.cuda.max_memory_allocated() / 2**30))
        return result

    def markdown(self) -> str:
        lines = [f"{torch.cuda.get_device_name()}, torch {torch.__version__}", "", "| what | seconds | peak GiB |", "|---|---|---|"]
        return "\n".join([*lines, *(f"| {name} | {seconds:.3f} | {peak:.2f} |" for name, seconds, peak in self.rows)])


def run_acts(model: ModelSpec, folder: Path, size: int, num_inference_steps: int, num_train_steps: int) -> str:
    """Synthesise, train, compare, each through the engine; the Markdown table."""
    engine, table = create_engine(folder / "cache"), Table()
    identity = table.measure("hash the files (first time)", lambda: engine.identify(model))
    table.measure("hash the files (remembered)", lambda: engine.identify(model))

    def request(**changes: Any) -> ImageRequest:
        fields: dict[str, Any] = {
            "base_sha256": identity.base_sha256, "refiner_sha256": identity.refiner_sha256, "torch_dtype": identity.torch_dtype,
            "prompt": KEYWORDS, "seed": 0, "guidance_scale": 8.0, "num_inference_steps": num_inference_steps,
            "width": size, "height": size, "denoising_split": 0.8,
        }  # fmt: skip
        return ImageRequest(**(fields | changes))

    table.measure("load base and refiner, first picture in 2 steps", lambda: engine.paint(model, request(num_inference_steps=2)))
    label = f"{size} px, {num_inference_steps} steps, base -> refiner"
    table.measure(f"synthesise: a picture ({label})", lambda: engine.paint(model, request(seed=1)), repeat=3)
    adapter = _train(engine, model, table, folder, size, num_train_steps)
    use = (AdapterRequest(sha256=engine.offer_adapter(adapter), weight=1.0),)
    for arm, changes in (
        ("baseline", {}),
        ("placebo", {"negative_prompt": "wrong"}),
        ("target", {"negative_prompt": "wrong", "adapters": use}),
    ):
        table.measure(
            f"compare: {arm} ({label})", lambda changes=changes: engine.paint(model, request(guidance_scale=13.0, **changes)), repeat=2
        )
    return table.markdown()


def _train(engine: LocalEngine, model: ModelSpec, table: Table, folder: Path, size: int, num_steps: int) -> Path:
    """A DreamBooth step as the method has it (batch 1, rank 4 in fp32, cached latents), without and with gradient checkpointing."""
    from diffusers import StableDiffusionXLPipeline
    from peft.utils import get_peft_model_state_dict

    for checkpointing in (False, True):
        with engine.borrow_training_parts(model) as parts:
            unet = parts.unet
            unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=TARGETS))
            trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
            for parameter in trained:
                parameter.data = parameter.data.float()
            if checkpointing:
                unet.enable_gradient_checkpointing()
            unet.train()
            optimizer = torch.optim.AdamW(trained, lr=1e-4)
            step = _training_step(unet, optimizer, size, torch.autocast("cuda", torch.float16))
            step()
            words = ", gradient checkpointing" if checkpointing else ""
            table.measure(f"train: a step ({size} px, batch 1, rank 4{words})", step, repeat=num_steps)
            weights = {name: weight.detach().cpu() for name, weight in get_peft_model_state_dict(unet).items()}
    StableDiffusionXLPipeline.save_lora_weights(folder / "adapter", unet_lora_layers=weights)
    return folder / "adapter" / "pytorch_lora_weights.safetensors"


def _training_step(unet: Any, optimizer: Any, size: int, autocast: AbstractContextManager[Any] = nullcontext()) -> Callable[[], None]:  # noqa: B008
    device = next(unet.parameters()).device
    latents = torch.randn(1, 4, size // 8, size // 8, device=device)
    words, pooled = torch.randn(1, 77, 2048, device=device), torch.randn(1, 1280, device=device)
    conditions = {"text_embeds": pooled, "time_ids": torch.tensor([[size, size, 0, 0, size, size]], device=device, dtype=torch.float32)}

    def step() -> None:
        with autocast:
            predicted = unet(latents, torch.tensor([500], device=device), words, added_cond_kwargs=conditions).sample
        loss = (predicted.float() - latents).square().mean().nan_to_num()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", type=Path, metavar="FOLDER", help="run the acts on the GPU, the model written into FOLDER")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--train-steps", type=int, default=10)
    given = parser.parse_args()
    if given.gpu is None or not torch.cuda.is_available():
        found = check_on_meta()
        for name, count in found.items():
            print(f"{name}: {count:,}")
        return 0 if found == PARAMETERS | {"adapter, rank 4": ADAPTER_PARAMETERS} else 1
    model = write_random_model(given.gpu)
    print(run_acts(model, given.gpu, given.size, given.steps, given.train_steps))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
