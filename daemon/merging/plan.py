"""What a merge is before anything is computed: its parents, its fingerprint, its place in the session. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.adapters.placing import WEIGHTS_NAME, Place
from daemon.engine.base import ModelIdentity
from daemon.models.adapter_files import adapter_kind
from daemon.models.embedding_files import EMBEDDING_FILE
from daemon.models.headers import read_header
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import MergeSpec, ParentAdapter, prunes, require_sound_merge
from daemon.protocol.specs import MergeJob
from daemon.recipe import JobContext

RECIPE_VERSION = 1
"""Raised by every change that gives other weights for the same parents."""


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter that goes into a merge, as its file tells it."""

    name: str
    weight: float
    sha256: str
    instance_prompt: str = ""
    """The words it was trained under, where its file tells."""


@dataclass(frozen=True)
class MergePlan:
    """One merge. Equal fingerprints mean equal weights (same torch and peft)."""

    job: MergeJob
    parents: tuple[Parent, ...]
    parent_paths: tuple[Path, ...]
    identity: ModelIdentity
    place: Place

    @property
    def spec(self) -> MergeSpec:
        return self.job.merging

    @property
    def words(self) -> str:
        """What calls up what the parents learned, each once."""
        return ", ".join(dict.fromkeys(parent.instance_prompt for parent in self.parents if parent.instance_prompt))


def make_plan(job: MergeJob, context: JobContext) -> MergePlan:
    """Look at the parents' files and identify the model, without loading anything.

    Raises `NegError`: wishes that contradict each other, no such adapter, an adapter of a kind that peft does not merge.
    """
    spec = job.merging
    require_sound_merge(spec)
    paths = tuple(_find(context.session_path, parent) for parent in spec.adapters)
    parents = tuple(_parent(parent, path, context.engine.offer_adapter(path)) for parent, path in zip(spec.adapters, paths, strict=True))
    identity = context.engine.identify(job.model)
    place = Place(context.job_id, job.session, context.session_path, spec.output_name, fingerprint(spec, parents, identity))
    return MergePlan(job, parents, paths, identity, place)


def decisive_settings(spec: MergeSpec) -> dict[str, object]:
    """The settings that decide the weights beside the parents: only those that the combination reads."""
    kind = spec.combination_type
    found: dict[str, object] = {"combination_type": kind}
    if prunes(spec):
        found["density"] = spec.density
    if "ties" in kind:
        found["majority_sign_method"] = spec.majority_sign_method
    if kind.startswith("dare"):
        found["seed"] = spec.seed
    return found | ({"svd_rank": spec.svd_rank} if spec.svd_rank is not None else {})


def fingerprint(spec: MergeSpec, parents: tuple[Parent, ...], identity: ModelIdentity) -> str:
    """Hash of all that decides the weights and what is told of them."""
    asked = [(parent.sha256, parent.weight) for parent in parents]
    return canonical_sha256(
        {"recipe": f"merge-{RECIPE_VERSION}", "settings": decisive_settings(spec), "parents": asked, "base": identity.base_sha256}
    )


def _find(session_path: Path, parent: ParentAdapter) -> Path:
    folder = session_path / "adapters" / parent.name
    path = folder / WEIGHTS_NAME
    if path.is_file():
        return path
    if (folder / EMBEDDING_FILE).is_file():
        raise NegError("incompatible", f"{parent.name!r} is a learned embedding: it has no weights to merge.", "Use it in an arm beside.")
    known = sorted(one.parent.name for one in (session_path / "adapters").glob(f"*/{WEIGHTS_NAME}"))
    there = f"there are {', '.join(known)}" if known else "it has none yet"
    raise NegError("not_found", f"The session has no adapter {parent.name!r} to merge; {there}.", "Train it first, or name another.")


def _parent(asked: ParentAdapter, path: Path, sha256: str) -> Parent:
    header = read_header(path)
    kind = adapter_kind(header.tensors)
    if kind != "lora" or any("magnitude" in name or name.endswith("dora_scale") for name in header.tensors):
        told = {"loha": "LoHa", "lokr": "LoKr"}.get(kind or "", "DoRA")
        raise NegError("incompatible", f"{asked.name!r} is a {told}: only plain LoRAs can be merged.", "Use both adapters in one arm.")
    words = header.metadata.get("negtui.instance_prompt") or header.metadata.get("modelspec.trigger_phrase") or ""
    return Parent(name=asked.name, weight=asked.weight, sha256=sha256, instance_prompt=words)
