"""The graph is one that ComfyUI takes: known nodes, all their inputs, links to outputs of the right kind."""

from typing import Any

import pytest
from painting import request

from daemon.comfy_graph import comfy_graph
from daemon.protocol.specs import AdapterRequest, EmbeddingRequest

SAMPLING = {"steps": int, "cfg": float, "sampler_name": str, "scheduler": str}
SAMPLED = {"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent_image": "LATENT"}
NODES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "CheckpointLoaderSimple": ({"ckpt_name": str}, ("MODEL", "CLIP", "VAE")),
    "LoraLoaderModelOnly": ({"model": "MODEL", "lora_name": str, "strength_model": float}, ("MODEL",)),
    "CreateHookLoraModelOnly": ({"lora_name": str, "strength_model": float, "prev_hooks": "HOOKS"}, ("HOOKS",)),
    "ConditioningSetProperties": (
        {"cond_NEW": "CONDITIONING", "strength": float, "set_cond_area": str, "opt_hooks": "HOOKS"},
        ("CONDITIONING",),
    ),
    "CLIPTextEncode": ({"text": str, "clip": "CLIP"}, ("CONDITIONING",)),
    "CLIPTextEncodeSDXLRefiner": ({"ascore": float, "width": int, "height": int, "text": str, "clip": "CLIP"}, ("CONDITIONING",)),
    "ConditioningZeroOut": ({"conditioning": "CONDITIONING"}, ("CONDITIONING",)),
    "EmptyLatentImage": ({"width": int, "height": int, "batch_size": int}, ("LATENT",)),
    "KSampler": ({"seed": int, **SAMPLING, **SAMPLED, "denoise": float}, ("LATENT",)),
    "KSamplerAdvanced": (
        {"add_noise": str, "noise_seed": int, **SAMPLING, **SAMPLED, "start_at_step": int, "end_at_step": int}
        | {"return_with_leftover_noise": str},
        ("LATENT",),
    ),
    "VAELoader": ({"vae_name": str}, ("VAE",)),
    "VAEDecode": ({"samples": "LATENT", "vae": "VAE"}, ("IMAGE",)),
    "SaveImage": ({"images": "IMAGE", "filename_prefix": str}, ()),
}
"""Inputs and outputs of ComfyUI's nodes.py and comfy_extras."""

OPTIONAL = {"prev_hooks"}
ADAPTERS = (AdapterRequest(sha256="ab" * 32, weight=1.0), AdapterRequest(sha256="cd" * 32, weight=-0.5))
APART = (
    AdapterRequest(sha256="ab" * 32, weight=0.0, negative_weight=1.0),
    AdapterRequest(sha256="cd" * 32, weight=0.5, negative_weight=-0.5),
)
REFINED = {"refiner_sha256": "4ef1" * 16, "denoising_split": 0.75}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"negative_prompt": ""},
        {"negative_prompt": "wrong", "adapters": ADAPTERS},
        {**REFINED, "negative_prompt": "wrong", "vae_sha256": "0ae0" * 16},
        {**REFINED, "adapters": ADAPTERS},
        {"negative_prompt": "wrong", "adapters": (*ADAPTERS, *APART)},
    ],
)
def test_every_node_is_known_and_every_link_fits(changes: dict[str, Any]) -> None:
    graph = comfy_graph(request(**changes))
    for number, node in graph.items():
        inputs, _ = NODES[node["class_type"]]
        assert inputs.keys() - OPTIONAL <= node["inputs"].keys() <= inputs.keys(), node
        for name, value in node["inputs"].items():
            kind = inputs[name]
            if isinstance(kind, type):
                assert isinstance(value, kind), (node, name)
            else:
                origin, output = value
                assert int(origin) < int(number)
                assert NODES[graph[origin]["class_type"]][1][output] == kind, (node, name)
    assert [node["class_type"] for node in graph.values()][-1] == "SaveImage"


def nodes(class_type: str, **changes: Any) -> list[dict[str, Any]]:
    return [node["inputs"] for node in comfy_graph(request(**changes)).values() if node["class_type"] == class_type]


def test_no_negative_prompt_and_an_empty_one_are_told_apart() -> None:
    assert len(nodes("ConditioningZeroOut")) == 1
    assert nodes("ConditioningZeroOut", negative_prompt="") == []
    assert [node["text"] for node in nodes("CLIPTextEncode", negative_prompt="")][1] == ""


def test_adapters_stand_one_behind_the_other_and_only_on_the_base() -> None:
    found = nodes("LoraLoaderModelOnly", adapters=ADAPTERS, **REFINED)
    assert [(one["lora_name"], one["strength_model"]) for one in found] == [
        ("ababababab.safetensors", 1.0),
        ("cdcdcdcdcd.safetensors", -0.5),
    ]
    assert found[1]["model"] != found[0]["model"]


def test_an_adapter_of_one_branch_hangs_on_that_branch_s_words() -> None:
    assert nodes("LoraLoaderModelOnly", adapters=APART) == []
    hooks = nodes("CreateHookLoraModelOnly", adapters=APART)
    assert [(one["lora_name"][:4], one["strength_model"], "prev_hooks" in one) for one in hooks] == [
        ("cdcd", 0.5, False),
        ("abab", 1.0, False),
        ("cdcd", -0.5, True),
    ]
    assert len(nodes("ConditioningSetProperties", adapters=APART[:1])) == 1


def test_the_refiner_is_told_what_it_was_told() -> None:
    texts = [
        [node["text"] for node in nodes("CLIPTextEncodeSDXLRefiner", negative_prompt="wrong", **REFINED, **shared)][1]
        for shared in ({}, {"refiner_negative_prompt": None}, {"refiner_negative_prompt": "ugly"})
    ]
    assert texts == ["wrong", "", "ugly"]


def test_the_refiner_takes_over_at_the_split_without_new_noise() -> None:
    base, refiner = nodes("KSamplerAdvanced", **REFINED)
    assert (base["start_at_step"], base["end_at_step"], refiner["start_at_step"], refiner["end_at_step"]) == (0, 3, 3, 4)
    assert (base["add_noise"], base["return_with_leftover_noise"], refiner["add_noise"]) == ("enable", "enable", "disable")
    assert [node["ascore"] for node in nodes("CLIPTextEncodeSDXLRefiner", **REFINED)] == [6.0, 2.5]


def test_weights_and_embeddings_are_written_as_comfyui_reads_them() -> None:
    use = EmbeddingRequest(sha256="e5" * 32, placeholder_token="<wrong>")
    texts = [node["text"] for node in nodes("CLIPTextEncode", prompt="a (hat)++", negative_prompt="(<wrong>)++", embeddings=(use,))]
    assert texts == ["a (hat:1.21)", "(embedding:e5e5e5e5e5.safetensors:1.21)"]
