"""What is told about an adapter: peft's settings, the headers of its files, and the record of its training. Free of torch.

In headers neither dates nor versions: equal weights of equal origin are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from daemon.adapters import headers
from daemon.adapters.headers import PeftSettings, modelspec_prediction_type, public_name
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.monitoring.metrics import Point
from daemon.training.plan import TrainingPlan, decisive_settings, lora_alpha

LOSS_WINDOW = 10
"""Steps at both ends that the loss summary averages."""
ATTENTION = ("to_k", "to_out.0", "to_q", "to_v")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
CONVOLUTION = ("conv1", "conv2", "conv_shortcut")
TEXT_ENCODER = ("k_proj", "out_proj", "q_proj", "v_proj")


class LossSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Mean loss of the first and the last steps of the run: single ones are noise."""

    first: float | None
    last: float | None


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`training.json`: where an adapter comes from."""

    fingerprint: str
    adapter_sha256: str
    num_bytes: int
    num_parameters: int
    spec: TrainingSpec
    base_sha256: str
    vae_sha256: str | None
    torch_dtype: str
    dataset_sha256: str
    num_images: int
    image_sha256s: tuple[str, ...]
    loss: LossSummary
    environment: dict[str, str]
    bit_exact: bool
    file_sha256s: dict[str, str] = msgspec.field(default_factory=dict)
    """Of every weight file beside it."""
    step: int | None = None
    """Whose weights these are; None in records of versions that always kept the last."""
    reason: str = ""
    """Why they are not those of the last step asked for: stopped by request, early stopping."""
    orders: tuple[str, ...] = ()
    """What a person changed while it trained, in words: the spec alone no longer tells how the weights came about."""
    measurements: dict[str, float] = msgspec.field(default_factory=dict)
    """Held-out loss, separation, leak, sampled gain: what was measured of these very weights."""


def peft_settings(spec: TrainingSpec) -> PeftSettings:
    """The adapter as peft configures it, one entry for each component it changes.

    Only what differs between our adapters or must not be guessed: peft refuses the fields that its version does not know yet.
    """
    components = {"unet": target_modules(spec)}
    if spec.train_text_encoder:
        components |= {"text_encoder": TEXT_ENCODER, "text_encoder_2": TEXT_ENCODER}
    return {component: _settings(spec, targets) for component, targets in components.items()}


def target_modules(spec: TrainingSpec) -> tuple[str, ...]:
    """Ends of the names of the UNet's layers that are changed."""
    groups = spec.target_modules.split("+")
    return (*ATTENTION, *(FEED_FORWARD if "feed_forward" in groups else ()), *(CONVOLUTION if "convolution" in groups else ()))


def diffusers_header(plan: TrainingPlan, settings: PeftSettings, points: Sequence[Point]) -> dict[str, str]:
    """Header of the file in diffusers' keys."""
    return headers.diffusers_header(settings, _origin(plan, points))


def kohya_header(
    plan: TrainingPlan, settings: PeftSettings, points: Sequence[Point], tensors_sha256: str, prediction_type: str
) -> dict[str, str]:
    """Header of the file in kohya's keys. The name is in it too."""
    sd_scripts = _sd_scripts(plan, len(points))
    return headers.kohya_header(settings, _origin(plan, points), tensors_sha256, sd_scripts, _modelspec(plan, prediction_type))


def provenance(plan: TrainingPlan, points: Sequence[Point]) -> dict[str, str]:
    """What the header of a learned embedding tells of its origin."""
    return headers.own(_origin(plan, points))


def _origin(plan: TrainingPlan, points: Sequence[Point]) -> dict[str, str]:
    """Where the weights come from, every setting that decides them, and how the loss fell."""
    loss = loss_summary(points)
    return {
        "fingerprint": plan.fingerprint,
        "base_sha256": plan.identity.base_sha256,
        "vae_sha256": plan.identity.vae_sha256 or "",
        "torch_dtype": plan.identity.torch_dtype,
        "dataset_sha256": plan.dataset.sha256,
        "num_images": str(len(plan.dataset.images)),
        "instance_prompt": plan.spec.instance_prompt,
        "num_steps": str(len(points)),
        "loss_first": "" if loss.first is None else f"{loss.first:.6g}",
        "loss_last": "" if loss.last is None else f"{loss.last:.6g}",
        "settings": json.dumps(decisive_settings(plan.spec), sort_keys=True),
    }


def make_record(
    plan: TrainingPlan,
    files: Mapping[str, bytes],
    weights_name: str,
    num_parameters: int,
    points: Sequence[Point],
    environment: dict[str, str],
    bit_exact: bool,
) -> TrainingRecord:
    """The provenance of an adapter of these files, trained along these points; `weights_name`: the one that names the result."""
    sha256s = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    return TrainingRecord(
        fingerprint=plan.fingerprint,
        adapter_sha256=sha256s[weights_name],
        num_bytes=len(files[weights_name]),
        num_parameters=num_parameters,
        spec=plan.spec,
        base_sha256=plan.identity.base_sha256,
        vae_sha256=plan.identity.vae_sha256,
        torch_dtype=plan.identity.torch_dtype,
        dataset_sha256=plan.dataset.sha256,
        num_images=len(plan.dataset.images),
        image_sha256s=tuple(image.sha256 for image in plan.dataset.images),
        loss=loss_summary(points),
        environment=environment,
        bit_exact=bit_exact,
        file_sha256s=sha256s,
    )


