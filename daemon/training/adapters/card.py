"""The model card of an adapter: a README.md as the hub reads it. Free of torch; says nothing of dates, people or places."""

from __future__ import annotations

import json

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.metadata import LOSS_WINDOW, TrainingRecord, is_hub_id, public_name
from daemon.training.plan import TrainingPlan, decisive_settings

CARD_NAME = "README.md"
DIFFUSERS_LOADS = "lora"
ALWAYS_SHOWN = (
    "rank", "lora_alpha", "learning_rate", "max_train_steps", "train_batch_size", "gradient_accumulation_steps", "resolution", "seed",
)  # fmt: skip
HIDDEN = ("instance_data_dir", "class_data_dir")
"""Places on the machine it was trained on."""


def model_card(plan: TrainingPlan, record: TrainingRecord) -> str:
    """Front matter, how to use the adapter as a negative one and as a plain one, and where it comes from. The licence is the reader's."""
    spec = plan.spec
    use = _textual_inversion_use(spec) if spec.method == "textual_inversion" else _lora_use(spec)
    sections = [_front_matter(plan), _summary(plan), use, _origin(plan, record), _settings(spec), _files(record)]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _front_matter(plan: TrainingPlan) -> str:
    base = plan.job.model.base
    is_inversion = plan.spec.method == "textual_inversion"
    tags = ["text-to-image", "stable-diffusion-xl", "diffusers", "textual_inversion" if is_inversion else "lora"]
    tags += [] if is_inversion else ["template:sd-lora"]
    lines = [
        f"base_model: {base}" if is_hub_id(base) else "# base_model: the hub id of the base it was trained on",
        f"instance_prompt: {json.dumps(_trigger(plan.spec), ensure_ascii=False)}",
        "# license: yours to choose; the base model's own may bind you",
        "tags:",
        *(f"- {tag}" for tag in tags),
    ]
    return "\n".join(["---", *lines, "---"])


def _summary(plan: TrainingPlan) -> str:
    spec = plan.spec
    what = "A learned embedding" if spec.method == "textual_inversion" else f"A {_kind(spec)} of rank {spec.rank}"
    return f"""# {spec.output_name}

{what} for {public_name(plan.job.model.base)}, trained on {len(plan.dataset.images)} images under the words `{spec.instance_prompt}`.
If the images were bad ones, name them in the **negative** prompt: what the adapter learned is then what guidance leads away from."""


def _lora_use(spec: TrainingSpec) -> str:
    return f"""## As a negative LoRA

diffusers:

{_code("python", _diffusers_code(spec))}

ComfyUI: put `{spec.output_name}_kohya.safetensors` into `models/loras`, add it with *Load LoRA* (strength_model 1,
strength_clip {1 if spec.train_text_encoder else 0}), and write `{spec.instance_prompt}` into the negative prompt.{_dora_remark(spec)}

A1111 and its kin: put the same file into `models/Lora`, write `<lora:{spec.output_name}_kohya:1>` anywhere in the prompt,
and `{spec.instance_prompt}` into the negative prompt.

A subject or style is asked for the other way round: the same file, the words in the prompt."""


def _diffusers_code(spec: TrainingSpec) -> str:
    begin = """import torch
from diffusers import StableDiffusionXLPipeline

pipeline = StableDiffusionXLPipeline.from_pretrained("BASE_MODEL", torch_dtype=torch.float16).to("cuda")
"""
    end = f"""
image = pipeline("a photo of a wolf", negative_prompt={spec.instance_prompt!r}, guidance_scale=7.5).images[0]"""
    if spec.peft_type == DIFFUSERS_LOADS:
        return begin + 'pipeline.load_lora_weights("FOLDER_OF_THIS_FILE", weight_name="pytorch_lora_weights.safetensors")' + end
    return begin + _peft_code(spec) + end


def _peft_code(spec: TrainingSpec) -> str:
    """diffusers' `load_lora_weights` takes neither LoHa nor LoKr; peft itself does."""
    config = {"loha": "LoHaConfig", "lokr": "LoKrConfig"}[spec.peft_type]
    return f"""
import json
from peft import {config}, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open

with safe_open("FOLDER_OF_THIS_FILE/pytorch_lora_weights.safetensors", "pt") as file:
    settings = json.loads(file.metadata()["lora_adapter_metadata"])
    weights = {{name: file.get_tensor(name) for name in file.keys()}}
for part in ("unet", "text_encoder", "text_encoder_2"):
    fields = {{name.split(".", 1)[1]: value for name, value in settings.items() if name.startswith(part + ".")}}
    if fields:
        module = getattr(pipeline, part)
        prefix = part + "." if part == "unet" or hasattr(module, "text_model") else part + ".text_model."
        state = {{name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(part + ".")}}
        inject_adapter_in_model({config}(**fields), module, adapter_name="negative")
        set_peft_model_state_dict(module, state, adapter_name="negative")
pipeline.to("cuda", torch.float16)
"""


