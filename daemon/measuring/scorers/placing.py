"""Where a scorer's network runs, and what is said when its files cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from torch import nn

from daemon.engine.memory import prepare_torch
from daemon.protocol.errors import NegError

ROOM = 1.5
"""A network goes to the GPU where so many times its weights are free beside what lies there."""
Net = TypeVar("Net", bound=nn.Module)


def place(net: Net) -> Net:
    """In eval mode without gradients, on the GPU where there is room for it beside the models that paint, else on the CPU."""
    net.eval().requires_grad_(False)
    needed = ROOM * sum(parameter.nbytes for parameter in net.parameters())
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > needed:
        net.to("cuda")
    return net


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Files come from strangers: what goes wrong while they are read is `NegError` `corrupt`, with the folder."""
    # Where every picture was there already, nothing was painted, and torch is as it comes.
    prepare_torch()
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        said = " ".join(str(error).split())[:400]
        message = f"The scorer's files in {folder} cannot be read: {type(error).__name__}: {said}"
        raise NegError("corrupt", message[:600], "Get them again; docs/measures.md says which are needed.") from error