def loss_summary(points: Sequence[Point]) -> LossSummary:
    """The mean loss at both ends of a curve."""
    return LossSummary(first=_mean_loss(points[:LOSS_WINDOW]), last=_mean_loss(points[-LOSS_WINDOW:]))


def _settings(spec: TrainingSpec, targets: tuple[str, ...]) -> dict[str, Any]:
    if spec.peft_type != "lora":
        return {"peft_type": spec.peft_type.upper(), "r": spec.rank, "alpha": lora_alpha(spec), "target_modules": list(targets)}
    plain = {"r": spec.rank, "lora_alpha": lora_alpha(spec), "target_modules": list(targets)}
    chosen = {name: True for name in ("use_dora", "use_rslora") if getattr(spec, name)}
    return {**plain, "init_lora_weights": "gaussian", "lora_dropout": 0.0, **chosen}


def _sd_scripts(plan: TrainingPlan, num_steps: int) -> dict[str, object]:
    """Names and spellings of `train_network.py` (kohya-ss/sd-scripts); what it would say of dates and versions is left out."""
    spec = plan.spec
    is_lora = spec.peft_type == "lora"
    network_args: dict[str, Any] = {} if is_lora else {"algo": spec.peft_type}
    if spec.use_dora:
        network_args["dora_wd"] = "True"
    if "convolution" in spec.target_modules:
        network_args |= {"conv_dim": str(spec.rank), "conv_alpha": f"{kohya_alpha(spec):g}"}
    return {
        "ss_output_name": spec.output_name,
        "ss_network_module": "networks.lora" if is_lora and not spec.use_dora else "lycoris.kohya",
        "ss_network_dim": spec.rank,
        "ss_network_alpha": f"{kohya_alpha(spec):g}",
        "ss_network_args": json.dumps(network_args) if network_args else None,
        "ss_network_dropout": spec.lora_dropout or None,
        "ss_sd_model_name": public_name(plan.job.model.base),
        "ss_new_sd_model_hash": plan.identity.base_sha256,
        "ss_new_vae_hash": plan.identity.vae_sha256,
        "ss_learning_rate": spec.learning_rate,
        "ss_unet_lr": spec.learning_rate,
        "ss_text_encoder_lr": (spec.text_encoder_lr or spec.learning_rate) if spec.train_text_encoder else None,
        "ss_optimizer": spec.optimizer,
        "ss_lr_scheduler": spec.lr_scheduler,
        "ss_lr_warmup_steps": spec.lr_warmup_steps,
        "ss_steps": num_steps,
        "ss_max_train_steps": spec.max_train_steps,
        "ss_total_batch_size": spec.train_batch_size,
        "ss_gradient_accumulation_steps": spec.gradient_accumulation_steps,
        "ss_gradient_checkpointing": spec.gradient_checkpointing,
        "ss_max_grad_norm": spec.max_grad_norm,
        "ss_seed": spec.seed,
        "ss_resolution": f"({spec.resolution}, {spec.resolution})",
        "ss_enable_bucket": spec.aspect_ratio_buckets,
        "ss_num_train_images": len(plan.dataset.images) * spec.repeats,
        "ss_num_reg_images": len(plan.dataset.class_images),
        "ss_prior_loss_weight": spec.prior_loss_weight,
        "ss_min_snr_gamma": spec.snr_gamma,
        "ss_noise_offset": spec.noise_offset or None,
        "ss_caption_dropout_rate": spec.caption_dropout,
        "ss_mixed_precision": {"float16": "fp16", "bfloat16": "bf16"}.get(plan.identity.torch_dtype, "no"),
        "ss_cache_latents": True,
        "ss_tag_frequency": json.dumps({"dataset": tag_frequency(plan)}),
    }


def _modelspec(plan: TrainingPlan, prediction_type: str) -> dict[str, str]:
    spec = plan.spec
    return {
        "title": spec.output_name,
        "resolution": f"{spec.resolution}x{spec.resolution}",
        "trigger_phrase": spec.instance_prompt,
        "usage_hint": f"As a negative LoRA: with {spec.instance_prompt!r} in the negative prompt.",
        "prediction_type": modelspec_prediction_type(prediction_type),
        "timestep_range": f"{spec.min_timestep},{spec.max_timestep}",
    }


def kohya_alpha(spec: TrainingSpec) -> float:
    """alpha where everybody divides it by the rank: rsLoRA's alpha / sqrt(rank) is spelt so."""
    return lora_alpha(spec) * spec.rank**0.5 if spec.use_rslora and spec.peft_type == "lora" else lora_alpha(spec)


def tag_frequency(plan: TrainingPlan) -> dict[str, int]:
    """How many images have each comma-separated piece of a caption; without captions that is the instance prompt."""
    captions = [image.caption for image in plan.dataset.images]
    return dict(sorted(Counter(tag.strip() for caption in captions for tag in caption.split(",") if tag.strip()).items()))


def _mean_loss(points: Sequence[Point]) -> float | None:
    return sum(point.loss for point in points) / len(points) if points else None
