"""What a person asks for: one frozen struct is the section of `session.toml`, the wire message, the stored row and the recipe's argument.

Fields are spelt as diffusers and peft spell them. Lengths and ranges are checked when a message or file is decoded.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from daemon.protocol.arms import AdapterUse as AdapterUse
from daemon.protocol.arms import ArmSpec as ArmSpec
from daemon.protocol.arms import EmbeddingUse as EmbeddingUse
from daemon.protocol.arms import PresetName, Share
from daemon.protocol.fields import MAX_TAGS, Fraction, GuidanceScale, Name, Path_, Pixels, PlaceholderToken, Prompt, Seed, Spec, Steps, Tag
from daemon.protocol.merging_spec import MergeSpec
from daemon.protocol.presets import Ingredients, preset_arms
from daemon.protocol.sweep_spec import SweepSpec
from daemon.protocol.training_spec import TrainingSpec, exported_steps


class ModelSpec(Spec, frozen=True, kw_only=True):
    """Which SDXL-architecture weights an experiment runs on."""

    base: Path_
    """`toy`, a diffusers folder, a single-file `.safetensors` checkpoint, or a hub id."""
    refiner: Path_ | None = None
    """As `base`; none runs the base alone."""
    vae: Path_ | None = None
    """Replaces the VAE of base and refiner, e.g. `madebyollin/sdxl-vae-fp16-fix`."""
    torch_dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """`auto`: float16 on a GPU, float32 on a CPU."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    allow_download: bool = False
    """Hub ids are read from the local cache only, unless this is true."""


class SamplingSpec(Spec, frozen=True, kw_only=True):
    """How every picture of an act is painted."""

    num_inference_steps: Steps = 50
    width: Pixels = 1024
    height: Pixels = 1024
    denoising_split: Fraction | None = 0.8
    """`denoising_end` of the base and `denoising_start` of the refiner; none: the base goes to the end, no refiner."""


class SynthesisSpec(SamplingSpec, frozen=True, kw_only=True):
    """Act 1: deliberately bad pictures. Every keyword is up-weighted once, at every weight, guidance scale and seed."""

    keywords: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(min_length=1, max_length=1000)]
    weights: Annotated[tuple[str | float, ...], Meta(min_length=1, max_length=64)] = ("++++",)
    """compel weights of the one wrapped keyword: `++++` (1.1^4) or a number."""
    guidance_scales: Annotated[tuple[GuidanceScale, ...], Meta(min_length=1, max_length=64)] = (8, 9, 10, 11, 12, 13)
    seeds: Annotated[tuple[Seed, ...], Meta(min_length=1, max_length=10_000)] = (0,)
    negative_prompt: Prompt | None = None


class PromptSpec(Spec, frozen=True, kw_only=True):
    """A prompt, with the seed it must be painted with or none to use `seeds`."""

    prompt: Prompt
    seed: Seed | None = None


ScorerName = Literal["toy-probe", "clip-score", "pickscore", "hpsv2.1", "imagereward", "aesthetic"]
PROMPT_FREE: tuple[ScorerName, ...] = ("toy-probe", "aesthetic")
"""Those that judge a picture whatever was asked for; the prompt of a bad picture asks for it to be bad."""


class ScorerPaths(Spec, frozen=True, kw_only=True):
    """Folders of the scorers' files, absolute or below the session folder; left out: `scorers/NAME` of the workspace."""

    clip_score: Path_ | None = None
    pickscore: Path_ | None = None
    hpsv2_1: Path_ | None = None
    imagereward: Path_ | None = None
    aesthetic: Path_ | None = None


class ComparisonSpec(SamplingSpec, frozen=True, kw_only=True):
    """Act 3: arms x prompts x seeds, the same seed across the arms of a block (prompt x seed)."""

    output_name: Name = "default"
    arms: Annotated[tuple[ArmSpec, ...], Meta(min_length=1, max_length=64)] = (
        ArmSpec(name="baseline"),
        ArmSpec(name="placebo", negative_prompt="wrong"),
        ArmSpec(name="target", adapters=(AdapterUse(name="wrong"),), negative_prompt="wrong"),
    )
    preset: PresetName | None = None
    """A ready-made family of arms in the place of `arms`; `negtui presets` tells what there is."""
    adapter: Name | None = None
    """The negative adapter of presets. None: the one that the session's training makes."""
    subject: Name | None = None
    """The adapter of a subject: the preset `subject` has it in both branches, beside the negative one."""
    embedding: EmbeddingUse | None = None
    """The learned embedding that the preset `inversion` holds against the adapter."""
    guidance_scale: GuidanceScale = 13.0
    prompts: Annotated[tuple[PromptSpec, ...], Meta(max_length=10_000)] = ()
    prompts_file: Path_ | None = None
    """A text file in the session folder, a prompt a line, added after `prompts`; `seed<TAB>prompt` fixes the seed."""
    num_prompts: Annotated[int, Meta(ge=0)] = 0
    """Only the first so many prompts; 0: all of them. `negtui run --full` sets 0."""
    seeds: Annotated[tuple[Seed, ...], Meta(min_length=1, max_length=10_000)] = (0,)
    scorers: Annotated[tuple[ScorerName, ...], Meta(max_length=16)] = ()
    """Measures beyond the plain ones (sharpness, contrast, saturation, colourfulness). All but `toy-probe` read files that you have."""
    scorer_paths: ScorerPaths = ScorerPaths()
    diagnose_blocks: Annotated[int, Meta(ge=0, le=64)] = 0
    """The first so many blocks are painted once more, watched: size and direction of the guidance, and where it acts. 0: none."""


