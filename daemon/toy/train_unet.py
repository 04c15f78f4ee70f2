"""Trains the toy's base (both text encoders with the UNet) and, warm-started from it, its refiner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from daemon.toy.architecture import (
    BASE_TIME_IDS,
    REFINER_TIME_IDS,
    make_scheduler,
    make_text_encoder,
    make_text_encoder_2,
    make_unet,
    refiner_from_base,
)
from daemon.toy.captions import vocabulary
from daemon.toy.loop import Plan, Rank, averaged_weights, batches, train
from daemon.toy.pictures import read_pictures
from daemon.toy.tokenizer import END, write_tokenizer
from daemon.toy.train_vae import read_latents

CAPTION_DROPOUT = 0.1
NOISES_A_CAPTION = 2
"""Each encoded caption serves this many noise levels of its picture: text encoding is a fifth of a step's work."""

REFINER_TIMESTEPS = 300
"""The refiner only ever removes the last fifth of the noise; a margin above it."""

REFINER_BAD_SCORE = 2.5


def make_tokenizers(folder: Path) -> tuple[CLIPTokenizer, CLIPTokenizer]:
    """tokenizer (pads with its end token) and tokenizer_2 (pads with "!"), as SDXL's; written once, then loaded."""
    if not (folder / "tokenizers-complete").exists():
        write_tokenizer(folder / "tokenizer", vocabulary(), END)
        write_tokenizer(folder / "tokenizer_2", vocabulary(), "!")
        (folder / "tokenizers-complete").touch()
    return CLIPTokenizer.from_pretrained(folder / "tokenizer"), CLIPTokenizer.from_pretrained(folder / "tokenizer_2")


def make_base(tokenizers: Sequence[CLIPTokenizer]) -> dict[str, nn.Module]:
    """The base's trainable parts, initialised."""
    return {
        "text_encoder": make_text_encoder(tokenizers[0]),
        "text_encoder_2": make_text_encoder_2(tokenizers[1]),
        "unet": make_unet(),
    }


