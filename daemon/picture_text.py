"""What a picture says of itself in its PNG's text chunks, for negtui and for other programs. Torch-free, a function of the request alone.

| chunk | read by |
|---|---|
| `parameters` | AUTOMATIC1111's web UI and its kin, Civitai, most picture tools |
| `prompt` | ComfyUI: the graph in API form, opened when the picture is dropped on it |
| `request` | negtui: the whole `ImageRequest`, whose hash is the picture's id (`negtui/picture_text.py`) |

What the first two cannot say is in `request` only: `docs/pictures.md` lists it.
"""

from __future__ import annotations

import json

import msgspec

from daemon.comfy_graph import comfy_graph
from daemon.prompts.translation import translate_weights
from daemon.protocol.specs import ImageRequest

HASH_DIGITS = 10
"""Other programs name files by so many digits of their sha256."""


def picture_text(request: ImageRequest) -> dict[str, str]:
    """The text chunks of a picture by name. The same request gives the same text."""
    return {
        "parameters": a1111_parameters(request),
        "prompt": json.dumps(comfy_graph(request), separators=(",", ":")),
        "request": msgspec.json.encode(request, order="sorted").decode(),
    }


def a1111_parameters(request: ImageRequest) -> str:
    """The settings as AUTOMATIC1111's web UI writes them: the prompt, the negative prompt, a line of the rest.

    A LoRA of both branches stands in the prompt as `<lora:NAME:WEIGHT>`, that being the only way the web UI knows; NAME is its
    file's hash. One that acts otherwise in one branch cannot be said there.
    """
    both = [use for use in request.adapters if use.weights[0] == use.weights[1]]
    loras = [f"<lora:{use.sha256[:HASH_DIGITS]}:{use.weight:g}>" for use in both]
    lines = [" ".join([_one_line(request.prompt), *loras])]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {_one_line(request.negative_prompt)}")
    fields = {
        "Steps": str(request.num_inference_steps),
        "CFG scale": f"{request.guidance_scale:g}",
        "Seed": str(request.seed),
        "Size": f"{request.width}x{request.height}",
        "Model hash": request.base_sha256[:HASH_DIGITS],
    }
    if request.vae_sha256 is not None:
        fields["VAE hash"] = request.vae_sha256[:HASH_DIGITS]
    if request.refiner_sha256 is not None:
        fields |= {"Refiner": request.refiner_sha256[:HASH_DIGITS], "Refiner switch at": f"{request.denoising_split:g}"}
    fields |= {"Version": "negtui"}
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in fields.items()) + _hashes(request)])


def _hashes(request: ImageRequest) -> str:
    """`, Hashes: {...}` as Civitai reads it; at the end, for the web UI's own parser takes it for several fields."""
    hashes = {"model": request.base_sha256}
    hashes |= {f"lora:{use.sha256[:HASH_DIGITS]}": use.sha256 for use in request.adapters}
    hashes |= {f"embed:{one.placeholder_token}": one.sha256 for one in request.embeddings or ()}
    return f", Hashes: {json.dumps({name: sha256[:HASH_DIGITS] for name, sha256 in hashes.items()})}"


def _one_line(prompt: str) -> str:
    """Weights translated; no line that could be taken for another part; brackets that the web UI would read escaped."""
    said = " ".join(translate_weights(prompt).split())
    return said.replace("[", "\\[").replace("]", "\\]")
