"""Every prompt that a textual inversion trains on holds its placeholder; a LoRA's prompts stay as they are."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tiny_sdxl import make_session

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.placeholder import settled, with_placeholder
from daemon.training.data.dataset import read_dataset

INVERSION = TrainingSpec(method="textual_inversion", placeholder_token="<bad>")


@given(st.text(max_size=20) | st.sampled_from(["<bad>", "a photo of <bad>, blurry"]))
def test_every_caption_holds_the_placeholder_once_it_is_settled(caption: str) -> None:
    found = with_placeholder(caption, INVERSION)
    assert "<bad>" in found
    assert caption in found
    assert with_placeholder(found, INVERSION) == found
    assert with_placeholder(caption, TrainingSpec()) == caption


def test_the_instance_prompt_is_the_placeholder_unless_it_holds_it() -> None:
    assert settled(INVERSION).instance_prompt == "<bad>"
    own = TrainingSpec(method="textual_inversion", instance_prompt="a <wrong> photo")
    assert settled(own) is own
    assert settled(TrainingSpec()) == TrainingSpec()


def test_every_image_of_a_dataset_shows_the_placeholder(tmp_path: Path) -> None:
    folder = make_session(tmp_path, num_images=3) / "dataset"
    (folder / "0.txt").write_text("a blurry cat")
    (folder / "1.txt").write_text("a photo of <bad>")
    spec = msgspec.structs.replace(INVERSION, captions="txt", validation_images=1)
    dataset = read_dataset(tmp_path, settled(spec))
    captions = {image.path.name: image.caption for image in (*dataset.images, *dataset.held_out)}
    assert captions == {"0.png": "<bad>, a blurry cat", "1.png": "a photo of <bad>", "2.png": "<bad>"}
