"""What the types of `TrainingSpec` cannot say: which options contradict each other (faults), which have no effect (doubts).

One small function per rule; a new one is added to `FAULTS` or `DOUBTS`. Knows nothing of images, models or packages installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec

PACKAGES = {"adamw8bit": "bitsandbytes", "prodigy": "prodigyopt", "schedulefree": "schedulefree"}
"""Optimizers that need a package which is an extra."""

_SMALLEST_POLYNOMIAL_RATE = 1e-7
"""Where diffusers' polynomial schedule ends."""


class Finding(NamedTuple):
    """What is wrong with an option, as the rest of a sentence that begins with its name; and what to do."""

    option: str
    message: str
    remedy: str


Rule = Callable[[TrainingSpec], Finding | None]


def require_sound(spec: TrainingSpec) -> None:
    """Raise `NegError` `invalid`, naming every option that cannot be what it is beside the others."""
    findings = [finding for rule in FAULTS if (finding := rule(spec)) is not None]
    if len(findings) == 1:
        raise NegError("invalid", f"training.{findings[0].option} {findings[0].message}.", findings[0].remedy)
    if findings:
        raise NegError("invalid", " ".join(_sentences(finding) for finding in findings))


def doubts(spec: TrainingSpec) -> list[str]:
    """Options that have no effect, or hardly the one that was meant, as sentences."""
    findings = [finding for rule in DOUBTS if (finding := rule(spec)) is not None]
    return [_sentences(finding) for finding in findings]


def _sentences(finding: Finding) -> str:
    return f"training.{finding.option} {finding.message}. {finding.remedy}"


def _dora_of_lora_only(spec: TrainingSpec) -> Finding | None:
    if spec.use_dora and spec.peft_type != "lora":
        return Finding("use_dora", f"goes with peft_type lora, not with {spec.peft_type}", "Set one of them back.")
    return None


def _rslora_of_lora_only(spec: TrainingSpec) -> Finding | None:
    if spec.use_rslora and spec.peft_type != "lora":
        return Finding("use_rslora", f"goes with peft_type lora, not with {spec.peft_type}", "Set one of them back.")
    return None


def _dropout_of_lora_only(spec: TrainingSpec) -> Finding | None:
    if spec.lora_dropout and spec.peft_type != "lora":
        return Finding("lora_dropout", f"goes with peft_type lora: peft's {spec.peft_type} has none", "Set it to 0, or peft_type to lora.")
    return None


def _dropout_leaves_something(spec: TrainingSpec) -> Finding | None:
    if spec.lora_dropout >= 1.0:
        return Finding("lora_dropout", "of 1 leaves nothing to train", "Set it below 1; 0.1 is common.")
    return None


def _inversion_trains_the_token_only(spec: TrainingSpec) -> Finding | None:
    if spec.method == "textual_inversion" and spec.train_text_encoder:
        return Finding("train_text_encoder", "contradicts method textual_inversion, which trains one token only", "Take one of them out.")
    return None


def _inversion_sees_its_token(spec: TrainingSpec) -> Finding | None:
    if spec.method == "textual_inversion" and spec.caption_dropout:
        return Finding("caption_dropout", "leaves out the token that textual_inversion trains: such a draw teaches nothing", "Set it to 0.")
    return None


def _inversion_changes_nothing_else(spec: TrainingSpec) -> Finding | None:
    for option in ("with_prior_preservation", "preservation_weight"):
        if spec.method == "textual_inversion" and getattr(spec, option):
            message = "is not needed with textual_inversion: prompts without the token stay as they are, to the bit"
            return Finding(option, message, "Leave it out.")
    return None


def _begins_from_another(spec: TrainingSpec) -> Finding | None:
    if spec.init_adapter == spec.output_name:
        message = f"is {spec.init_adapter}, the output_name too: the result would take the place of what it began from"
        return Finding("init_adapter", message, "Choose another output_name.")
    return None


def _buckets_fit(spec: TrainingSpec) -> Finding | None:
    if spec.aspect_ratio_buckets and spec.bucket_step > spec.resolution:
        return Finding(
            "bucket_step", f"is {spec.bucket_step}, more than resolution {spec.resolution}", "Set it to 64, or to 8 for small pictures."
        )
    return None


def _prior_needs_a_class(spec: TrainingSpec) -> Finding | None:
    if spec.with_prior_preservation and not spec.class_prompt.strip():
        remedy = 'Name the class of what is learned, e.g. class_prompt = "a toy".'
        return Finding("class_prompt", "is empty, and with_prior_preservation needs it", remedy)
    return None


def _timesteps_to_draw(spec: TrainingSpec) -> Finding | None:
    if spec.min_timestep >= spec.max_timestep:
        message = f"is {spec.min_timestep}, not below max_timestep {spec.max_timestep}: no timestep is left"
        return Finding("min_timestep", message, "They are 0 and 1000 by default.")
    return None


def _prodigy_has_one_rate(spec: TrainingSpec) -> Finding | None:
    if spec.optimizer == "prodigy" and spec.text_encoder_lr not in (None, spec.learning_rate):
        return Finding("text_encoder_lr", "contradicts optimizer prodigy, which has one rate for all weights", "Leave text_encoder_lr out.")
    return None


