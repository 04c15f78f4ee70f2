"""Single-file checkpoints: told apart by their tensors' names, and completed by the configuration and vocabulary they leave out."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from daemon.files import whole_directory, write_atomic
from daemon.models import published
from daemon.models.headers import Header
from daemon.models.sources import Role, cached_snapshot, resolve
from daemon.protocol.errors import NegError

PREFIXES: dict[str, dict[str, tuple[str, ...]]] = {
    "base": {
        "unet": ("model.diffusion_model.",),
        "vae": ("first_stage_model.",),
        "text_encoder": ("conditioner.embedders.0.transformer.",),
        "text_encoder_2": ("conditioner.embedders.1.model.",),
    },
    "refiner": {
        "unet": ("model.diffusion_model.",),
        "vae": ("first_stage_model.",),
        "text_encoder_2": ("conditioner.embedders.0.model.",),
    },
    "vae": {"vae": ("first_stage_model.", "encoder.", "decoder.", "quant_conv.", "post_quant_conv.")},
}
"""Where the names of each part's tensors begin, by role."""


def role_of(header: Header) -> str:
    """What a checkpoint is: `base`, `refiner`, `vae`, or words for anything else."""
    names = header.tensors

    def any_begins(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    has_unet = any_begins("model.diffusion_model.")
    if has_unet and any_begins("conditioner.embedders.1.model."):
        return "base"
    if has_unet and any_begins("conditioner.embedders.0.model."):
        return "refiner"
    if any_begins("cond_stage_model.model."):
        return "Stable Diffusion 2"
    if any_begins("cond_stage_model."):
        return "Stable Diffusion 1"
    if any_begins("model.diffusion_model.joint_blocks.", "joint_blocks."):
        return "Stable Diffusion 3"
    if any_begins("model.diffusion_model.double_blocks.", "double_blocks."):
        return "Flux"
    if any(marker in name for name in names for marker in ("lora_", ".lora.")):
        return "a LoRA"
    if has_unet:
        return "a UNet without its text encoders"
    if any_begins("first_stage_model.encoder.", "encoder.conv_in."):
        return "vae"
    return "something unknown"


def config_folder(path: Path, role: Role, cache_path: Path, allow_download: bool = False) -> Path:
    """A folder of configurations and tokenizers for a checkpoint that has none, for diffusers' `from_single_file(config=...)`.

    In order: a folder beside the file with the file's name; SDXL's repository in the hub cache; the published values written below
    `cache_path` with a vocabulary from the hub cache. Raises `NegError` `not_found` that says what is missing and how to get it.
    """
    beside = path.with_suffix("")
    if (beside / "model_index.json").is_file() or (role == "vae" and (beside / "vae" / "config.json").is_file()):
        return beside
    if role == "vae":
        return _write(cache_path / "configs" / "vae", {"vae/config.json": published.VAE}, None)
    snapshot = cached_snapshot(published.HUB_IDS[role])
    if snapshot is not None and all((snapshot / name).is_file() for name in _files(role)) and _vocabulary(snapshot / "tokenizer_2"):
        return snapshot
    vocabulary = _find_vocabulary()
    if vocabulary is None and allow_download:
        vocabulary = _vocabulary(resolve(published.TOKENIZER_HUB_IDS[0], allow_download=True).path)
    if vocabulary is None:
        raise NegError(
            "not_found",
            f"{path.name} holds weights only; its tokenizer (CLIP's vocab.json and merges.txt) is not on this machine.",
            f"Run `hf download {published.TOKENIZER_HUB_IDS[0]} vocab.json merges.txt`, or set allow_download = true in [model], "
            f"or put a diffusers configuration folder at {beside}.",
        )
    return _write(cache_path / "configs" / role, _files(role), vocabulary)


def _files(role: Role) -> dict[str, dict[str, object]]:
    return published.BASE_FILES if role == "base" else published.REFINER_FILES


def _vocabulary(folder: Path) -> tuple[Path, Path] | None:
    files = folder / "vocab.json", folder / "merges.txt"
    return files if all(file.is_file() for file in files) else None


def _find_vocabulary() -> tuple[Path, Path] | None:
    for hub_id in (*published.HUB_IDS.values(), *published.TOKENIZER_HUB_IDS):
        snapshot = cached_snapshot(hub_id)
        for folder in (snapshot, snapshot / "tokenizer", snapshot / "tokenizer_2") if snapshot else ():
            found = _vocabulary(folder)
            if found:
                return found
    return None


def _write(parent: Path, files: dict[str, dict[str, object]], vocabulary: tuple[Path, Path] | None) -> Path:
    """The files as a folder below `parent` named by their contents; written once, whole or not at all."""
    contents = {name: json.dumps(table, indent=2).encode() for name, table in files.items()}
    for name in [name for name in files if name.endswith("tokenizer_config.json")]:
        for source in vocabulary or ():
            contents[f"{name.split('/')[0]}/{source.name}"] = source.read_bytes()
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    final = parent.with_name(f"{parent.name}-{digest.hexdigest()[:16]}")
    if final.is_dir():
        return final
    # Another process may write the same folder meanwhile.
    with contextlib.suppress(FileExistsError), whole_directory(final) as filling:
        for name, content in contents.items():
            write_atomic(filling / name, content, durable=False)
    return final
