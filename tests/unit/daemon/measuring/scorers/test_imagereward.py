"""ImageReward from its own names of tensors: the same score as both encoders and the head give by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_clip import pictures
from torch import Tensor
from transformers import BertTokenizerFast, BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from daemon.measuring.scorers.imagereward import CONFIG_FILE, MEAN, STD, WEIGHTS_FILE, load_imagereward
from daemon.protocol.errors import NegError

MED = {
    "architectures": ["BertModel"],
    "vocab_size": 14,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "add_cross_attention": True,
}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "two", "small", "green", "squares", "a", "red", "star")
PROMPTS = ("two small green squares", "a (red)1.4 star", "squares")


def parts() -> tuple[BlipVisionModel, BlipTextModel, dict[str, Tensor]]:
    torch.manual_seed(5)
    vision = BlipVisionModel(
        BlipVisionConfig(
            hidden_size=128,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
            layer_norm_eps=1e-6,
        )
    )
    told = {name: MED[name] for name in MED if name not in ("architectures", "type_vocab_size", "add_cross_attention")}
    text = BlipTextModel(BlipTextConfig(**told, encoder_hidden_size=128, is_decoder=True), add_pooling_layer=False)
    head = {}
    for number, (inputs, outputs) in {0: (32, 8), 2: (8, 4), 4: (4, 4), 6: (4, 2), 7: (2, 1)}.items():
        head |= {f"layers.{number}.weight": torch.randn(outputs, inputs), f"layers.{number}.bias": torch.randn(outputs)}
    with torch.no_grad():
        for parameter in (*vision.parameters(), *text.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vision.eval(), text.eval(), head


def as_published(vision: BlipVisionModel, text: BlipTextModel, head: dict[str, Tensor]) -> dict[str, Tensor]:
    """As ImageReward.pt names them, with what it holds beside."""
    state, found = vision.state_dict(), {}
    for name, own in (("cls_token", "class_embedding"), ("pos_embed", "position_embedding")):
        found[name] = state[f"embeddings.{own}"]
    for kind in ("weight", "bias"):
        found[f"patch_embed.proj.{kind}"] = state[f"embeddings.patch_embedding.{kind}"]
        found[f"norm.{kind}"] = state[f"post_layernorm.{kind}"]
        for number in range(2):
            layer, block = f"encoder.layers.{number}", f"blocks.{number}"
            found[f"{block}.norm1.{kind}"], found[f"{block}.norm2.{kind}"] = (
                state[f"{layer}.layer_norm1.{kind}"],
                state[f"{layer}.layer_norm2.{kind}"],
            )
            found[f"{block}.attn.qkv.{kind}"], found[f"{block}.attn.proj.{kind}"] = (
                state[f"{layer}.self_attn.qkv.{kind}"],
                state[f"{layer}.self_attn.projection.{kind}"],
            )
            found[f"{block}.mlp.fc1.{kind}"], found[f"{block}.mlp.fc2.{kind}"] = (
                state[f"{layer}.mlp.fc1.{kind}"],
                state[f"{layer}.mlp.fc2.{kind}"],
            )
    published = {f"blip.visual_encoder.{name}": tensor for name, tensor in found.items()}
    published |= {f"blip.text_encoder.{name}": tensor for name, tensor in text.state_dict().items()}
    published |= {f"mlp.{name}": tensor for name, tensor in head.items()}
    beside = {"blip.text_encoder.embeddings.position_ids": torch.arange(64)[None], "blip.vision_proj.weight": torch.ones(4, 128)}
    return {name: tensor.clone().contiguous() for name, tensor in (published | beside).items()}


def save(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps(MED))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def test_it_is_the_head_on_what_the_text_sees_in_the_picture(tmp_path: Path) -> None:
    vision, text, head = parts()
    folder = save(tmp_path / "imagereward", as_published(vision, text, head))
    words = ["two small green squares", "a red star", "squares"]
    tokens = BertTokenizerFast.from_pretrained(folder)(words, padding="max_length", max_length=35, return_tensors="pt")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    with torch.no_grad():
        seen = vision(pixel_values=processor(images=pictures(), return_tensors="pt")["pixel_values"]).last_hidden_state
        first = text(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], encoder_hidden_states=seen, use_cache=False
        ).last_hidden_state[:, 0]
        for number in (0, 2, 4, 6, 7):
            first = torch.nn.functional.linear(first, head[f"layers.{number}.weight"], head[f"layers.{number}.bias"])
    found = [values["imagereward"] for values in load_imagereward(folder)(pictures(), PROMPTS)]
    assert found == pytest.approx(((first[:, 0] - MEAN) / STD).tolist(), rel=1e-4)
    assert len(set(found)) == 3


def test_padding_does_not_matter(tmp_path: Path) -> None:
    """Words beside it in the batch are padded alike, and what is padded is not looked at."""
    measure = load_imagereward(save(tmp_path / "imagereward", as_published(*parts())))
    alone = [measure([image], [prompt])[0]["imagereward"] for image, prompt in zip(pictures(), PROMPTS, strict=True)]
    assert [values["imagereward"] for values in measure(pictures(), PROMPTS)] == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("left_out", ["blip.visual_encoder.blocks.1.attn.qkv.bias", "blip.text_encoder.embeddings.LayerNorm.bias"])
def test_a_model_that_lacks_a_tensor_is_refused(tmp_path: Path, left_out: str) -> None:
    tensors = as_published(*parts())
    folder = save(tmp_path / "imagereward", {name: tensor for name, tensor in tensors.items() if name != left_out})
    with pytest.raises(NegError, match="cannot be read"):
        load_imagereward(folder)
