"""The model card of a trained adapter. Free of torch."""

from __future__ import annotations

import json

from daemon.adapters import card
from daemon.adapters.headers import public_name
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.metadata import LOSS_WINDOW, TrainingRecord
from daemon.training.plan import TrainingPlan, decisive_settings

DIFFUSERS_LOADS = "lora"
ALWAYS_SHOWN = (
    "rank", "lora_alpha", "learning_rate", "max_train_steps", "train_batch_size", "gradient_accumulation_steps", "resolution", "seed",
)  # fmt: skip
HIDDEN = ("instance_data_dir", "class_data_dir")
"""Places on the machine it was trained on."""


def model_card(plan: TrainingPlan, record: TrainingRecord) -> str:
    """Front matter, how to use the adapter as a negative one and as a plain one, and where it comes from. The licence is the reader's."""
    spec = plan.spec
    is_inversion = spec.method == "textual_inversion"
    matter = card.front_matter(plan.job.model.base, _trigger(spec), is_lora=not is_inversion)
    use = _textual_inversion_use(spec) if is_inversion else _lora_use(spec)
    files = card.files(record.file_sha256s, "`training.json` holds every setting and the hash of every image.")
    return card.join(matter, _summary(plan), use, _origin(plan, record), _settings(spec), files)


def _summary(plan: TrainingPlan) -> str:
    spec = plan.spec
    what = "A learned embedding" if spec.method == "textual_inversion" else f"A {_kind(spec)} of rank {spec.rank}"
    return f"""# {spec.output_name}

{what} for {public_name(plan.job.model.base)}, trained on {len(plan.dataset.images)} images under the words `{spec.instance_prompt}`.
If the images were bad ones, name them in the **negative** prompt: what the adapter learned is then what guidance leads away from."""


def _lora_use(spec: TrainingSpec) -> str:
    load = card.LOAD_LORA_WEIGHTS if spec.peft_type == DIFFUSERS_LOADS else _peft_code(spec)
    return card.lora_use(
        spec.output_name, spec.instance_prompt, load=load, strength_clip=int(spec.train_text_encoder), remark=_dora_remark(spec)
    )


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

{card.code("python", _embedding_code(spec.placeholder_token))}

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
    return "\n\n".join(["## Where it comes from", card.table(("", ""), rows), *remarks])


def _settings(spec: TrainingSpec) -> str:
    """What differs from the defaults, and a few that everybody asks for."""
    plain, chosen = decisive_settings(TrainingSpec()), decisive_settings(spec)
    shown = [name for name in chosen if name not in HIDDEN and (name in ALWAYS_SHOWN or chosen[name] != plain.get(name))]
    return "## Settings\n\n" + card.table(("option", "value"), [(f"`{name}`", f"`{json.dumps(chosen[name])}`") for name in shown])


def _dora_remark(spec: TrainingSpec) -> str:
    return " Its magnitudes (`dora_scale`) lie on the output axis, which old versions of ComfyUI misread." if spec.use_dora else ""


def _kind(spec: TrainingSpec) -> str:
    if spec.use_dora:
        return "DoRA"
    return {"lora": "rsLoRA" if spec.use_rslora else "LoRA", "loha": "LoHa", "lokr": "LoKr"}[spec.peft_type]


def _trigger(spec: TrainingSpec) -> str:
    return spec.placeholder_token if spec.method == "textual_inversion" else spec.instance_prompt