def _schedulefree_has_no_schedule(spec: TrainingSpec) -> Finding | None:
    if spec.optimizer == "schedulefree" and spec.lr_scheduler not in ("constant", "constant_with_warmup"):
        message = f"{spec.lr_scheduler} contradicts optimizer schedulefree, whose average takes the place of a schedule"
        return Finding("lr_scheduler", message, "Set it to constant or constant_with_warmup.")
    return None


def _schedulefree_averages_already(spec: TrainingSpec) -> Finding | None:
    if spec.optimizer == "schedulefree" and spec.ema_decay:
        return Finding("ema_decay", "contradicts optimizer schedulefree, which averages the weights itself", "Set it to 0.")
    return None


def _schedulefree_interpolates(spec: TrainingSpec) -> Finding | None:
    if spec.optimizer == "schedulefree" and spec.adam_beta1 == 0.0:
        return Finding("adam_beta1", "of 0 leaves schedulefree nothing to average with", "Set it to 0.9.")
    return None


def _polynomial_falls(spec: TrainingSpec) -> Finding | None:
    if spec.lr_scheduler == "polynomial" and spec.learning_rate <= _SMALLEST_POLYNOMIAL_RATE:
        return Finding("lr_scheduler", f"polynomial falls to 1e-7, and learning_rate is {spec.learning_rate:g}", "Raise learning_rate.")
    return None


def _batches_for_all_processes(spec: TrainingSpec) -> Finding | None:
    if spec.num_processes > spec.gradient_accumulation_steps:
        shared = f"gradient_accumulation_steps is {spec.gradient_accumulation_steps}"
        message = f"is {spec.num_processes}, more than a step has batches: {shared}"
        return Finding("num_processes", message, "Lower it, or raise gradient_accumulation_steps and lower train_batch_size.")
    return None


def _stopping_measures(spec: TrainingSpec) -> Finding | None:
    if spec.early_stopping and not spec.validation_steps and not spec.sample_steps:
        return Finding("early_stopping", "needs measurements, and validation_steps is 0", "Set validation_steps, e.g. to 50.")
    return None


def _trackers_once(spec: TrainingSpec) -> Finding | None:
    if len(set(spec.report_to)) < len(spec.report_to):
        return Finding("report_to", f"names {spec.report_to[0]} twice", "Name it once.")
    return None


def _rate_of_prodigy(spec: TrainingSpec) -> Finding | None:
    if spec.optimizer == "prodigy" and spec.learning_rate != 1.0:
        message = f"is {spec.learning_rate:g}: prodigy finds its own rate and multiplies it by this"
        return Finding("learning_rate", message, "Its authors advise 1.")
    return None


def _rate_of_others(spec: TrainingSpec) -> Finding | None:
    if spec.optimizer != "prodigy" and spec.learning_rate >= 0.1:
        return Finding(
            "learning_rate", f"is {spec.learning_rate:g}, which is high for {spec.optimizer}", "1e-4 is common; 1 is for prodigy."
        )
    return None


def _warmup_of_constant(spec: TrainingSpec) -> Finding | None:
    if spec.lr_warmup_steps and spec.lr_scheduler == "constant":
        remedy = "Set lr_scheduler to constant_with_warmup."
        return Finding("lr_warmup_steps", "has no effect with lr_scheduler constant, as in diffusers", remedy)
    return None


def _warmup_ends(spec: TrainingSpec) -> Finding | None:
    if spec.lr_scheduler != "constant" and spec.lr_warmup_steps >= spec.max_train_steps:
        message = f"is {spec.lr_warmup_steps}: with max_train_steps {spec.max_train_steps} the rate never reaches learning_rate"
        return Finding("lr_warmup_steps", message, "Lower it.")
    return None


def _cycles_of_restarts(spec: TrainingSpec) -> Finding | None:
    if spec.lr_num_cycles != 1 and spec.lr_scheduler != "cosine_with_restarts":
        return Finding("lr_num_cycles", f"has no effect with lr_scheduler {spec.lr_scheduler}", "It is for cosine_with_restarts.")
    return None


def _power_of_polynomial(spec: TrainingSpec) -> Finding | None:
    if spec.lr_power != 1.0 and spec.lr_scheduler != "polynomial":
        return Finding("lr_power", f"has no effect with lr_scheduler {spec.lr_scheduler}", "It is for polynomial.")
    return None


def _text_rate_of_text_encoders(spec: TrainingSpec) -> Finding | None:
    if spec.text_encoder_lr is not None and not spec.train_text_encoder and spec.method == "lora":
        return Finding("text_encoder_lr", "has no effect without train_text_encoder", "Set train_text_encoder, or leave it out.")
    return None


def _betas_of_adafactor(spec: TrainingSpec) -> Finding | None:
    for option in ("adam_beta1", "adam_beta2", "adam_epsilon"):
        if spec.optimizer == "adafactor" and getattr(spec, option) != getattr(_DEFAULTS, option):
            return Finding(option, "has no effect with optimizer adafactor", "Leave it out.")
    return None


