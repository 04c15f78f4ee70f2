"""Adapters of the tiny SDXL in a session folder, with weights of noise, and jobs that merge them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from adapting import MODULES, make_plan
from tiny_sdxl import TinyEngine, make_context

from daemon.engine.adapter_loading import take_off_all
from daemon.files import sha256_file
from daemon.protocol.merging_spec import MergeSpec, ParentAdapter
from daemon.protocol.specs import MergeJob, ModelSpec
from daemon.recipe import JobContext
from daemon.training.adapters.attach import attached
from daemon.training.adapters.formats import adapter_files

WEIGHTS = "pytorch_lora_weights.safetensors"
BOTH = (ParentAdapter(name="wrong"), ParentAdapter(name="subject", weight=0.7))


class Engine(TinyEngine):
    """Knows adapter files too, and takes its parts back clean, as the real one does."""

    @contextlib.contextmanager
    def borrow_training_parts(self, model: ModelSpec) -> Iterator[Any]:
        with super().borrow_training_parts(model) as parts:
            try:
                yield parts
            finally:
                for name in MODULES:
                    take_off_all(getattr(parts, name))

    def offer_adapter(self, path: Path) -> str:
        return sha256_file(path)


def save_parent(session_path: Path, parts: Any, name: str, seed: int, **changes: Any) -> Path:
    """An adapter of noise below `adapters/<name>`; returns its weight file."""
    plan = make_plan(session_path, output_name=name, instance_prompt=f"{name} words", **changes)
    folder = session_path / "adapters" / name
    folder.mkdir(parents=True)
    with attached(parts, plan.spec) as adapter:
        draw = torch.Generator().manual_seed(seed)
        weights = {key: 0.3 * torch.randn(weight.shape, generator=draw) for key, weight in adapter.weights().items()}
        for file, content in adapter_files(plan, adapter, weights, []).items():
            (folder / file).write_bytes(content)
    return folder / WEIGHTS


def merge_job(**changes: Any) -> MergeJob:
    spec = msgspec.structs.replace(MergeSpec(adapters=BOTH), **changes)
    return MergeJob(session="s", model=ModelSpec(base="toy"), merging=spec)


def context(session_path: Path, parts: Any, **options: Any) -> JobContext:
    return make_context(session_path, Engine(parts), **options)
