"""From a plan to files: the parents put on the lent base, so that they surely fit it, read off it, merged, and spelt for the world."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from daemon.adapters import tensors
from daemon.adapters.formats import tensors_sha256, to_diffusers, to_kohya
from daemon.adapters.placing import WEIGHTS_NAME
from daemon.engine.adapter_loading import put_on
from daemon.engine.adapter_reading import component_prefix, read_adapter
from daemon.merging.layers import Factors, carried, merge_layers, merged_rank, parent_name
from daemon.merging.plan import MergePlan
from daemon.merging.telling import MergeRecord, diffusers_header, kohya_header, make_record, peft_settings
from daemon.models.adapter_keys import COMPONENTS, component_of
from daemon.protocol.errors import NegError
from daemon.protocol.events import StepProgress
from daemon.recipe import JobContext

Layers = dict[str, dict[int, Factors]]


def combine(plan: MergePlan, context: JobContext) -> tuple[dict[str, bytes], MergeRecord]:
    """Name -> content of the merged adapter's weight files, and its record. Tells a step a layer; raises `Interrupted` between layers."""
    with context.engine.borrow_training_parts(plan.job.model) as parts:
        with context.phase("load"):
            found = _read(plan, parts)
        layers_per_block, prediction_type = parts.unet.config.layers_per_block, parts.noise_scheduler.config.prediction_type
    ranks = {component: merged_rank(plan.spec, layers) for component, layers in found.items()}
    with context.phase("merge"):
        weights = _merge(plan, found, context)
    # Ends of names, which fit transformers' encoders whether they have a `text_model` or not.
    targets = {component: sorted(layer.removeprefix("text_model.") for layer in layers) for component, layers in found.items()}
    settings = peft_settings(ranks, targets)
    kohya: dict[str, Tensor] = {}
    for component, rank in ranks.items():
        kohya |= to_kohya(
            {name: weight for name, weight in weights.items() if component_of(name) == component}, rank, rank, layers_per_block
        )
    files = {
        WEIGHTS_NAME: tensors.to_bytes(to_diffusers(weights), diffusers_header(plan, settings)),
        f"{plan.spec.output_name}_kohya.safetensors": tensors.to_bytes(
            kohya, kohya_header(plan, settings, tensors_sha256(kohya), prediction_type)
        ),
    }
    environment = {name: importlib.metadata.version(name) for name in ("torch", "peft")}
    return files, make_record(plan, files, sum(weight.numel() for weight in weights.values()), ranks, environment)


def _read(plan: MergePlan, parts: Any) -> dict[str, Layers]:
    """Component -> the LoRAs of its layers by parent, of the components that any parent changes."""
    modules: dict[str, Any] = {component: getattr(parts, component) for component in COMPONENTS}
    for place, path in enumerate(plan.parent_paths):
        for component, adapter in read_adapter(path, modules, parts.unet.config.layers_per_block).items():
            put_on(path, modules[component], adapter, parent_name(place))
    every = {component: _layers(component, module, len(plan.parents)) for component, module in modules.items()}
    return {component: layers for component, layers in every.items() if layers}


def _layers(component: str, module: Any, num_parents: int) -> Layers:
    """Layers as files name them: the text encoders' with `text_model.` in front."""
    inner = component_prefix(component, module).removeprefix(f"{component}.")
    return {f"{inner}{layer}": parents for layer, parents in carried(module, num_parents).items()}


def _merge(plan: MergePlan, found: Mapping[str, Layers], context: JobContext) -> dict[str, Tensor]:
    """Component, layer and factor -> weight, as a training names them."""
    num_layers, done = sum(len(layers) for layers in found.values()), 0

    def tell() -> None:
        nonlocal done
        done += 1
        context.tell(StepProgress(job_id=context.job_id, phase="merge", step=done, num_steps=num_layers, label=plan.spec.output_name))
        context.check()

    weights = {}
    for component, layers in found.items():
        for layer, (A, B) in merge_layers(plan.spec, layers, tell).items():
            for side, weight in (("A", A), ("B", B)):
                if not bool(weight.isfinite().all()):
                    raise NegError("corrupt", f"The merge of {component}.{layer} is not finite.", "Use smaller weights, or cat.")
                weights[f"{component}.{layer}.lora_{side}.weight"] = weight
    return dict(sorted(weights.items()))
