"""What a `ModelSpec` is on this machine: found, checked, hashed and weighed without loading it. Free of torch."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from daemon.engine.base import ModelIdentity
from daemon.files import sha256_file, write_atomic
from daemon.models.headers import read_header
from daemon.models.single_file import PREFIXES, config_folder, role_of
from daemon.models.sources import Dtype, ModelSource, PartFiles, Role, read_json, resolve, weight_files
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ModelSpec

PIPELINES: dict[str, tuple[str, ...]] = {
    "base": ("StableDiffusionXLPipeline",),
    "refiner": ("StableDiffusionXLImg2ImgPipeline",),
}
PARTS: dict[str, tuple[str, ...]] = {
    "base": ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
    "refiner": ("unet", "vae", "text_encoder_2", "tokenizer_2", "scheduler"),
    "vae": ("vae",),
}
CONFIG_NAMES = {"scheduler": "scheduler_config.json"}
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "tokenizer_config.json")
SETTINGS = ("force_zeros_for_empty_prompt", "requires_aesthetics_score")
"""Entries of model_index.json that change pictures."""

_VOLATILE = {"transformers_version", "is_local", "local_files_only", "backend", "name_or_path"}
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def identify(model: ModelSpec, cache_path: Path) -> ModelIdentity:
    """Hashes of all files that decide pictures, read once per file and remembered in `cache_path/hashes.json`; raises `NegError`."""
    dtype = chosen_dtype(model)

    def digest(reference: str | None, role: Role) -> str | None:
        if reference is None:
            return None
        source = resolve(reference, model.allow_download)
        hashes = part_hashes(source, role, dtype, cache_path, model.allow_download)
        settings = {} if role == "vae" else {key: value for key, value in model_index(source, role, cache_path).items() if key in SETTINGS}
        return _sha256_json({"parts": hashes, "settings": settings})

    base = digest(model.base, "base")
    assert base is not None
    return ModelIdentity(
        base_sha256=base, refiner_sha256=digest(model.refiner, "refiner"), vae_sha256=digest(model.vae, "vae"), torch_dtype=dtype
    )


def model_index(source: ModelSource, role: Role, cache_path: Path) -> dict[str, Any]:
    """model_index.json of a base or refiner."""
    folder = config_folder(source.path, role, cache_path) if source.kind == "file" else source.path
    return read_json(folder / "model_index.json")


def part_hashes(source: ModelSource, role: Role, dtype: Dtype, cache_path: Path, allow_download: bool = False) -> dict[str, str]:
    """Component -> hash of its weights and configuration. Equal hashes mean equal parts, so that they can be shared."""
    remembered = _Remembered(cache_path / "hashes.json")
    result = {}
    for part in part_files(source, role, dtype, cache_path, allow_download):
        weights = [remembered.get(path, part.prefixes) for path in part.weights]
        result[part.component] = _sha256_json(
            {"weights": weights, "configs": [_config_hash(path, part.component) for path in part.configs]}
        )
    remembered.save()
    return result


def remembered_sha256s(paths: Iterable[Path], cache_path: Path) -> list[str]:
    """sha256 of whole files, read once per file and remembered in `cache_path/hashes.json`."""
    remembered = _Remembered(cache_path / "hashes.json")
    found = [remembered.get(path, ()) for path in paths]
    remembered.save()
    return found


def part_files(source: ModelSource, role: Role, dtype: Dtype, cache_path: Path, allow_download: bool = False) -> list[PartFiles]:
    """The files of every part of a model; raises `NegError` for what is missing."""
    if source.kind == "file":
        configs = config_folder(source.path, role, cache_path, allow_download)
        prefixes = PREFIXES[role]
        return [
            PartFiles(name, (source.path,) if name in prefixes else (), _configs(configs, name), prefixes.get(name, ()))
            for name in PARTS[role]
        ]
    if role == "vae":
        folder = vae_folder(source.path)
        return [PartFiles("vae", weight_files(folder, dtype), (folder / "config.json",))]
    return [
        PartFiles(name, () if _has_no_weights(name) else weight_files(source.path / name, dtype), _configs(source.path, name))
        for name in PARTS[role]
    ]


def vae_folder(path: Path) -> Path:
    """Where the VAE lies in a folder given as `ModelSpec.vae`: there, or in its `vae/`."""
    return path if (path / "config.json").is_file() else path / "vae"


def check(model: ModelSpec) -> list[str]:
    """Look at every file's header and configuration. Returns warnings; raises `NegError` for what cannot work."""
    warnings = []
    dtype = chosen_dtype(model)
    references: list[tuple[str | None, Role]] = [(model.base, "base"), (model.refiner, "refiner"), (model.vae, "vae")]
    for reference, role in references:
        if reference is not None:
            warnings += _check_source(resolve(reference, model.allow_download), role, dtype)
    if model.refiner is None:
        warnings.append("There is no refiner: the base paints to the end, so denoising_split is not used.")
    if chosen_device(model) == "cpu" and dtype != "float32":
        warnings.append(f"{dtype} on a CPU is very slow; float32 is faster.")
    return warnings