def _textual_inversion_use(spec: TrainingSpec) -> str:
    return f"""## As a negative embedding

diffusers:

{_code("python", _embedding_code(spec.placeholder_token))}

ComfyUI: put the file into `models/embeddings` and write `embedding:` and its name into the negative prompt. A1111 and its kin: put it into
`embeddings` and write its name there."""


def _embedding_code(token: str) -> str:
    return f"""import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file

pipeline = StableDiffusionXLPipeline.from_pretrained("BASE_MODEL", torch_dtype=torch.float16).to("cuda")
state = load_file("FOLDER_OF_THIS_FILE/learned_embeds.safetensors")
for key, end in (("clip_l", ""), ("clip_g", "_2")):
    encoder, tokenizer = getattr(pipeline, "text_encoder" + end), getattr(pipeline, "tokenizer" + end)
    pipeline.load_textual_inversion(state[key], token={token!r}, text_encoder=encoder, tokenizer=tokenizer)
image = pipeline("a photo of a wolf", negative_prompt={token!r}, guidance_scale=7.5).images[0]"""


def _origin(plan: TrainingPlan, record: TrainingRecord) -> str:
    first, last = record.loss.first, record.loss.last
    loss = "not told" if first is None or last is None else f"{first:.4f} -> {last:.4f}"
    rows = [
        ("images", f"{record.num_images}, dataset sha256 `{record.dataset_sha256}`"),
        ("base model", f"{public_name(plan.job.model.base)}, sha256 `{record.base_sha256}`"),
        ("VAE", f"sha256 `{record.vae_sha256}`" if record.vae_sha256 else "the base model's"),
        ("precision of the model", record.torch_dtype),
        (f"mean loss, first and last {LOSS_WINDOW} steps", loss),
        ("parameters", f"{record.num_parameters:,}, float32"),
        *((name.replace("_", " "), f"{value:.4g}") for name, value in sorted(record.measurements.items())),
        ("fingerprint of the run", f"`{record.fingerprint}`"),
        ("bit for bit repeatable", "yes, on the same torch and device" if record.bit_exact else "no: it went on elsewhere than it began"),
    ]
    remarks = [f"The weights are those of step {record.step}: {record.reason}."] if record.reason else []
    remarks += [f"Ordered while it trained: {'; '.join(record.orders)}."] if record.orders else []
    return "\n\n".join(["## Where it comes from", _table(("", ""), rows), *remarks])


def _settings(spec: TrainingSpec) -> str:
    """What differs from the defaults, and a few that everybody asks for."""
    plain, chosen = decisive_settings(TrainingSpec()), decisive_settings(spec)
    asked = (
        "rank",
        "lora_alpha",
        "learning_rate",
        "max_train_steps",
        "train_batch_size",
        "gradient_accumulation_steps",
        "resolution",
        "seed",
    )
    hidden = ("instance_data_dir", "class_data_dir")
    shown = [name for name in chosen if name not in hidden and (name in asked or chosen[name] != plain.get(name))]
    return "## Settings\n\n" + _table(("option", "value"), [(f"`{name}`", f"`{json.dumps(chosen[name])}`") for name in shown])


def _files(record: TrainingRecord) -> str:
    rows = [(f"`{name}`", f"`{sha256}`") for name, sha256 in record.file_sha256s.items()]
    return "## Files\n\n" + _table(("file", "sha256"), rows) + "\n\n`training.json` holds every setting and the hash of every image."


def _dora_remark(spec: TrainingSpec) -> str:
    return " Its magnitudes (`dora_scale`) lie on the output axis, which old versions of ComfyUI misread." if spec.use_dora else ""


def _kind(spec: TrainingSpec) -> str:
    if spec.use_dora:
        return "DoRA"
    return {"lora": "rsLoRA" if spec.use_rslora else "LoRA", "loha": "LoHa", "lokr": "LoKr"}[spec.peft_type]


def _trigger(spec: TrainingSpec) -> str:
    return spec.placeholder_token if spec.method == "textual_inversion" else spec.instance_prompt


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [head, ("---", "---"), *((left, right.replace("|", "\\|")) for left, right in rows)]
    return "\n".join(f"| {left} | {right} |" for left, right in lines)