class SessionSpec(Spec, frozen=True, kw_only=True):
    """A whole experiment: the contents of `sessions/<name>/session.toml`."""

    description: Annotated[str, Meta(max_length=2000)] = ""
    model: ModelSpec
    synthesis: SynthesisSpec | None = None
    training: TrainingSpec | None = None
    merging: Annotated[tuple[MergeSpec, ...], Meta(max_length=32)] = ()
    """Adapters made of others, after the training and before the comparison."""
    comparison: ComparisonSpec | None = None
    sweep: SweepSpec | None = None
    """On the prompts and seeds of the comparison; not part of `negtui run`."""


_UNUSED_BY_SWEEPS = {"preset": None, "adapter": None, "subject": None, "embedding": None, "diagnose_blocks": 0}


class SynthesizeJob(Spec, frozen=True, kw_only=True, tag="synthesize", tag_field="kind"):
    """Act 1 of one session."""

    session: Name
    model: ModelSpec
    synthesis: SynthesisSpec
    scorers: tuple[ScorerName, ...] = ()
    """What reads how bad every picture is."""
    scorer_paths: ScorerPaths = ScorerPaths()


class TrainJob(Spec, frozen=True, kw_only=True, tag="train", tag_field="kind"):
    """Act 2 of one session."""

    session: Name
    model: ModelSpec
    training: TrainingSpec


class MergeJob(Spec, frozen=True, kw_only=True, tag="merge", tag_field="kind"):
    """Adapters of one session made into one."""

    session: Name
    model: ModelSpec
    merging: MergeSpec


class CompareJob(Spec, frozen=True, kw_only=True, tag="compare", tag_field="kind"):
    """Act 3 of one session."""

    session: Name
    model: ModelSpec
    comparison: ComparisonSpec


class SweepJob(Spec, frozen=True, kw_only=True, tag="sweep", tag_field="kind"):
    """One arm of a session over a grid. Of `comparison` the blocks, the sampling and the scorers count; its arms are the cells."""

    session: Name
    model: ModelSpec
    sweep: SweepSpec
    comparison: ComparisonSpec


JobSpec = SynthesizeJob | TrainJob | MergeJob | CompareJob | SweepJob


def sweep_job(session: str, model: ModelSpec, sweep: SweepSpec, comparison: ComparisonSpec) -> SweepJob:
    """The job of a sweep on a comparison's blocks; what else the comparison asks for has no part in it. Its arms follow from the sweep."""
    prompts = comparison.num_prompts if sweep.num_prompts is None else sweep.num_prompts
    plain = msgspec.structs.replace(
        comparison, output_name=sweep.output_name, arms=(sweep.arm,), num_prompts=prompts, seeds=sweep.seeds or comparison.seeds
    )
    unused = {name: default for name, default in _UNUSED_BY_SWEEPS.items() if getattr(plain, name) != default}
    return SweepJob(session=session, model=model, sweep=sweep, comparison=msgspec.structs.replace(plain, **unused))


def job_specs(session: str, spec: SessionSpec, full: bool = False, preset: PresetName | None = None) -> dict[str, JobSpec]:
    """The jobs of a session's sections by kind, in the order of the acts, of merges by `merge:` and their output_name; a preset is
    written out as arms.

    `full` compares on all prompts, `preset` by other arms than the session declares, each under a name of its own. Raises `NegError`
    `invalid` where that preset needs what the session lacks.
    """
    jobs: dict[str, JobSpec] = {}
    if spec.synthesis is not None:
        jobs["synthesize"] = _synthesize_job(session, spec, spec.synthesis)
    if spec.training is not None:
        jobs["train"] = TrainJob(session=session, model=spec.model, training=spec.training)
    for merging in spec.merging:
        jobs[f"merge:{merging.output_name}"] = MergeJob(session=session, model=spec.model, merging=merging)
    if spec.comparison is not None:
        comparison = spec.comparison
        if preset is not None:
            comparison = msgspec.structs.replace(comparison, preset=preset, output_name=preset)
        comparison = msgspec.structs.replace(comparison, arms=arms_of(msgspec.structs.replace(spec, comparison=comparison)))
        if full and comparison.num_prompts:
            comparison = msgspec.structs.replace(comparison, num_prompts=0, output_name=f"{comparison.output_name[:58]}-full")
        jobs["compare"] = CompareJob(session=session, model=spec.model, comparison=comparison)
    if spec.sweep is not None and spec.comparison is not None:
        jobs["sweep"] = sweep_job(session, spec.model, spec.sweep, spec.comparison)
    return jobs


