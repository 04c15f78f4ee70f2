"""What a picture says of itself, read as other programs read it."""

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from painting import draw, request
from PIL import Image

from daemon.picture_text import picture_text
from daemon.pictures import encode_png
from daemon.protocol.specs import AdapterRequest, EmbeddingRequest
from negtui.picture_text import parse_parameters, read_parameters, read_request

WEB_UI_FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""How AUTOMATIC1111's web UI takes the last line apart (modules/infotext_utils.py)."""


@given(prompt=st.text(max_size=300), negative=st.none() | st.text(max_size=100))
def test_a_png_gives_back_the_request_it_was_painted_from(prompt: str, negative: str | None) -> None:
    asked = request(prompt=prompt, negative_prompt=negative, width=8, height=8)
    file = io.BytesIO(encode_png(draw(asked), picture_text(asked)))
    assert read_request(file) == asked
    found = read_parameters(file)
    assert found is not None
    assert found.settings["Steps"] == str(asked.num_inference_steps)
    assert found.settings["Seed"] == str(asked.seed)


def test_the_web_ui_finds_the_settings_where_it_looks() -> None:
    asked = request(
        prompt="a wolf, 狼, in (deep snow)++",
        negative_prompt="wrong",
        guidance_scale=13.0,
        seed=84061037,
        adapters=(AdapterRequest(sha256="ab12" * 16, weight=0.5),),
        refiner_sha256="4ef1" * 16,
        vae_sha256="0ae0" * 16,
        denoising_split=0.8,
    )
    with Image.open(io.BytesIO(encode_png(draw(asked), picture_text(asked)))) as image:
        text = image.text
    assert text["parameters"].split("\n") == [
        "a wolf, 狼, in (deep snow:1.21) <lora:ab12ab12ab:0.5>",
        "Negative prompt: wrong",
        "Steps: 4, CFG scale: 13, Seed: 84061037, Size: 64x64, Model hash: ba5eba5eba, VAE hash: 0ae00ae00a, Refiner: 4ef14ef14e, "
        'Refiner switch at: 0.8, Version: negtui, Hashes: {"model": "ba5eba5eba", "lora:ab12ab12ab": "ab12ab12ab"}',
    ]
    fields = dict(WEB_UI_FIELD.findall(text["parameters"].split("\n")[-1]))
    assert [fields[name] for name in ("Steps", "CFG scale", "Seed", "Size", "Model hash", "Refiner switch at")] == [
        *("4", "13", "84061037", "64x64", "ba5eba5eba", "0.8"),
    ]
    found = parse_parameters(text["parameters"])
    assert found.negative_prompt == "wrong"
    assert (found.settings["CFG scale"], found.settings["Size"]) == ("13", "64x64")
    assert json.loads(found.settings["Hashes"])["lora:ab12ab12ab"] == "ab12ab12ab"


@pytest.mark.parametrize("prompt", ["a\nNegative prompt: b", "a\nSteps: 9, Seed: 1, Size: 1x1, CFG scale: 2", 'say "Steps: 9, Seed: 1"'])
def test_a_prompt_is_never_taken_for_another_part(prompt: str) -> None:
    found = parse_parameters(picture_text(request(prompt=prompt))["parameters"])
    assert found.negative_prompt == ""
    assert found.prompt == " ".join(prompt.split())
    assert found.settings["Steps"] == "4"


def test_brackets_that_would_weaken_words_elsewhere_are_escaped() -> None:
    assert picture_text(request(prompt="a [red] hat"))["parameters"].startswith("a \\[red\\] hat\n")


def test_what_is_read_byte_by_byte_elsewhere_is_ascii() -> None:
    """ComfyUI takes the chunk for UTF-8, whatever its kind: only ASCII is the same in all of them."""
    content = encode_png(draw(request(prompt="Grüße, 狼")), picture_text(request(prompt="Grüße, 狼")))
    begin = content.index(b"tEXtprompt\0") + len(b"tEXtprompt\0")
    length = int.from_bytes(content[begin - 15 : begin - 11], "big") - len(b"prompt\0")
    graph = json.loads(content[begin : begin + length].decode("utf-8"))
    assert any(node["inputs"].get("text") == "Grüße, 狼" for node in graph.values())
    assert b"iTXtparameters\0" in content
    assert b"tEXtparameters\0" in encode_png(draw(request()), picture_text(request()))


def test_an_adapter_of_one_branch_is_named_but_not_asked_of_the_web_ui() -> None:
    use = AdapterRequest(sha256="ab" * 32, weight=0.0, negative_weight=1.0)
    text = picture_text(request(adapters=(use,)))["parameters"]
    assert "<lora:" not in text
    assert '"lora:ababababab"' in text


def test_an_embedding_is_named_by_its_file() -> None:
    asked = request(negative_prompt="(<wrong>)++", embeddings=(EmbeddingRequest(sha256="e5" * 32, placeholder_token="<wrong>"),))
    assert '"embed:<wrong>": "e5e5e5e5e5"' in picture_text(asked)["parameters"]
