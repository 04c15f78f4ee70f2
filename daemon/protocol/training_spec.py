"""Act 2 as a person asks for it: every option of a training, in the order a person meets them.

Names are those of diffusers' training scripts and of peft; where those have none, of kohya's sd-scripts. The table in
`docs/training.md` is made of the texts here; which options go together is in `training_rules.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from daemon.protocol.fields import Count, Name, NotNegative, Path_, Pixels, PlaceholderToken, Positive, Prompt, Seed, Spec

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
    """Of every draw of the training: images, crops, noise, timesteps, the adapter's first weights. Equal seeds, equal weights."""

    # What is learned.
    method: Literal["lora", "textual_inversion"] = "lora"
    """`textual_inversion` learns the embedding of `placeholder_token` in both text encoders instead of an adapter."""
    peft_type: Literal["lora", "loha", "lokr"] = "lora"
    """LoRA (Hu et al., 2021), or peft's LoHa and LoKr: products of Hadamard or Kronecker (LyCORIS, 2023)."""
    rank: Annotated[int, Meta(ge=1, le=1024)] = 4
    """Of the adapter's matrices: its size and its reach."""
    lora_alpha: Positive | None = None
    """The adapter acts with alpha / rank. None: alpha = rank."""
    lora_dropout: Probability = 0.0
    """Share of the adapter's inputs that are zeroed while training."""
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
    placeholder_token: PlaceholderToken = "<wrong>"  # noqa: S105
    """Textual inversion: the new token whose embedding is learned. An `instance_prompt` that does not hold it is replaced by it alone;
    other captions without it get it in front."""
    initializer_token: Annotated[str, Meta(min_length=1, max_length=100)] = "bad"  # noqa: S105
    """Textual inversion: the words whose embeddings it begins as, over and over where they are fewer than `num_vectors`."""
    num_vectors: Annotated[int, Meta(ge=1, le=32)] = 4
    """Textual inversion: how many embeddings the token stands for."""

    # Data.
    instance_prompt: Prompt = "wrong"
    """The caption of every image that has none of its own: the trigger of the adapter."""
    instance_data_dir: Path_ | None = None
    """A folder of images to train on, absolute or below the session folder. None: the session's `dataset/`."""
    captions: Literal["instance_prompt", "txt", "metadata", "manifest"] = "instance_prompt"
    """Where captions come from. `txt`: a file of the image's name beside it; `metadata`: `metadata.jsonl` (`file_name`, `text`);
    `manifest`: the prompt it was painted with. An image without one takes `instance_prompt`."""
    caption_dropout: Probability = 0.0
    """Share of the draws that are trained without a caption."""
    resolution: Pixels = 1024
    """Side of the squares that are trained on, in pixels; SDXL knows 1024."""
    aspect_ratio_buckets: bool = False
    """Sizes of about `resolution`^2 pixels that fit the images, instead of squares cut out of them."""
    bucket_step: Annotated[int, Meta(ge=8, le=256, multiple_of=8)] = 64
    """Sides of buckets are multiples of this many pixels."""
    center_crop: bool = True
    """Cut squares out of the middle. False: a random crop, a fresh one each epoch."""
    random_flip: bool = False
    """Left and right exchanged in half of the draws, afresh each epoch."""
    repeats: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """How often an epoch shows each instance image."""
    validation_images: Annotated[int, Meta(ge=0, le=1000)] = 0
    """So many images are never trained on: the held-out loss is measured on them. 0: it is measured on trained ones, with fixed draws."""

    # Preservation of what the model knows.
    with_prior_preservation: bool = False
    """Train on images of the class too, so that the adapter does not change all of it (Ruiz et al., 2022)."""
    class_prompt: Prompt = ""
    """Caption of the class images, e.g. `a toy`."""
    class_data_dir: Path_ | None = None
    """Their folder. None: `class_images/` of the session; what is missing is painted."""
    num_class_images: Count = 100
    """How many of them are trained on."""
    prior_loss_weight: NotNegative = 1.0
    """Weight of their loss beside that of the instance images."""
    preservation_weight: NotNegative = 0.0
    """Weight of keeping the adapter inert for `preservation_prompts`: the prediction with the adapter off is the target."""
    preservation_prompts: Prompts = ()
    """Prompts for which the adapter is kept inert. Empty: no caption, and the class prompt where there is one."""

    # Loss.
    snr_gamma: Positive | None = None
    """Min-SNR weighting (Hang et al., 2023); 5 is advised. None: every timestep weighs the same."""
    noise_offset: NotNegative = 0.0
    """Noise added to whole channels, for darker and brighter pictures; 0.05 to 0.1 is common."""
    timestep_sampling: Literal["uniform", "logit_normal"] = "uniform"
    """How timesteps are drawn: all alike, or more from the middle (Esser et al., 2024)."""
    logit_mean: float = 0.0
    """Logit-normal: below 0 for less noise, above for more."""
    logit_std: Positive = 1.0
    """Logit-normal: how far the timesteps spread."""
    min_timestep: Timestep = 0
    """The smallest timestep that is drawn; small ones are details."""
    max_timestep: Timestep = 1000
    """Timesteps are drawn from min_timestep <= t < max_timestep."""

    # Optimizer.
    optimizer: Literal["adamw", "adamw8bit", "prodigy", "schedulefree", "adafactor"] = "adamw"
    """`adamw8bit` saves memory on a GPU, `adafactor` everywhere; `prodigy` finds its rate, `schedulefree` needs no schedule."""
    learning_rate: Positive = 1e-4
    """Prodigy finds its own: 1 then."""
    text_encoder_lr: Positive | None = None
    """Rate of the text encoders' weights. None: as `learning_rate`."""
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"] = "constant"
    """How the rate goes from step to step, as diffusers has it."""
    lr_warmup_steps: Annotated[int, Meta(ge=0)] = 0
    """Optimizer steps in which the rate rises from 0; not with `constant`."""
    lr_num_cycles: Annotated[int, Meta(ge=1, le=1000)] = 1
    """How often `cosine_with_restarts` begins again."""
    lr_power: Positive = 1.0
    """Exponent of `polynomial`; 1 is a straight line."""
    max_train_steps: Count = 500
    """Optimizer steps of the whole training."""
    train_batch_size: Annotated[int, Meta(ge=1, le=256)] = 1
    """Images that go through the model at once."""
    gradient_accumulation_steps: Annotated[int, Meta(ge=1, le=1024)] = 4
    """Batches of one optimizer step: as one batch of so many times the size, in the memory of one."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this L2 norm where it is longer."""
    adam_beta1: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.9
    """Decay of the gradients' average; with `schedulefree` the weight of the weights' average."""
    adam_beta2: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.999
    """Decay of the squared gradients' average."""
    adam_weight_decay: NotNegative = 1e-4
    """Decoupled weight decay, of every optimizer."""
    adam_epsilon: Positive = 1e-8
    """Added to the denominator."""
    ema_decay: Decay = 0.0
    """Of a moving average of the adapter, which then is what is saved; 0: none."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, about a third slower."""
    torch_compile: bool = False
    """Compile the UNet for one fixed size: minutes at the start, faster steps on a GPU."""
    num_processes: Annotated[int, Meta(ge=1, le=64)] = 1
    """So many processes share the batches of every step, each on a GPU of its own (on the CPU: on its share of the threads)."""

    # While it runs.
    checkpointing_steps: Count = 100
    """A checkpoint every so many steps; the last two and the best one are kept."""
    export_steps: Interval = 0
    """Keep the adapter as it is (the EMA's weights where there is one) every so many steps, as `adapters/<output_name>/step-000100/`, for
    arms over time. They come with the finished adapter, whose weights they leave alone."""
    validation_steps: Interval = 0
    """Held-out loss, separation and leak every so many steps."""
    sample_steps: Interval = 0
    """Pictures from the live weights every so many steps, in the arms baseline, placebo and target."""
    sample_prompts: Prompts = ()
    """What the pictures show."""
    sample_seed: Seed = 0
    """Of the pictures' noise, the same every time."""
    sample_num_inference_steps: Annotated[int, Meta(ge=1, le=1000)] = 25
    """Denoising steps of a picture."""
    sample_guidance_scale: Annotated[float, Meta(ge=0.0, le=100.0)] = 7.5
    """Classifier-free guidance of the pictures."""
    early_stopping: bool = False
    """End when the held-out loss has not fallen for `early_stopping_patience` measurements, and keep the best weights."""
    early_stopping_patience: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Measurements without a new lowest loss that are waited for."""
    report_to: Annotated[tuple[Literal["tensorboard", "trackio"], ...], Meta(max_length=2)] = ()
    """Curves also as these tools read them, below `metrics/`."""


def exported_steps(spec: TrainingSpec) -> tuple[int, ...]:
    """The steps whose adapter a whole training keeps beside the finished one."""
    return tuple(range(spec.export_steps, spec.max_train_steps + 1, spec.export_steps)) if spec.export_steps else ()
