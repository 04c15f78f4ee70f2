"""Where a model lies: the toy, a folder, a file, or a hub id in the local cache. Free of torch; loads and hashes nothing."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from daemon.protocol.errors import NegError
from daemon.toy import BASE_PATH, REFINER_PATH

Kind = Literal["folder", "file"]
Role = Literal["base", "refiner", "vae"]
Dtype = Literal["float32", "float16", "bfloat16"]

TOY_PATHS = {"toy": BASE_PATH, "toy-refiner": REFINER_PATH}
MAX_JSON_BYTES = 16 * 2**20
PICKLED_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""What a model's repository on the hub can be called."""


@dataclass(frozen=True)
class ModelSource:
    """A place that exists: a diffusers folder or a safetensors file, and what the person called it."""

    kind: Kind
    path: Path
    reference: str


@dataclass(frozen=True)
class PartFiles:
    """The files of one part. `prefixes`: in a single-file checkpoint, where its tensors' names begin; empty: all of them."""

    component: str
    weights: tuple[Path, ...]
    configs: tuple[Path, ...]
    prefixes: tuple[str, ...] = ()


def resolve(reference: str, allow_download: bool = False) -> ModelSource:
    """A `ModelSpec` reference -> the place on this machine; raises `NegError` in words. Hub ids: cache only, unless allowed."""
    if reference in TOY_PATHS:
        path = TOY_PATHS[reference]
        if not (path / "model_index.json").is_file():
            raise NegError("not_found", f"The embedded toy model is not in {path}.", "Install negtui again, with its weights.")
        return ModelSource("folder", path, reference)
    path = Path(reference).expanduser()
    if path.suffix.lower() in PICKLED_SUFFIXES:
        raise NegError(
            "invalid",
            f"{path} is a pickle, which may run any program when it is read.",
            "Use its .safetensors twin, or convert it elsewhere.",
        )
    if path.is_dir():
        return ModelSource("folder", path.resolve(), reference)
    if path.is_file():
        if path.suffix.lower() != ".safetensors":
            raise NegError("invalid", f"{path} is no .safetensors file.", "Give a .safetensors checkpoint, a diffusers folder or a hub id.")
        return ModelSource("file", path.resolve(), reference)
    if HUB_ID.fullmatch(reference):
        return ModelSource("folder", _hub_snapshot(reference, allow_download), reference)
    raise NegError(
        "not_found",
        f"There is no model at {reference}.",
        "Give `toy`, a diffusers folder, a .safetensors file, or a hub id such as stabilityai/stable-diffusion-xl-base-1.0.",
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table of bounded size; raises `NegError` `not_found` or `corrupt`."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise NegError("corrupt", f"{path} is too large for a configuration.")
        table = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NegError("not_found", f"{path} is missing.", "Download or export the model again.") from None
    except (ValueError, RecursionError) as error:
        raise NegError("corrupt", f"{path} cannot be read: {error}."[:500]) from None
    if not isinstance(table, dict):
        raise NegError("corrupt", f"{path} is no table.")
    return table


def weight_files(folder: Path, dtype: Dtype) -> tuple[Path, ...]:
    """The safetensors of one part's folder, shards included: half-precision files first where `dtype` is half, whole ones otherwise.

    Raises `NegError` where there is none.
    """
    variants = (".fp16", "") if dtype != "float32" else ("", ".fp16")
    for variant in variants:
        for stem in ("diffusion_pytorch_model", "model"):
            single = folder / f"{stem}{variant}.safetensors"
            if single.is_file():
                return (single,)
            index = folder / f"{stem}.safetensors.index{variant}.json"
            if index.is_file():
                return _shards(index)
    pickled = any(path.suffix in PICKLED_SUFFIXES for path in folder.glob("*")) if folder.is_dir() else False
    what = f"{folder} holds only pickled weights, which are refused." if pickled else f"{folder} holds no .safetensors weights."
    raise NegError("not_found", what, "Download the model's safetensors files.")


def hub_cache() -> Path:
    """The local Hugging Face cache, by that library's own variables."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub").expanduser()


def cached_snapshot(hub_id: str) -> Path | None:
    """The newest snapshot of a hub repository that lies in the local cache, or None."""
    repository = hub_cache() / f"models--{hub_id.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if reference.is_file():
        snapshot = repository / "snapshots" / reference.read_text().strip()
        if snapshot.is_dir():
            return snapshot
    snapshots = [path for path in (repository / "snapshots").glob("*") if path.is_dir()]
    return max(snapshots, key=lambda path: path.stat().st_mtime_ns, default=None)


def _shards(index: Path) -> tuple[Path, ...]:
    names = set(read_json(index).get("weight_map", {}).values())
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise NegError("corrupt", f"{index} names a file outside its folder.")
        if not (index.parent / name).is_file():
            raise NegError("not_found", f"{index.parent / name} is missing.", "Download the model again.")
    return tuple(index.parent / name for name in sorted(names))


def _hub_snapshot(hub_id: str, allow_download: bool) -> Path:
    if allow_download:
        return _download(hub_id)
    snapshot = cached_snapshot(hub_id)
    if snapshot is None:
        raise NegError(
            "not_found",
            f"{hub_id} is not in the local cache {hub_cache()}.",
            "Set allow_download = true in [model], fetch it with `hf download`, or give a folder. If a path was meant: it does not exist.",
        )
    return snapshot


def _download(hub_id: str) -> Path:
    try:
        import huggingface_hub
    except ImportError:
        raise NegError("not_found", "Downloads need the package huggingface_hub.", "Install negtui[engine].") from None
    try:
        names = huggingface_hub.list_repo_files(hub_id)
        path = huggingface_hub.snapshot_download(hub_id, allow_patterns=wanted_files(names), cache_dir=hub_cache())
    except Exception as error:
        snapshot = cached_snapshot(hub_id)
        if snapshot is not None:
            return snapshot
        raise NegError(
            "not_found", f"{hub_id} could not be downloaded: {error}"[:500], "Check the name and the connection.", retryable=True
        ) from error
    return Path(path)


def wanted_files(names: list[str]) -> list[str]:
    """Of a hub repository's files, those a load needs: configurations, tokenizers, and one precision of the weights (half if there)."""
    texts = [
        name for name in names if name.count("/") <= 1 and name.endswith((".json", ".txt")) and "onnx" not in name and "flax" not in name
    ]
    weights = [
        name
        for name in names
        if name.count("/") <= 1 and name.endswith(".safetensors") and not name.startswith(("image_encoder/", "sd_xl"))
    ]
    folders = {name.rpartition("/")[0] for name in weights}
    chosen = []
    for folder in sorted(folders):
        inside = [name for name in weights if name.rpartition("/")[0] == folder]
        half = [name for name in inside if ".fp16" in name]
        chosen += half or inside
    if any("/" in name for name in chosen):
        chosen = [name for name in chosen if "/" in name]
    return sorted({*texts, *chosen})
