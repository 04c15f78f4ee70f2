"""Trains the probe on drawn pictures that went through the VAE, and measures it on others."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from daemon.toy.checkpoint import load_tensors, save_tensors
from daemon.toy.loop import Plan, Rank, averaged_weights, batches, chunks, train
from daemon.toy.pictures import read_pictures
from daemon.toy.probe import ATTRIBUTES, ProbeNet, save_probe
from daemon.toy.train_vae import read_latents, trained_vae

LATENT_NOISE = 0.05
NUM_HELD_OUT = 1_000


def train_probe(plan: Plan, num_pictures: int, batch_size: int, rank: Rank, folder: Path) -> None:
    """Trains on `num_pictures` decoded pictures less the held-out thousand; the checkpoint is `probe.safetensors`."""
    pixels, labels = _decoded(folder, num_pictures, rank), _labels(folder, num_pictures)
    torch.manual_seed(plan.seed)
    net = ProbeNet().to(rank.device)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        index = batches(num_pictures - NUM_HELD_OUT, batch_size, generator)
        batch = pixels[index].float() / 127.5 - 1
        mirrored = (torch.rand(batch_size, generator=generator) < 0.5).view(-1, 1, 1, 1)
        logits = net(torch.where(mirrored, batch.flip(3), batch).to(rank.device))
        flaw = F.binary_cross_entropy_with_logits(logits["flaw"][:, 0], labels["flaw"][index].float().to(rank.device))
        named = [F.cross_entropy(logits[name], labels[name][index].to(rank.device)) for name in ATTRIBUTES]
        return 2 * flaw + torch.stack(named).sum()

    train(plan, {"probe": net}, loss, rank, folder)


@torch.inference_mode()
def export_probe(folder: Path, num_pictures: int, probe_path: Path) -> dict[str, object]:
    """Writes the averaged probe and returns its accuracies on the held-out pictures."""
    net = ProbeNet().eval()
    net.load_state_dict(averaged_weights(folder / "probe.safetensors", "probe"))
    held = slice(num_pictures - NUM_HELD_OUT, num_pictures)
    pixels = _decoded(folder, num_pictures, Rank())[held].float() / 127.5 - 1
    labels = {name: label[held] for name, label in _labels(folder, num_pictures).items()}
    logits = net(pixels)
    clean = ~labels["flaw"].bool()
    facts: dict[str, object] = {f"{name}_accuracy": _share(logits[name].argmax(1)[clean] == labels[name][clean]) for name in ATTRIBUTES}
    flagged = logits["flaw"][:, 0] > 0
    facts |= {"flaw_recall": _share(flagged[~clean]), "flaw_false_alarms": _share(flagged[clean])}
    rows = read_pictures(folder)[1][held]
    for word in sorted({word for row in rows for word in row["flaws"]}):
        alone = torch.tensor([row["flaws"] == [word] for row in rows])
        facts[f"flaw_recall, {word} alone"] = _share(flagged[alone])
    facts["held_out_pictures"] = NUM_HELD_OUT
    save_probe(net, facts, probe_path)
    return facts


def _share(hits: Tensor) -> float:
    return round(hits.float().mean().item(), 4)


def _labels(folder: Path, num_pictures: int) -> dict[str, Tensor]:
    """(N,) int64 a head: indices into the attribute's values, and 1 where the picture is flawed."""
    rows = read_pictures(folder)[1][:num_pictures]
    named = {name: torch.tensor([values.index(row["scene"][name]) for row in rows]) for name, values in ATTRIBUTES.items()}
    return {**named, "flaw": torch.tensor([int(bool(row["flaws"])) for row in rows])}


@torch.no_grad()
def _decoded(folder: Path, num_pictures: int, rank: Rank) -> Tensor:
    """The first pictures as the VAE shows them, (N, 3, 64, 64) uint8; kept in the work folder."""
    path = folder / "decoded.safetensors"
    if path.exists():
        return load_tensors(path)[0]["pixels"]
    vae, latents = trained_vae(folder).to(rank.device), read_latents(folder)
    generator, pieces = torch.Generator().manual_seed(0), []
    for piece in chunks(num_pictures, 32):
        noise = torch.randn(latents[piece].shape, generator=generator)
        decoded = vae.decode((latents[piece] + LATENT_NOISE * noise).to(rank.device)).sample
        pieces.append(((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu())
    save_tensors(path, {"pixels": torch.cat(pieces)}, {})
    return torch.cat(pieces)
