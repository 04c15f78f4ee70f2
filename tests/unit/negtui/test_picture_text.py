"""What picture files say, whoever wrote them."""

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from negtui.picture_text import Parameters, parse_parameters, read_parameters, read_request, told_by


def picture(**texts: str) -> io.BytesIO:
    chunks = PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=chunks)
    return buffer


WEB_UI = """a cat, (best quality:1.2)
in two lines
Negative prompt: blurry,
ugly
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x768, Lora hashes: "one: 12ab, two: 34cd", Clip skip: 2"""


def test_the_web_ui_s_own_settings_are_read() -> None:
    found = read_parameters(picture(parameters=WEB_UI))
    assert found == Parameters(
        prompt="a cat, (best quality:1.2)\nin two lines",
        negative_prompt="blurry,\nugly",
        settings={
            "Steps": "20",
            "Sampler": "Euler a",
            "CFG scale": "7",
            "Seed": "965400086",
            "Size": "512x768",
            "Lora hashes": "one: 12ab, two: 34cd",
            "Clip skip": "2",
        },
    )
    assert told_by(picture(parameters=WEB_UI))["Seed"] == "965400086"


def test_a_last_line_that_is_no_settings_belongs_to_the_prompt() -> None:
    assert parse_parameters("a cat\nmood: dark").prompt == "a cat\nmood: dark"
    assert parse_parameters("").prompt == ""


def test_a_picture_that_says_nothing_or_something_else() -> None:
    assert read_parameters(picture()) is None
    assert read_request(picture(request="{}")) is None
    assert read_request(picture(request="\x00\xff")) is None
    assert told_by(picture()) == {}
    assert told_by(picture(Title="a sheet", Description="two\nlines")) == {"Title": "a sheet", "Description": "two\nlines"}
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
    assert told_by(jpeg) == {}
