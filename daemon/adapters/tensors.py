"""Tensors in safetensors files whose bytes depend on nothing but their content."""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A whole safetensors file. The library writes metadata in an order that changes from process to process: it is sorted here."""
    plain = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    length = int.from_bytes(plain[:8], "little")
    entries = json.loads(plain[8 : 8 + length])
    if metadata:
        entries = {"__metadata__": dict(sorted(metadata.items())), **entries}
    header = json.dumps(entries, separators=(",", ":")).encode()
    # Tensors begin at a multiple of 8 bytes; the format pads its header with spaces.
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + plain[8 + length :]


def from_bytes(content: bytes) -> dict[str, Tensor]:
    """The tensors of such a file; raises `safetensors.SafetensorError` where it is not one."""
    return load(content)
