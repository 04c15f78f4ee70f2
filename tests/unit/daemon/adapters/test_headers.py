import pytest

from daemon.adapters.headers import diffusers_header, is_hub_id, kohya_header, modelspec_prediction_type, public_name
from daemon.models.adapter_files import peft_settings_in

SETTINGS = {"unet": {"r": 4, "lora_alpha": 8.0, "target_modules": ["to_q"]}, "text_encoder": {"r": 2}}


def test_both_headers_tell_peft_and_the_origin() -> None:
    plain = diffusers_header(SETTINGS, {"fingerprint": "f"})
    kohya = kohya_header(SETTINGS, {"fingerprint": "f"}, "c" * 64, {"ss_network_dim": 4}, {"title": "mine"})
    assert peft_settings_in(plain) == peft_settings_in(kohya) == SETTINGS
    assert plain["negtui.fingerprint"] == kohya["negtui.fingerprint"] == "f"
    assert "lora_adapter_metadata" not in kohya, "diffusers takes alphas or this, not both"
    assert all(isinstance(value, str) for value in (*plain.values(), *kohya.values()))
    assert kohya["ss_network_dim"] == "4"
    assert (kohya["modelspec.title"], kohya["modelspec.hash_sha256"]) == ("mine", "0x" + "c" * 64)


def test_prediction_types_as_modelspec_spells_them() -> None:
    assert [modelspec_prediction_type(name) for name in ("v_prediction", "epsilon")] == ["v", "epsilon"]


@pytest.mark.parametrize(
    ("reference", "name", "is_hub"),
    [
        ("stabilityai/stable-diffusion-xl-base-1.0", "stabilityai/stable-diffusion-xl-base-1.0", True),
        ("toy", "toy", False),
        ("/home/me/models/mine.safetensors", "mine.safetensors", False),
        ("./models/mine", "mine", False),
        ("~/mine", "mine", False),
    ],
)
def test_places_on_this_machine_are_not_told(reference: str, name: str, is_hub: bool) -> None:
    assert public_name(reference) == name
    assert is_hub_id(reference) == is_hub
