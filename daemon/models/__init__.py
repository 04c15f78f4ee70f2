"""What a `ModelSpec` is on this machine: where its files are, what they hold, their hashes and sizes. Free of torch: nothing is loaded."""

from daemon.models.identity import (
    PARTS,
    check,
    chosen_device,
    chosen_dtype,
    cuda_is_there,
    estimated_bytes,
    identify,
    model_index,
    part_bytes,
    part_files,
    part_hashes,
    require_gpus,
    vae_folder,
    visible_gpus,
    working_bytes,
)
from daemon.models.sources import resolve

__all__ = [
    "PARTS",
    "check",
    "chosen_device",
    "chosen_dtype",
    "cuda_is_there",
    "estimated_bytes",
    "identify",
    "model_index",
    "part_bytes",
    "part_files",
    "part_hashes",
    "require_gpus",
    "resolve",
    "vae_folder",
    "visible_gpus",
    "working_bytes",
]