def _logit_of_logit_normal(spec: TrainingSpec) -> Finding | None:
    for option in ("logit_mean", "logit_std"):
        if spec.timestep_sampling == "uniform" and getattr(spec, option) != getattr(_DEFAULTS, option):
            return Finding(option, "has no effect with timestep_sampling uniform", "Set timestep_sampling to logit_normal.")
    return None


def _prompts_to_preserve(spec: TrainingSpec) -> Finding | None:
    if spec.preservation_prompts and not spec.preservation_weight:
        return Finding("preservation_prompts", "have no effect while preservation_weight is 0", "Set preservation_weight, e.g. to 1.")
    return None


def _class_images_to_preserve(spec: TrainingSpec) -> Finding | None:
    if spec.class_data_dir is not None and not spec.with_prior_preservation:
        return Finding("class_data_dir", "has no effect without with_prior_preservation", "Set with_prior_preservation, or leave it out.")
    return None


def _stopping_on_unseen_images(spec: TrainingSpec) -> Finding | None:
    if spec.early_stopping and not spec.validation_images:
        message = "watches a loss measured on trained images, which falls for longer than it should"
        return Finding("early_stopping", message, "Hold some out: validation_images, e.g. 8.")
    return None


def _stopping_on_samples(spec: TrainingSpec) -> Finding | None:
    if spec.early_stopping and not spec.validation_steps and spec.sample_steps:
        message = "looks at the samples, which only the toy model has a judge for"
        return Finding("early_stopping", message, "For other models set validation_steps too, e.g. to 50.")
    return None


def _prompts_to_sample(spec: TrainingSpec) -> Finding | None:
    if spec.sample_steps and not spec.sample_prompts:
        return Finding("sample_steps", "has no effect while sample_prompts is empty", "Give sample_prompts.")
    return None


def _one_size_to_compile(spec: TrainingSpec) -> Finding | None:
    if spec.torch_compile and spec.aspect_ratio_buckets:
        message = "compiles anew for every size of aspect_ratio_buckets, for minutes each"
        return Finding("torch_compile", message, "Leave one of them out.")
    return None


def _batches_shared_evenly(spec: TrainingSpec) -> Finding | None:
    if spec.gradient_accumulation_steps % spec.num_processes:
        message = f"is {spec.num_processes}, and gradient_accumulation_steps is {spec.gradient_accumulation_steps}: some wait in every step"
        return Finding("num_processes", message, "Choose a divisor of gradient_accumulation_steps.")
    return None


def _adapter_options_of_lora(spec: TrainingSpec) -> Finding | None:
    for option in ("peft_type", "rank", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "target_modules"):
        if spec.method == "textual_inversion" and getattr(spec, option) != getattr(_DEFAULTS, option):
            return Finding(option, "has no effect with method textual_inversion", "Leave it out.")
    return None


def _token_options_of_inversion(spec: TrainingSpec) -> Finding | None:
    for option in ("placeholder_token", "initializer_token", "num_vectors"):
        if spec.method == "lora" and getattr(spec, option) != getattr(_DEFAULTS, option):
            return Finding(option, "has no effect with method lora", "Set method to textual_inversion, or leave it out.")
    return None


def _token_of_the_prompt(spec: TrainingSpec) -> Finding | None:
    is_own = spec.instance_prompt not in ("", _DEFAULTS.instance_prompt)
    if spec.method == "textual_inversion" and is_own and spec.placeholder_token not in spec.instance_prompt:
        message = f"does not hold {spec.placeholder_token}, which textual_inversion trains: {spec.placeholder_token} alone takes its place"
        return Finding("instance_prompt", message, f'Write it as the prompt is meant, e.g. "a photo, {spec.placeholder_token}".')
    return None


FAULTS: tuple[Rule, ...] = (
    _dora_of_lora_only,
    _rslora_of_lora_only,
    _dropout_of_lora_only,
    _dropout_leaves_something,
    _inversion_trains_the_token_only,
    _inversion_sees_its_token,
    _inversion_changes_nothing_else,
    _begins_from_another,
    _buckets_fit,
    _prior_needs_a_class,
    _timesteps_to_draw,
    _prodigy_has_one_rate,
    _schedulefree_has_no_schedule,
    _schedulefree_averages_already,
    _schedulefree_interpolates,
    _polynomial_falls,
    _batches_for_all_processes,
    _stopping_measures,
    _trackers_once,
)
DOUBTS: tuple[Rule, ...] = (
    _rate_of_prodigy,
    _rate_of_others,
    _warmup_of_constant,
    _warmup_ends,
    _cycles_of_restarts,
    _power_of_polynomial,
    _text_rate_of_text_encoders,
    _betas_of_adafactor,
    _logit_of_logit_normal,
    _prompts_to_preserve,
    _class_images_to_preserve,
    _stopping_on_unseen_images,
    _stopping_on_samples,
    _prompts_to_sample,
    _one_size_to_compile,
    _batches_shared_evenly,
    _adapter_options_of_lora,
    _token_options_of_inversion,
    _token_of_the_prompt,
)
_DEFAULTS = TrainingSpec()
