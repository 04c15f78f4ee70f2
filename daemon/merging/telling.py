"""What is told about a merged adapter: the headers of its files, its record, its model card. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import msgspec

from daemon.adapters import card, headers
from daemon.adapters.headers import PeftSettings, modelspec_prediction_type, public_name
from daemon.adapters.placing import WEIGHTS_NAME
from daemon.merging.plan import MergePlan, Parent, decisive_settings
from daemon.protocol.merging_spec import MergeSpec

RECORD_NAME = "merging.json"


class MergeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`merging.json`: where a merged adapter comes from."""

    fingerprint: str
    adapter_sha256: str
    num_bytes: int
    num_parameters: int
    spec: MergeSpec
    parents: tuple[Parent, ...]
    ranks: dict[str, int]
    """By component."""
    base_sha256: str
    environment: dict[str, str]
    file_sha256s: dict[str, str]


def peft_settings(ranks: Mapping[str, int], targets: Mapping[str, list[str]]) -> PeftSettings:
    """The merged adapter as peft configures it: alpha is the rank, for scalings and weights are in the factors."""
    return {
        component: {"r": rank, "lora_alpha": float(rank), "target_modules": targets[component], "lora_dropout": 0.0}
        for component, rank in ranks.items()
    }


def origin(plan: MergePlan) -> dict[str, str]:
    """Where the weights come from, for headers: the parents by name, hash and weight, and how they were combined."""
    return {
        "fingerprint": plan.place.fingerprint,
        "base_sha256": plan.identity.base_sha256,
        "instance_prompt": plan.words,
        "parents": json.dumps([msgspec.to_builtins(parent) for parent in plan.parents], sort_keys=True),
        "settings": json.dumps(decisive_settings(plan.spec), sort_keys=True),
    }


def diffusers_header(plan: MergePlan, settings: PeftSettings) -> dict[str, str]:
    """Header of the file in diffusers' keys."""
    return headers.diffusers_header(settings, origin(plan))


def kohya_header(plan: MergePlan, settings: PeftSettings, tensors_sha256: str, prediction_type: str) -> dict[str, str]:
    """Header of the file in kohya's keys. The name is in it too."""
    rank = max(fields["r"] for fields in settings.values())
    sd_scripts = {
        "ss_output_name": plan.spec.output_name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_sd_model_name": public_name(plan.job.model.base),
        "ss_new_sd_model_hash": plan.identity.base_sha256,
    }
    modelspec = {
        "title": plan.spec.output_name,
        "trigger_phrase": plan.words,
        "prediction_type": modelspec_prediction_type(prediction_type),
        "merged_from": ", ".join(parent.name for parent in plan.parents),
    }
    return headers.kohya_header(settings, origin(plan), tensors_sha256, sd_scripts, modelspec)


def make_record(
    plan: MergePlan, files: Mapping[str, bytes], num_parameters: int, ranks: dict[str, int], environment: dict[str, str]
) -> MergeRecord:
    """The provenance of a merged adapter of these files."""
    sha256s = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    return MergeRecord(
        fingerprint=plan.place.fingerprint,
        adapter_sha256=sha256s[WEIGHTS_NAME],
        num_bytes=len(files[WEIGHTS_NAME]),
        num_parameters=num_parameters,
        spec=plan.spec,
        parents=plan.parents,
        ranks=ranks,
        base_sha256=plan.identity.base_sha256,
        environment=environment,
        file_sha256s=sha256s,
    )


def model_card(plan: MergePlan, record: MergeRecord) -> str:
    """Front matter, how to use it, its parents and how they were combined."""
    spec, base = plan.spec, plan.job.model.base
    ranks = ", ".join(f"{component} {rank}" for component, rank in record.ranks.items())
    summary = f"""# {spec.output_name}

A LoRA for {public_name(base)}, merged from {" and ".join(f"`{parent.name}`" for parent in plan.parents)} (`{spec.combination_type}`).
What was learned from bad images belongs in the **negative** prompt; the words of a subject or style in the prompt."""
    parents = [
        (
            f"`{parent.name}`",
            f"{parent.weight:g}",
            f"`{parent.instance_prompt}`" if parent.instance_prompt else "not told",
            f"`{parent.sha256}`",
        )
        for parent in plan.parents
    ]
    facts = [
        *((f"`{name}`", f"`{json.dumps(value)}`") for name, value in decisive_settings(spec).items()),
        ("rank", ranks),
        ("base model", f"{public_name(base)}, sha256 `{record.base_sha256}`"),
        ("parameters", f"{record.num_parameters:,}, float32"),
        ("fingerprint of the merge", f"`{record.fingerprint}`"),
    ]
    words = next((parent.instance_prompt for parent in plan.parents if parent.instance_prompt), spec.output_name)
    strength_clip = int(any(component != "unet" for component in record.ranks))
    return card.join(
        card.front_matter(base, plan.words, is_lora=True),
        summary,
        card.lora_use(spec.output_name, words, strength_clip=strength_clip),
        "## Parents\n\n" + card.table(("adapter", "weight", "words", "sha256"), parents),
        "## Merge\n\n" + card.table(("", ""), facts),
        card.files(record.file_sha256s, "`merging.json` holds all of this for programs."),
    )
