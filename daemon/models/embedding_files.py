"""Files of learned embeddings (textual inversion for SDXL) looked at without loading them. Free of torch."""

from __future__ import annotations

from pathlib import Path

from daemon.models.headers import read_header
from daemon.protocol.errors import NegError

EMBEDDING_FILE = "learned_embeds.safetensors"
"""The name diffusers gives it; in a session it lies at `adapters/<name>/`."""
CLIP_L, CLIP_G = "clip_l", "clip_g"
"""The vectors for SDXL's first and second text encoder, as diffusers, ComfyUI and AUTOMATIC1111 name them."""
PLACEHOLDER_KEY = "negtui.placeholder_token"
MAX_VECTORS = 75
"""More would not fit into one prompt."""


def check_embedding_file(path: Path) -> None:
    """Look at a file's header only; raises `NegError` where it is no embedding for SDXL's two text encoders."""
    if path.suffix != ".safetensors":
        raise NegError("invalid", f"{path} is no .safetensors file.", "Embeddings are read from safetensors only.")
    tensors = read_header(path).tensors
    shapes = {name: _as_rows(tensors[name].shape) for name in (CLIP_L, CLIP_G) if name in tensors}
    if len(shapes) < 2:
        raise NegError("incompatible", f"{path} holds no {CLIP_L} and {CLIP_G}.", "Give a textual inversion made for SDXL.")
    if any(len(shape) != 2 for shape in shapes.values()) or len({shape[0] for shape in shapes.values()}) > 1:
        raise NegError("incompatible", f"{path} holds vectors of the shapes {shapes[CLIP_L]} and {shapes[CLIP_G]}.")
    if not 1 <= shapes[CLIP_L][0] <= MAX_VECTORS:
        raise NegError("incompatible", f"{path} holds {shapes[CLIP_L][0]} vectors; 1 to {MAX_VECTORS} are allowed.")


def placeholder_token(path: Path) -> str | None:
    """The token an embedding was trained as, or None where its file does not tell."""
    return read_header(path).metadata.get(PLACEHOLDER_KEY)


def _as_rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *shape) if len(shape) == 1 else shape
