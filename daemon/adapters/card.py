"""What model cards of all adapters have in common: READMEs as the hub reads them. Free of torch; nothing of dates, people or places."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from daemon.adapters.headers import is_hub_id

LOAD_LORA_WEIGHTS = 'pipeline.load_lora_weights("FOLDER_OF_THIS_FILE", weight_name="pytorch_lora_weights.safetensors")'
"""How diffusers loads a LoRA; it takes neither LoHa nor LoKr."""
_PIPELINE = """import torch
from diffusers import StableDiffusionXLPipeline

pipeline = StableDiffusionXLPipeline.from_pretrained("BASE_MODEL", torch_dtype=torch.float16).to("cuda")
"""


def join(*sections: str) -> str:
    """A card's text of its sections."""
    return "\n\n".join(section.strip() for section in sections) + "\n"


def front_matter(base: str, instance_prompt: str, *, is_lora: bool) -> str:
    """What the hub reads. The licence is the reader's to choose."""
    tags = ["text-to-image", "stable-diffusion-xl", "diffusers", *(("lora", "template:sd-lora") if is_lora else ("textual_inversion",))]
    lines = [
        f"base_model: {base}" if is_hub_id(base) else "# base_model: the hub id of the base it was trained on",
        f"instance_prompt: {json.dumps(instance_prompt, ensure_ascii=False)}",
        "# license: yours to choose; the base model's own may bind you",
        "tags:",
        *(f"- {tag}" for tag in tags),
    ]
    return "\n".join(["---", *lines, "---"])


def lora_use(name: str, words: str, *, load: str = LOAD_LORA_WEIGHTS, strength_clip: int = 0, remark: str = "") -> str:
    """How to use `name` as a negative LoRA under `words`; `load` are the lines of Python that put it on `pipeline`."""
    lines = f'{_PIPELINE}{load}\nimage = pipeline("a photo of a wolf", negative_prompt={words!r}, guidance_scale=7.5).images[0]'
    return f"""## As a negative LoRA

diffusers:

{code("python", lines)}

ComfyUI: put `{name}_kohya.safetensors` into `models/loras`, add it with *Load LoRA* (strength_model 1,
strength_clip {strength_clip}), and write `{words}` into the negative prompt.{remark}

A1111 and its kin: put the same file into `models/Lora`, write `<lora:{name}_kohya:1>` anywhere in the prompt,
and `{words}` into the negative prompt.

A subject or style is asked for the other way round: the same file, the words in the prompt."""


def files(sha256s: Mapping[str, str], remark: str) -> str:
    """The weight files beside the card."""
    return "## Files\n\n" + table(("file", "sha256"), [(f"`{name}`", f"`{sha256}`") for name, sha256 in sha256s.items()]) + f"\n\n{remark}"


def code(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.strip()}\n```"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table; bars in cells are escaped."""
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
