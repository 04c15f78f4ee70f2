"""Act 2 as a person asks for it: every option of a training, in the order a person meets them.

Names are those of diffusers' training scripts and of peft; where those have none, of kohya's sd-scripts.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from daemon.protocol.fields import Count, Name, NotNegative, Path_, Pixels, Positive, Prompt, Seed, Spec

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Timestep = Annotated[int, Meta(ge=0, le=1000)]
Interval = Annotated[int, Meta(ge=0, le=1_000_000)]
"""Every so many optimizer steps; 0: never."""
Decay = Annotated[float, Meta(ge=0.0, lt=1.0)]
Prompts = Annotated[tuple[Prompt, ...], Meta(max_length=256)]


class TrainingSpec(Spec, frozen=True, kw_only=True):
    """Act 2: a DreamBooth-LoRA. Defaults are those of diffusers' `train_dreambooth_lora_sdxl.py` README recipe; what it lacks is off."""

    output_name: Name = "wrong"
    """The adapter becomes `adapters/<output_name>/`."""
    seed: Seed = 0

    # What is learned.
    method: Literal["lora", "textual_inversion"] = "lora"
    """`textual_inversion` learns the embedding of `placeholder_token` in both text encoders instead of an adapter."""
    peft_type: Literal["lora", "loha", "lokr"] = "lora"
    rank: Annotated[int, Meta(ge=1, le=1024)] = 4
    lora_alpha: Positive | None = None
    """None: alpha = rank."""
    lora_dropout: Probability = 0.0
    use_rslora: bool = False
    """Scale by alpha / sqrt(rank) (Kalajdzievski, 2023)."""
    use_dora: bool = False
    """Direction and magnitude apart (Liu et al., 2024). Not for arms that act on one branch only."""
    target_modules: Literal["attention", "attention+feed_forward", "attention+feed_forward+convolution"] = "attention"
    """`attention`: to_q, to_k, to_v, to_out.0; `feed_forward` adds ff.net.0.proj, ff.net.2, proj_in, proj_out;
    `convolution` adds those of the residual blocks."""
    train_text_encoder: bool = False
    """A LoRA of the same rank on q_proj, k_proj, v_proj, out_proj of both text encoders too."""
    init_adapter: Name | None = None
    """Start from this adapter of the session instead of from nothing."""
    placeholder_token: Annotated[str, Meta(pattern=r"^<[A-Za-z0-9_-]{1,40}>\Z")] = "<wrong>"  # noqa: S105
    initializer_token: Annotated[str, Meta(min_length=1, max_length=100)] = "bad"  # noqa: S105
    num_vectors: Annotated[int, Meta(ge=1, le=32)] = 4

    # Data.
    instance_prompt: Prompt = "wrong"
    instance_data_dir: Path_ | None = None
    """A folder of images to train on, absolute or below the session folder. None: the session's `dataset/`."""
    captions: Literal["instance_prompt", "txt", "metadata", "manifest"] = "instance_prompt"
    """`txt`: a file of the image's name beside it; `metadata`: `metadata.jsonl` (`file_name`, `text`); `manifest`: the prompt it was
    painted with. An image without one takes `instance_prompt`."""
    caption_dropout: Probability = 0.0
    """Share of the draws that are trained without a caption."""
    resolution: Pixels = 1024
    aspect_ratio_buckets: bool = False
    """Sizes of about `resolution`^2 pixels that fit the images, instead of squares cut out of them."""
    bucket_step: Annotated[int, Meta(ge=8, le=256, multiple_of=8)] = 64
    center_crop: bool = True
    """False: a random crop, a fresh one each epoch."""
    random_flip: bool = False
    """Left and right exchanged in half of the draws, afresh each epoch."""
    repeats: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """How often an epoch shows each instance image."""
    validation_images: Annotated[int, Meta(ge=0, le=1000)] = 0
    """So many images are never trained on: the held-out loss is measured on them. 0: it is measured on trained ones, with fixed draws."""

    # Preservation of what the model knows.
    with_prior_preservation: bool = False
    class_prompt: Prompt = ""
    class_data_dir: Path_ | None = None
    """None: `class_images/` of the session; what is missing is painted."""
    num_class_images: Count = 100
    prior_loss_weight: NotNegative = 1.0
    preservation_weight: NotNegative = 0.0
    """Weight of keeping the adapter inert for `preservation_prompts`: the prediction with the adapter off is the target."""
    preservation_prompts: Prompts = ()
    """Empty: no caption, and the class prompt where there is one."""

    # Loss.
    snr_gamma: Positive | None = None
    """Min-SNR weighting (Hang et al., 2023); 5 is advised."""
    noise_offset: NotNegative = 0.0
    timestep_sampling: Literal["uniform", "logit_normal"] = "uniform"
    logit_mean: float = 0.0
    logit_std: Positive = 1.0
    min_timestep: Timestep = 0
    max_timestep: Timestep = 1000
    """Timesteps are drawn from min_timestep <= t < max_timestep."""

    # Optimizer.
    optimizer: Literal["adamw", "adamw8bit", "prodigy", "schedulefree", "adafactor"] = "adamw"
    learning_rate: Positive = 1e-4
    """Prodigy finds its own: 1 then."""
    text_encoder_lr: Positive | None = None
    """None: as `learning_rate`."""
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"] = "constant"
    lr_warmup_steps: Annotated[int, Meta(ge=0)] = 0
    lr_num_cycles: Annotated[int, Meta(ge=1, le=1000)] = 1
    lr_power: Positive = 1.0
    max_train_steps: Count = 500
    train_batch_size: Annotated[int, Meta(ge=1, le=256)] = 1
    gradient_accumulation_steps: Annotated[int, Meta(ge=1, le=1024)] = 4
    max_grad_norm: Positive = 1.0
    adam_beta1: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.9
    adam_beta2: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.999
    adam_weight_decay: NotNegative = 1e-4
    adam_epsilon: Positive = 1e-8
    ema_decay: Decay = 0.0
    """Of a moving average of the adapter, which then is what is saved; 0: none."""
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    """Compile the UNet for one fixed size: minutes at the start, faster steps on a GPU."""

    # While it runs.
    checkpointing_steps: Count = 100
    validation_steps: Interval = 0
    """Held-out loss, separation and leak every so many steps."""
    sample_steps: Interval = 0
    """Pictures from the live weights every so many steps, in the arms baseline, placebo and target."""
    sample_prompts: Prompts = ()
    sample_seed: Seed = 0
    sample_num_inference_steps: Annotated[int, Meta(ge=1, le=1000)] = 25
    sample_guidance_scale: Annotated[float, Meta(ge=0.0, le=100.0)] = 7.5
    early_stopping: bool = False
    """End when the held-out loss has not fallen for `early_stopping_patience` measurements, and keep the best weights."""
    early_stopping_patience: Annotated[int, Meta(ge=1, le=1000)] = 5
    report_to: Annotated[tuple[Literal["tensorboard", "trackio"], ...], Meta(max_length=2)] = ()
    """Curves also as these tools read them, below `metrics/`."""
