"""Everything that decides a comparison's pictures, and what else than the adapter may explain a difference. Words only."""

from __future__ import annotations

from daemon.comparison.findings import Findings
from daemon.protocol.specs import AdapterRequest, CompareJob


def settings(findings: Findings) -> list[tuple[str, str]]:
    """Names and values of everything that decides the pictures, in the order a reader asks for them."""
    model, spec, identity = findings.job.model, findings.job.comparison, findings.identity
    refined = identity.refiner_sha256 is not None and spec.denoising_split is not None
    rows = [("base", model.base), ("base sha256", identity.base_sha256)]
    if refined:
        rows += [("refiner", model.refiner or ""), ("refiner sha256", identity.refiner_sha256 or "")]
        rows.append(("denoising split", f"{spec.denoising_split:g}"))
    if model.vae is not None:
        rows += [("vae", model.vae), ("vae sha256", identity.vae_sha256 or "")]
    rows += [
        ("torch_dtype", identity.torch_dtype),
        ("num_inference_steps", str(spec.num_inference_steps)),
        ("guidance_scale", f"{spec.guidance_scale:g}"),
        ("size", f"{spec.width} x {spec.height}"),
    ]
    for arm in findings.arms:
        rows.append((f"arm {arm.name}", arm.title))
        rows += [(f"adapter in {arm.name}", f"{_weights(use)}, sha256 {use.sha256}") for use in arm.adapters]
        rows += [(f"embedding in {arm.name}", f"{one.placeholder_token}, sha256 {one.sha256}") for one in arm.embeddings]
    return [*rows, ("measured by", ", ".join(findings.scorers))]


def command(job: CompareJob) -> str:
    """What to type to have a comparison again, as it stands in `session.toml` or by its preset."""
    spec = job.comparison
    words = ["negtui", "compare", job.session]
    if spec.preset is not None and spec.output_name in (spec.preset, f"{spec.preset}-full"):
        words += ["--preset", spec.preset]
    if spec.output_name.endswith("-full") and not spec.num_prompts:
        words.append("--full")
    return " ".join(words)


def confounds(findings: Findings) -> list[str]:
    """What else than the adapter may explain a difference between these arms, as `docs/arms.md` tells."""
    arms, spec = findings.arms, findings.job.comparison
    negatives = {arm.negative_prompt for arm in arms}
    found = []
    if None in negatives and len(negatives) > 1:
        found.append(
            "Arms without a negative prompt get zeroed embeddings, the others those of real words. That alone changes a picture: "
            "judge an adapter against an arm with the same negative prompt."
        )
    refined = [arm for arm in arms if arm.refiner == "arm"]
    if (
        len({arm.negative_prompt for arm in refined}) > 1
        and findings.identity.refiner_sha256 is not None
        and spec.denoising_split is not None
    ):
        found.append("The refiner gets the arm's negative prompt too, so it also differs between arms.")
    if len({(arm.refiner == "none") for arm in arms}) > 1:
        found.append("Some arms are painted without the refiner: that alone changes texture and sharpness.")
    if any(all(use.weights) for arm in arms for use in arm.adapters):
        found.append("An adapter acts on both branches of classifier-free guidance: it changes the positive prediction too.")
    if any(arm.adapters and arm.negative_prompt is None for arm in arms):
        found.append("An adapter acts on the negative branch also where there is no negative prompt: on zeroed embeddings.")
    if len({(arm.guidance_scale, arm.guidance_start, arm.guidance_end) for arm in arms}) > 1:
        found.append("Guidance differs between arms, and changes contrast and saturation by itself: judge arms of the same guidance.")
    if len({block.seed for block in findings.blocks}) == 1:
        found.append("Every prompt was painted with the same single seed.")
    if len({block.prompt for block in findings.blocks}) == 1:
        found.append("There is one prompt only: the intervals speak of its seeds, not of other prompts.")
    if any(scorer.startswith("toy-probe") for scorer in findings.scorers):
        found.append(
            "Flaw probability and adherence are the opinion of a small network trained on drawn scenes. No person judged these pictures."
        )
    if len(findings.effects) > 1:
        found.append(
            f"There are {len(findings.effects)} intervals here, each at its own 95 %: about one in twenty misses the truth by chance."
        )
    return [*found, "Sharpness, texture, contrast, saturation, brightness and their kin describe a look. More of them is not better."]


def _weights(use: AdapterRequest) -> str:
    positive, negative = use.weights
    return (
        f"weight {positive:g}" if positive == negative else f"weight {positive:g} on the positive branch, {negative:g} on the negative one"
    )