def token_ids(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """(N, 77) int64."""
    return tokenizer(
        list(captions),
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    ).input_ids


def v_prediction_loss(
    unet: UNet2DConditionModel,
    latents: Tensor,
    timesteps_B: Tensor,
    noise: Tensor,
    text: Tensor,
    added: dict[str, Tensor],
) -> Tensor:
    """MSE of the v-prediction (Salimans & Ho, 2022), latents (B, 4, 16, 16) -> scalar."""
    alpha_B = make_scheduler().alphas_cumprod[timesteps_B.cpu()].to(latents.device).view(-1, 1, 1, 1)
    signal, sigma = alpha_B.sqrt(), (1 - alpha_B).sqrt()
    predicted = unet(signal * latents + sigma * noise, timesteps_B, text, added_cond_kwargs=added).sample
    return F.mse_loss(predicted, signal * noise - sigma * latents)


def stratified_timesteps(num: int, below: int, generator: torch.Generator) -> Tensor:
    """(num,) int64 below `below`: one from each of num equal strata, shuffled, so that no batch is all noise."""
    spread = (torch.arange(num) + torch.rand(num, generator=generator)) / num
    return (spread * below).long()[torch.randperm(num, generator=generator)]


def train_base(plan: Plan, batch_size: int, rank: Rank, folder: Path) -> None:
    """Trains both encoders and the UNet jointly; 10 % of the captions are dropped to zeros, as the pipeline's are."""
    torch.manual_seed(plan.seed)
    tokenizers = make_tokenizers(folder)
    parts = {name: part.to(rank.device).train() for name, part in make_base(tokenizers).items()}
    latents_N, captions = _corpus(folder)
    ids, ids_2 = (token_ids(tokenizer, captions) for tokenizer in tokenizers)
    time_ids = torch.tensor(BASE_TIME_IDS, dtype=torch.float32, device=rank.device)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        num_captions = batch_size // NOISES_A_CAPTION
        index = batches(len(latents_N), num_captions, generator)
        kept = (torch.rand(num_captions, generator=generator) >= CAPTION_DROPOUT).float().to(rank.device)
        hidden = parts["text_encoder"](ids[index].to(rank.device), output_hidden_states=True).hidden_states[-2]
        second = parts["text_encoder_2"](ids_2[index].to(rank.device), output_hidden_states=True)
        text = torch.cat([hidden, second.hidden_states[-2]], dim=-1) * kept.view(-1, 1, 1)
        pooled = second.text_embeds * kept.view(-1, 1)
        latents = latents_N[index].repeat(NOISES_A_CAPTION, 1, 1, 1).to(rank.device)
        timesteps = stratified_timesteps(len(latents), 1000, generator).to(rank.device)
        noise = torch.randn(latents.shape, generator=generator).to(rank.device)
        added = {"text_embeds": pooled.repeat(NOISES_A_CAPTION, 1), "time_ids": time_ids.expand(len(latents), -1)}
        text = text.repeat(NOISES_A_CAPTION, 1, 1)
        return v_prediction_loss(parts["unet"], latents, timesteps, noise, text, added)

    train(plan, parts, loss, rank, folder)


def train_refiner(plan: Plan, batch_size: int, rank: Rank, folder: Path) -> None:
    """Fine-tunes a copy of the base's UNet on the last noise levels, scored 6.0 clean, 2.5 flawed."""
    torch.manual_seed(plan.seed)
    base = base_parts(folder)
    unet = refiner_from_base(base["unet"]).to(rank.device).train()
    encoder = base["text_encoder_2"].to(rank.device).requires_grad_(False).eval()
    latents_N, captions = _corpus(folder)
    _, rows = read_pictures(folder)
    scores = torch.tensor([REFINER_BAD_SCORE if row["flaws"] else REFINER_TIME_IDS[-1] for row in rows])
    ids = token_ids(make_tokenizers(folder)[1], captions)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        index = batches(len(latents_N), batch_size, generator)
        with torch.no_grad():
            second = encoder(ids[index].to(rank.device), output_hidden_states=True)
        latents = latents_N[index].to(rank.device)
        timesteps = stratified_timesteps(len(latents), REFINER_TIMESTEPS, generator).to(rank.device)
        noise = torch.randn(latents.shape, generator=generator).to(rank.device)
        size = torch.tensor(REFINER_TIME_IDS[:-1], dtype=torch.float32).expand(len(index), -1)
        time_ids = torch.cat([size, scores[index].view(-1, 1)], dim=1).to(rank.device)
        added = {"text_embeds": second.text_embeds, "time_ids": time_ids}
        return v_prediction_loss(unet, latents, timesteps, noise, second.hidden_states[-2], added)

    train(plan, {"unet": unet}, loss, rank, folder)


def base_parts(folder: Path) -> dict[str, nn.Module]:
    """The base's parts with the averaged weights of its checkpoint; untrained where there is none yet."""
    torch.manual_seed(0)
    parts = make_base(make_tokenizers(folder))
    for name, part in parts.items():
        if (folder / "base.safetensors").exists():
            part.load_state_dict(averaged_weights(folder / "base.safetensors", name), strict=False)
    return parts


def refiner_unet(folder: Path) -> UNet2DConditionModel:
    """The refiner's UNet with the averaged weights of its checkpoint; a copy of the base's where there is none yet."""
    unet = refiner_from_base(base_parts(folder)["unet"])
    if (folder / "refiner.safetensors").exists():
        unet.load_state_dict(averaged_weights(folder / "refiner.safetensors", "unet"))
    return unet


def _corpus(folder: Path) -> tuple[Tensor, list[str]]:
    """Latents (N, 4, 16, 16) float32 and the caption of each."""
    return read_latents(folder), [row["caption"] for row in read_pictures(folder)[1]]