def estimated_bytes(model: ModelSpec, width: int = 1024, height: int = 1024) -> int:
    """Memory that painting needs with everything resident: weights in the chosen precision, and room for one picture's activations.

    Text encoder 2 and VAE count once where base and refiner have them equally large: in every published pair they are the same.
    """
    dtype = chosen_dtype(model)
    sizes: dict[tuple[str, ...], int] = {}
    references: list[tuple[str | None, Role]] = [(model.base, "base"), (model.refiner, "refiner")]
    for reference, role in references:
        if reference is not None:
            for name, num_bytes in part_bytes(resolve(reference, model.allow_download), role, dtype).items():
                sizes[(role, name) if name == "unet" else (name, str(num_bytes))] = num_bytes
    return sum(sizes.values()) + working_bytes(width, height, dtype)


def part_bytes(source: ModelSource, role: Role, dtype: Dtype) -> dict[str, int]:
    """Component -> bytes of its weights in `dtype`, from the files' headers alone."""
    sizes = {}
    for name, paths, prefixes in _weights_only(source, role, dtype):
        tensors = [item for path in paths for item in read_header(path).tensors.items()]
        sizes[name] = _BYTES[dtype] * sum(tensor.num_parameters for key, tensor in tensors if not prefixes or key.startswith(prefixes))
    return sizes


def working_bytes(width: int, height: int, dtype: Dtype) -> int:
    """A first guess at one picture's activations; the engine learns the true figure. Dominated by the VAE's last layers."""
    return int(width * height * 1024 * (4 if dtype == "float32" else 3)) + 64 * 2**20


def chosen_device(model: ModelSpec) -> Literal["cuda", "cpu"]:
    """The device `auto` stands for here; raises `NegError` where a GPU is asked for and there is none."""
    if model.device == "cpu":
        return "cpu"
    if cuda_is_there():
        return "cuda"
    if model.device == "cuda":
        raise NegError("invalid", 'device = "cuda" is asked for, and there is no GPU that this torch can use.', 'Set device = "auto".')
    return "cpu"


def chosen_dtype(model: ModelSpec) -> Dtype:
    """The precision `auto` stands for here: float16 on a GPU, float32 on a CPU."""
    if model.torch_dtype != "auto":
        return model.torch_dtype
    return "float16" if chosen_device(model) == "cuda" else "float32"


