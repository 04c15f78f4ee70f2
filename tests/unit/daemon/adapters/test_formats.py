import torch

from daemon.adapters.formats import from_diffusers, tensors_sha256, to_diffusers, to_kohya
from daemon.adapters.tensors import to_bytes

LAYER = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
WEIGHTS = {
    f"{LAYER}.lora_A.weight": torch.arange(6.0).view(2, 3),
    f"{LAYER}.lora_B.weight": torch.ones(3, 2),
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 3),
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight": torch.ones(3, 2),
}


def test_diffusers_keys_and_back() -> None:
    found = to_diffusers(WEIGHTS)
    assert f"{LAYER}.lora.down.weight" in found
    assert from_diffusers(found).keys() == WEIGHTS.keys()
    assert all(torch.equal(weight, WEIGHTS[name]) for name, weight in from_diffusers(found).items())


def test_kohya_keys_with_alphas() -> None:
    found = to_kohya(WEIGHTS, 2, 5.0, 1)
    names = [name for name in found if name.startswith("lora_unet_")]
    assert sorted(name.partition(".")[2] for name in names) == ["alpha", "lora_down.weight", "lora_up.weight"]
    assert {float(weight) for name, weight in found.items() if name.endswith(".alpha")} == {5.0}
    assert any(name.startswith("lora_te1_") for name in found)


def test_the_scale_of_a_whole_lokr_is_in_its_first_factor() -> None:
    whole = {f"{LAYER}.lokr_w1": torch.ones(2, 2), f"{LAYER}.lokr_w2": torch.ones(3, 3)}
    found = to_kohya(whole, 2, 6.0, 1)
    first = next(weight for name, weight in found.items() if name.endswith("lokr_w1"))
    alpha = next(weight for name, weight in found.items() if name.endswith(".alpha"))
    assert torch.equal(first, torch.full((2, 2), 3.0))
    assert float(alpha) == 2.0


def test_the_hash_is_that_of_what_follows_the_header() -> None:
    content = to_bytes(WEIGHTS, {"any": "header"})
    import hashlib

    begin = 8 + int.from_bytes(content[:8], "little")
    assert tensors_sha256(WEIGHTS) == hashlib.sha256(content[begin:]).hexdigest()
