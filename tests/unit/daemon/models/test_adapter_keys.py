from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.models.adapter_keys import COMPONENTS, component_of, kohya_layers, kohya_name, kohya_names

ATTENTION = "transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (f"unet.down_blocks.1.attentions.0.{ATTENTION}", "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"),
        (f"unet.down_blocks.2.attentions.1.{ATTENTION}", "lora_unet_input_blocks_8_1_transformer_blocks_0_attn1_to_q"),
        ("unet.mid_block.attentions.0.proj_in", "lora_unet_middle_block_1_proj_in"),
        ("unet.mid_block.resnets.0.conv1", "lora_unet_middle_block_0_in_layers_2"),
        ("unet.mid_block.resnets.1.conv2", "lora_unet_middle_block_2_out_layers_3"),
        (f"unet.up_blocks.0.attentions.2.{ATTENTION}", "lora_unet_output_blocks_2_1_transformer_blocks_0_attn1_to_q"),
        ("unet.up_blocks.1.resnets.0.conv_shortcut", "lora_unet_output_blocks_3_0_skip_connection"),
        ("unet.down_blocks.0.resnets.1.time_emb_proj", "lora_unet_input_blocks_2_0_emb_layers_1"),
        ("unet.down_blocks.0.downsamplers.0.conv", "lora_unet_input_blocks_3_0_op"),
        ("unet.up_blocks.0.upsamplers.0.conv", "lora_unet_output_blocks_2_2_conv"),
        ("unet.conv_in", "lora_unet_input_blocks_0_0"),
        ("unet.add_embedding.linear_2", "lora_unet_label_emb_0_2"),
        ("text_encoder.text_model.encoder.layers.3.self_attn.q_proj", "lora_te1_text_model_encoder_layers_3_self_attn_q_proj"),
        ("text_encoder_2.text_model.encoder.layers.31.mlp.fc1", "lora_te2_text_model_encoder_layers_31_mlp_fc1"),
    ],
)  # fmt: skip
def test_layers_of_sdxl_are_named_as_sd_scripts_names_them(layer: str, name: str) -> None:
    assert kohya_name(layer, layers_per_block=2) == name
    assert kohya_layers([layer], 2)[name] == layer


def test_the_other_spelling_keeps_the_names_of_diffusers() -> None:
    layer = f"unet.up_blocks.1.attentions.2.{ATTENTION}"
    assert kohya_names(layer, 2)[-1] == "lora_unet_up_blocks_1_attentions_2_transformer_blocks_0_attn1_to_q"
    assert kohya_layers([layer], 2)[kohya_names(layer, 2)[-1]] == layer


@given(
    st.lists(
        st.tuples(st.sampled_from(["down", "up"]), st.integers(0, 3), st.sampled_from(["resnets", "attentions"]), st.integers(0, 2)),
        unique=True,
    )
)
def test_no_two_layers_share_a_name(places: list[tuple[str, int, str, int]]) -> None:
    # A down block has two of each, an up block one more.
    layers = [f"unet.{side}_blocks.{block}.{kind}.{number}.x" for side, block, kind, number in places if side == "up" or number < 2]
    assert len({kohya_name(layer, 2) for layer in layers}) == len(layers)
    assert set(kohya_layers(layers, 2).values()) == set(layers)


def test_components() -> None:
    assert [component_of(f"{component}.a.b") for component in COMPONENTS] == list(COMPONENTS)
