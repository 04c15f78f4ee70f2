"""A picture's request as a graph of ComfyUI's own nodes, in API form: what ComfyUI opens when a picture is dropped on it.

It says what would be painted, not the same pixels: ComfyUI draws its noise and spaces its steps otherwise. Files are named by the
first ten digits of their hash, to be chosen anew by whoever has them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from daemon.prompts.translation import translate_weights
from daemon.protocol.specs import ImageRequest

Link = list[str | int]
"""[node, output]"""
AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5
"""The refiner's, as in diffusers' pipeline."""


def comfy_graph(request: ImageRequest) -> dict[str, dict[str, Any]]:
    """Nodes by number: checkpoint, LoRAs on the UNet, prompts, sampler (two where the refiner takes over), decoder."""
    graph = _Graph()
    base = graph.add("CheckpointLoaderSimple", ckpt_name=_file(request.base_sha256))
    model: Link = [base, 0]
    for use in request.adapters:
        if use.weights[0] == use.weights[1]:
            model = [graph.add("LoraLoaderModelOnly", model=model, lora_name=_file(use.sha256), strength_model=use.weight), 0]
    positive: Link = [graph.add("CLIPTextEncode", text=_words(request, request.prompt), clip=[base, 1]), 0]
    if request.negative_prompt is None:
        negative: Link = [graph.add("ConditioningZeroOut", conditioning=positive), 0]
    else:
        negative = [graph.add("CLIPTextEncode", text=_words(request, request.negative_prompt), clip=[base, 1]), 0]
    positive, negative = (_hooked(graph, request, branch, conditioning) for branch, conditioning in enumerate((positive, negative)))
    latents: Link = [graph.add("EmptyLatentImage", width=request.width, height=request.height, batch_size=1), 0]
    vae: Link = [base, 2]
    if request.vae_sha256 is not None:
        vae = [graph.add("VAELoader", vae_name=_file(request.vae_sha256)), 0]
    if request.refiner_sha256 is None or request.denoising_split is None:
        sampled = graph.add("KSampler", **_sampling(request, "seed", model, positive, negative, latents), denoise=1.0)
    else:
        sampled = _refined(graph, request, model, positive, negative, latents)
    graph.add("SaveImage", images=[graph.add("VAEDecode", samples=[sampled, 0], vae=vae), 0], filename_prefix="negtui")
    return graph.nodes


class _Graph:
    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}

    def add(self, class_type: str, **inputs: Any) -> str:
        name = str(len(self.nodes) + 1)
        self.nodes[name] = {"class_type": class_type, "inputs": inputs}
        return name


def _hooked(graph: _Graph, request: ImageRequest, branch: int, conditioning: Link) -> Link:
    """The conditioning of a branch (0: positive, 1: negative) with the LoRAs that act in it alone, or otherwise than in the other."""
    hooks: dict[str, Link] = {}
    for use in request.adapters:
        if use.weights[0] != use.weights[1] and use.weights[branch] != 0:
            strength = use.weights[branch]
            hooks = {"prev_hooks": [graph.add("CreateHookLoraModelOnly", lora_name=_file(use.sha256), strength_model=strength, **hooks), 0]}
    if not hooks:
        return conditioning
    properties = {"strength": 1.0, "set_cond_area": "default", "opt_hooks": hooks["prev_hooks"]}
    return [graph.add("ConditioningSetProperties", cond_NEW=conditioning, **properties), 0]


def _refined(graph: _Graph, request: ImageRequest, model: Link, positive: Link, negative: Link, latents: Link) -> str:
    """Base to the split with the noise left in, refiner from there on, without LoRAs; returns the last sampler."""
    split = round(request.num_inference_steps * (request.denoising_split or 1.0))
    first = graph.add(
        "KSamplerAdvanced",
        **_sampling(request, "noise_seed", model, positive, negative, latents),
        add_noise="enable",
        start_at_step=0,
        end_at_step=split,
        return_with_leftover_noise="enable",
    )
    refiner = graph.add("CheckpointLoaderSimple", ckpt_name=_file(request.refiner_sha256 or ""))
    told = request.negative_prompt if request.refiner_negative_prompt is msgspec.UNSET else request.refiner_negative_prompt
    words = (_words(request, request.prompt), _words(request, told or ""))
    scores = (AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE)
    refining: list[Link] = [
        [
            graph.add("CLIPTextEncodeSDXLRefiner", ascore=score, width=request.width, height=request.height, text=text, clip=[refiner, 1]),
            0,
        ]
        for score, text in zip(scores, words, strict=True)
    ]
    return graph.add(
        "KSamplerAdvanced",
        **_sampling(request, "noise_seed", [refiner, 0], refining[0], refining[1], [first, 0]),
        add_noise="disable",
        start_at_step=split,
        end_at_step=request.num_inference_steps,
        return_with_leftover_noise="disable",
    )


def _sampling(request: ImageRequest, seed: str, model: Link, positive: Link, negative: Link, latents: Link) -> dict[str, Any]:
    # SDXL's published scheduler is diffusers' Euler; "normal" is what ComfyUI has nearest to its spacing.
    return {
        seed: request.seed,
        "steps": request.num_inference_steps,
        "cfg": request.guidance_scale,
        "sampler_name": "euler",
        "scheduler": "normal",
        "model": model,
        "positive": positive,
        "negative": negative,
        "latent_image": latents,
    }


def _words(request: ImageRequest, prompt: str) -> str:
    """A prompt as ComfyUI reads it: weights behind a colon, learned embeddings by their file."""
    said = translate_weights(prompt)
    for one in request.embeddings or ():
        said = said.replace(one.placeholder_token, f"embedding:{_file(one.sha256)}")
    return said


def _file(sha256: str) -> str:
    return f"{sha256[:10]}.safetensors"