def _synthesize_job(session: str, spec: SessionSpec, synthesis: SynthesisSpec) -> SynthesizeJob:
    asking = spec.comparison or ComparisonSpec()
    scorers = tuple(name for name in asking.scorers if name in PROMPT_FREE)
    paths = asking.scorer_paths if scorers else ScorerPaths()
    return SynthesizeJob(session=session, model=spec.model, synthesis=synthesis, scorers=scorers, scorer_paths=paths)


def kind_of(key: str) -> str:
    """The kind of job that a key of `job_specs` names."""
    return key.partition(":")[0]


def arms_of(spec: SessionSpec) -> tuple[ArmSpec, ...]:
    """The arms of a session's comparison, those of its preset written out; none without a comparison. Raises as `preset_arms`."""
    if spec.comparison is None:
        return ()
    return preset_arms(spec.comparison.preset, ingredients(spec)) if spec.comparison.preset is not None else spec.comparison.arms


def ingredients(spec: SessionSpec) -> Ingredients:
    """What a session declares that presets are made of."""
    comparison, training = spec.comparison or ComparisonSpec(), spec.training
    made = training if training is not None and training.method == "lora" else None
    adapter = comparison.adapter or (made.output_name if made is not None else None)
    is_made = made is not None and made.output_name == adapter
    return Ingredients(
        adapter=adapter,
        word=made.instance_prompt if made is not None and is_made else "wrong",
        subject=comparison.subject,
        embedding=comparison.embedding,
        keywords=spec.synthesis.keywords if spec.synthesis is not None else (),
        checkpoints=exported_steps(made) if made is not None and is_made else (),
        guidance_scale=comparison.guidance_scale,
    )


class AdapterRequest(Spec, frozen=True, kw_only=True):
    """An adapter as part of an image's identity: its file's hash, not its name."""

    sha256: str
    weight: float
    """In both branches of the guidance; where `negative_weight` is set, in the positive one."""
    negative_weight: float | msgspec.UnsetType = msgspec.UNSET
    """Set only where it differs from `weight`: other requests are written, and hashed, without this field."""

    @property
    def weights(self) -> tuple[float, float]:
        """In the positive and in the negative branch."""
        return self.weight, self.weight if self.negative_weight is msgspec.UNSET else self.negative_weight


class EmbeddingRequest(Spec, frozen=True, kw_only=True):
    """A learned embedding as part of an image's identity: its file's hash, and the token that stands for it."""

    sha256: str
    placeholder_token: PlaceholderToken


class ImageRequest(Spec, frozen=True, kw_only=True):
    """Everything that decides an image's pixels. Its canonical hash is the image's id."""

    base_sha256: str
    refiner_sha256: str | None = None
    vae_sha256: str | None = None
    torch_dtype: Literal["float32", "float16", "bfloat16"]
    adapters: tuple[AdapterRequest, ...] = ()
    embeddings: tuple[EmbeddingRequest, ...] | msgspec.UnsetType = msgspec.UNSET
    """Unset where there are none, never empty: such a request is written, and hashed, without this field."""
    prompt: Prompt
    negative_prompt: Prompt | None = None
    seed: Seed
    guidance_scale: GuidanceScale
    num_inference_steps: Steps
    width: Pixels
    height: Pixels
    denoising_split: Fraction | None = None
    guidance_start: Share | msgspec.UnsetType = msgspec.UNSET
    """As in `ArmSpec`. This field and the two below are set only where they change the picture, as `embeddings`."""
    guidance_end: Share | msgspec.UnsetType = msgspec.UNSET
    refiner_negative_prompt: Prompt | msgspec.UnsetType | None = msgspec.UNSET
    """Of the refiner, where it differs from `negative_prompt`. None: no negative prompt."""


Status = Literal["undecided", "keep", "reject"]


class ImageRecord(Spec, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """A finished picture: a line of `manifest.jsonl`. Paths are relative to the session folder. `status` and `tags` are a person's."""

    id: str
    path: str
    sha256: str
    request: ImageRequest
    keyword: str | None = None
    weight: str | float | None = None
    arm: str | None = None
    status: Status = "undecided"
    tags: Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)] = ()
    """Sorted, each once."""
    values: dict[str, float] = msgspec.field(default_factory=dict)
    """What was read in it, by metric: `flaw_probability`, `aesthetic`; other readers of pictures may write `badness` into the manifest."""
