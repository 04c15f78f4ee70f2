"""The arms of a comparison as a person declares them: which adapters act in which branch of the guidance, and on what words."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from daemon.protocol.fields import GuidanceScale, Name, PlaceholderToken, Prompt, Spec

AdapterWeight = Annotated[float, Meta(ge=-10.0, le=10.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
PresetName = Literal["three", "placebo", "branches", "scales", "checkpoints", "guidance", "subject", "inversion", "keywords"]
"""Ready-made families of arms; `presets.py` writes them out."""
RefinerUse = Literal["arm", "shared", "none"]
"""`arm`: the refiner gets the arm's negative prompt, as Woolf had it; `shared`: no negative prompt, the same in all arms; `none`: the
base paints to the end."""


class AdapterUse(Spec, frozen=True, kw_only=True):
    """One adapter of the session (`adapters/<name>/`), and how strongly it acts in each branch of classifier-free guidance."""

    name: Name
    weight: AdapterWeight = 1.0
    positive_weight: AdapterWeight | None = None
    """In the branch of the prompt; 0 leaves the adapter to the negative branch alone. None: `weight`."""
    negative_weight: AdapterWeight | None = None
    """In the branch of the negative prompt. None: `weight`."""
    checkpoint: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """The adapter as the training kept it after so many steps (`training.export_steps`). None: the finished one."""

    @property
    def weights(self) -> tuple[float, float]:
        """In the positive and in the negative branch."""
        positive, negative = self.positive_weight, self.negative_weight
        return self.weight if positive is None else positive, self.weight if negative is None else negative


class EmbeddingUse(Spec, frozen=True, kw_only=True):
    """One learned embedding of the session (`adapters/<name>/learned_embeds.safetensors`, made by textual inversion)."""

    name: Name
    placeholder_token: PlaceholderToken | None = None
    """What stands for it in prompts. None: the token it was trained as; files of other trainers do not tell theirs."""


class ArmSpec(Spec, frozen=True, kw_only=True):
    """One way of painting the same block: the adapters on the base, the learned embeddings, the negative prompt, the guidance."""

    name: Name
    adapters: Annotated[tuple[AdapterUse, ...], Meta(max_length=16)] = ()
    embeddings: Annotated[tuple[EmbeddingUse, ...], Meta(max_length=16)] = ()
    """Their placeholder tokens may stand in `negative_prompt` and in prompts, also weighted: `(<wrong>)++`."""
    negative_prompt: Prompt | None = None
    """None is no negative prompt (zeroed embeddings on the base), which differs from the empty string."""
    guidance_scale: GuidanceScale | None = None
    """None: that of the comparison."""
    guidance_start: Share = 0.0
    """Guidance begins after this share of the steps (Kynkaanniemi et al., 2024). Of the N steps of base and refiner together, counted
    from 0, those from round(N x start) to before round(N x end) are guided; at the others guidance_scale is 1: no negative branch."""
    guidance_end: Share = 1.0
    """Guidance ends after this share of the steps."""
    refiner: RefinerUse = "arm"