@functools.cache
def cuda_is_there() -> bool:
    """Whether torch, unseen and not imported, is built for CUDA and the driver shows a GPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    version = Path(found.origin).parent / "version.py"
    if not version.is_file() or not re.search(r"^cuda\b[^=]*=\s*['\"]", version.read_text(), re.MULTILINE):
        return False
    import pynvml

    try:
        pynvml.nvmlInit()
        return bool(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return False


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that torch may use, as `CUDA_VISIBLE_DEVICES` names them, its own order; none where it may use none."""
    if not cuda_is_there():
        return ()
    import pynvml

    count = int(pynvml.nvmlDeviceGetCount())
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(str(number) for number in range(count))
    # CUDA reads no further than the first name that is no device.
    names = (name.strip() for name in named.split(","))
    return tuple(itertools.takewhile(lambda name: int(name) < count if name.isdecimal() else name[:1].isalpha(), names))


def require_gpus(model: ModelSpec, num_processes: int) -> None:
    """Raise `NegError` `invalid` where there are fewer GPUs than processes; the CPU is shared by as many as one likes."""
    if num_processes == 1 or chosen_device(model) == "cpu":
        return
    num_gpus = len(visible_gpus())
    if num_gpus < num_processes:
        message = (
            f"training.num_processes is {num_processes}, and the daemon sees {num_gpus} GPU{'s' * (num_gpus != 1)}; each process takes one."
        )
        raise NegError("invalid", message, "Lower it, or start the daemon with more of them in CUDA_VISIBLE_DEVICES.")


class _Remembered:
    """Content hashes of weight files by path, size and modification time; a lost or broken memory only costs time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        try:
            table = json.loads(path.read_bytes())
            self._table: dict[str, Any] = table if isinstance(table, dict) else {}
        except (OSError, ValueError, RecursionError):
            self._table = {}

    def get(self, path: Path, prefixes: tuple[str, ...]) -> str:
        status = path.stat()
        key = "#".join((str(path.resolve()), *prefixes))
        entry = self._table.get(key)
        if isinstance(entry, list) and entry[:2] == [status.st_size, status.st_mtime_ns] and isinstance(entry[-1], str):
            return entry[-1]
        digest = _sha256_tensors(path, prefixes) if prefixes else sha256_file(path)
        self._table[key] = [status.st_size, status.st_mtime_ns, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        if self._changed:
            write_atomic(self._path, json.dumps(self._table, indent=1).encode())
            self._changed = False


def _sha256_tensors(path: Path, prefixes: tuple[str, ...]) -> str:
    """Hash of some tensors of a file by what follows their prefix, so that base and refiner checkpoints can share a part.

    Raises `NegError` `corrupt` where it is cut meanwhile.
    """
    digest = hashlib.sha256()
    chosen = {}
    for name, tensor in read_header(path).tensors.items():
        for prefix in prefixes:
            if name.startswith(prefix):
                chosen[name.removeprefix(prefix) if prefix.count(".") > 1 or prefix == "first_stage_model." else name] = tensor
    with path.open("rb") as file:
        for name, tensor in sorted(chosen.items()):
            digest.update(f"{name}\0{tensor.dtype}\0{tensor.shape}\0".encode())
            file.seek(tensor.start)
            left = tensor.end - tensor.start
            while left:
                block = file.read(min(left, 2**22))
                if not block:
                    raise NegError("corrupt", f"{path} became shorter while it was read.", "Try again when nothing writes to it.")
                digest.update(block)
                left -= len(block)
    return digest.hexdigest()


def _check_source(source: ModelSource, role: Role, dtype: Dtype) -> list[str]:
    if source.kind == "file":
        found = role_of(read_header(source.path))
        if found != role:
            raise NegError("incompatible", f"{source.reference} is {_spoken(found)}, not {_spoken(role)}.", _hint_for(role, found))
        return []
    if role == "vae":
        config = read_json(vae_folder(source.path) / "config.json")
        if config.get("_class_name") != "AutoencoderKL" or config.get("latent_channels") != 4:
            raise NegError("incompatible", f"{source.reference} is no VAE of SDXL's kind.", "Use e.g. madebyollin/sdxl-vae-fp16-fix.")
    else:
        _check_pipeline(source, role)
    for _, paths, _ in _weights_only(source, role, dtype):
        for path in paths:
            read_header(path)
    if dtype == "float16" and role == "base" and read_json(source.path / "vae" / "config.json").get("force_upcast", True):
        return ['This VAE overflows in float16, so it runs in float32: slower, not wrong. vae = "madebyollin/sdxl-vae-fp16-fix" avoids it.']
    return []


def _check_pipeline(source: ModelSource, role: Role) -> None:
    """A diffusers folder: the right pipeline, every part there, a UNet with SDXL's conditioning of the right kind."""
    if not (source.path / "model_index.json").is_file():
        raise NegError(
            "not_found",
            f"{source.reference} has no model_index.json.",
            "Give the folder of a whole diffusers model, or a .safetensors file.",
        )
    index = read_json(source.path / "model_index.json")
    name = index.get("_class_name")
    if name not in PIPELINES[role]:
        other = next((found for found, names in PIPELINES.items() if name in names), None)
        found = _spoken(other) if other else f"made for {name}"
        raise NegError("incompatible", f"{source.reference} is {found}, not {_spoken(role)}.", _hint_for(role, other or str(name)))
    for part in PARTS[role]:
        folder = source.path / part
        if not folder.is_dir() or (part == "scheduler" and not _configs(source.path, part)):
            raise NegError("not_found", f"{source.reference} lacks its part {part!r}.", "Download the model again.")
    unet = read_json(source.path / "unet" / "config.json")
    if unet.get("addition_embed_type") != "text_time":
        raise NegError("incompatible", f"The UNet of {source.reference} has no text_time conditioning: it is not SDXL's.")
    width = read_json(source.path / "text_encoder_2" / "config.json").get("hidden_size", 0)
    if role == "base":
        width += read_json(source.path / "text_encoder" / "config.json").get("hidden_size", 0)
    if unet.get("cross_attention_dim") != width:
        raise NegError(
            "incompatible", f"UNet and text encoders of {source.reference} do not fit: {unet.get('cross_attention_dim')} and {width}."
        )


def _spoken(role: str) -> str:
    return {"base": "an SDXL base", "refiner": "an SDXL refiner", "vae": "a VAE", "a LoRA": "a LoRA (an adapter)"}.get(role, role)


def _hint_for(role: Role, found: str) -> str:
    if {role, found} == {"base", "refiner"}:
        return "Are base and refiner swapped?"
    return {
        "base": "Give an SDXL base checkpoint.",
        "refiner": "Give SDXL's refiner, or leave refiner out.",
        "vae": "Give a VAE, or leave vae out.",
    }[role]


def _weights_only(source: ModelSource, role: Role | str, dtype: Dtype) -> list[tuple[str, tuple[Path, ...], tuple[str, ...]]]:
    """(component, weight files, prefixes) without needing a single file's configuration."""
    if source.kind == "file":
        return [(name, (source.path,), prefixes) for name, prefixes in PREFIXES[role].items()]
    if role == "vae":
        return [("vae", weight_files(vae_folder(source.path), dtype), ())]
    return [(name, weight_files(source.path / name, dtype), ()) for name in PARTS[role] if not _has_no_weights(name)]


def _has_no_weights(component: str) -> bool:
    return component.startswith(("tokenizer", "scheduler"))


def _configs(folder: Path, component: str) -> tuple[Path, ...]:
    names = TOKENIZER_FILES if component.startswith("tokenizer") else (CONFIG_NAMES.get(component, "config.json"),)
    return tuple(folder / component / name for name in names if (folder / component / name).is_file())


def _config_hash(path: Path, component: str) -> str:
    if path.suffix != ".json":
        return sha256_file(path)
    table = {
        key: value for key, value in read_json(path).items() if key not in _VOLATILE and (key == "_class_name" or not key.startswith("_"))
    }
    return _sha256_json({"name": path.name, "component": component, "table": table})


def _sha256_json(table: Any) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
