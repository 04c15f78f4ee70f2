import contextlib
import os
import shutil
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRecord, ImageRequest
from daemon.training.data import dataset
from daemon.training.data.dataset import RefusedImage, crop_top_left, decode, fit, read_dataset, read_image, time_ids


def picture(seed: int = 0, width: int = 16, height: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def as_bytes(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "dataset"
    path.mkdir()
    picture(0).save(path / "a.png")
    picture(1, 20, 16).save(path / "b.png")
    return path


def manifest_line(name: str, status: str) -> bytes:
    request = ImageRequest(
        base_sha256="b", torch_dtype="float32", prompt="p", seed=0, guidance_scale=8, num_inference_steps=5, width=64, height=64
    )
    return msgspec.json.encode(ImageRecord(id=name, path=f"dataset/{name}.png", sha256="", request=request, status=status)) + b"\n"


def names(session_path: Path) -> set[str]:
    return {image.path.name for image in read_dataset(session_path).images}


def test_dropped_images_count_and_rejected_ones_do_not(tmp_path: Path, folder: Path) -> None:
    picture(2).save(folder / "dropped.JPG", "JPEG")
    lines = [manifest_line("a", "undecided"), manifest_line("b", "keep"), manifest_line("b", "reject")]
    (folder / "manifest.jsonl").write_bytes(b"".join(lines))
    assert names(tmp_path) == {"a.png", "dropped.JPG"}
    (folder / "manifest.jsonl").write_bytes(b"".join([*lines, manifest_line("b", "keep"), b'{"id":"a","path":"dataset/a.png","sta']))
    assert names(tmp_path) == {"a.png", "b.png", "dropped.JPG"}


def test_names_and_dates_change_nothing(tmp_path: Path, folder: Path) -> None:
    before = read_dataset(tmp_path)
    (folder / "a.png").rename(folder / "z.png")
    os.utime(folder / "b.png", (1, 1))
    after = read_dataset(tmp_path)
    assert after.sha256 == before.sha256
    assert [image.sha256 for image in after.images] == [image.sha256 for image in before.images] == sorted(i.sha256 for i in after.images)


def test_one_changed_pixel_is_another_dataset(tmp_path: Path, folder: Path) -> None:
    before = read_dataset(tmp_path).sha256
    image = Image.open(folder / "a.png")
    image.putpixel((0, 0), (1, 2, 3))
    image.save(folder / "a.png")
    assert read_dataset(tmp_path).sha256 != before


def test_what_cannot_be_used_is_refused_by_name_and_the_rest_goes_on(tmp_path: Path, folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "a.png")
    (folder / "dangling.png").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "cut.png").write_bytes((folder / "b.png").read_bytes()[:-40])
    (folder / "cut.jpg").write_bytes(as_bytes(picture(5, 64, 64), "JPEG")[:-200])
    (folder / "text.png").write_text("no picture")
    (folder / "empty.webp").touch()
    (folder / "other.gif").write_bytes(as_bytes(picture(), "GIF"))
    (folder / "named-wrong.png").write_bytes(as_bytes(picture(), "GIF"))
    Image.new("1", (8000, 8000)).save(folder / "large.png")
    Image.new("1", (14000, 13000)).save(folder / "bomb.png")
    Image.new("1", (20000, 2)).save(folder / "thin.png")
    (folder / "heavy.png").touch()
    os.truncate(folder / "heavy.png", dataset.MAX_BYTES + 1)
    (folder / "notes.txt").write_text("not an image at all, so not spoken of")
    (folder / ".hidden.png").write_text("hidden")
    found = read_dataset(tmp_path)
    assert {image.path.name for image in found.images} == {"a.png", "b.png"}
    told = {text.split(" is left out: ")[0]: text.split(" is left out: ")[1] for text in found.refused}
    assert told["link.png"] == told["dangling.png"] == told["device.png"] == "it is a symbolic link."
    assert told["pipe.png"] == told["folder.png"] == "it is not a regular file."
    assert told["other.gif"] == "it is not PNG, JPEG or WebP."
    assert told["large.png"] == told["bomb.png"] == "it has more than 32 million pixels."
    assert "too long and thin" in told["thin.png"]
    assert "64 are allowed" in told["heavy.png"]
    for name in ("cut.png", "cut.jpg", "text.png", "empty.webp", "named-wrong.png"):
        assert "cannot be decoded" in told.pop(name)
    assert len(told) == 10


@given(st.binary(max_size=400), st.integers(0, 400))
def test_damaged_bytes_are_refused_and_never_more_than_that(rubbish: bytes, place: int) -> None:
    content = as_bytes(picture(3))
    for damaged in (rubbish, content[:place] + rubbish + content[place + len(rubbish) :]):
        with contextlib.suppress(RefusedImage):
            assert decode(damaged).mode == "RGB"


def test_an_empty_dataset_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(NegError, match="no images to train on") as caught:
        read_dataset(tmp_path)
    assert caught.value.detail.code == "not_found"
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "text.png").write_text("x")
    picture().save(folder / "a.png")
    (folder / "manifest.jsonl").write_bytes(manifest_line("a", "reject"))
    with pytest.raises(NegError, match=r"1 rejected; 1 unusable: text.png is left out"):
        read_dataset(tmp_path)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (20, 10), "red")
    image.paste("blue", (0, 0, 10, 10))
    upright = decode(as_bytes(image, "JPEG", exif=exif, quality=95))
    assert upright.size == (10, 20)
    assert upright.getpixel((5, 2))[2] > 200
    assert upright.getpixel((5, 17))[0] > 200


def test_transparent_pixels_become_white_and_others_stay() -> None:
    image = Image.new("RGBA", (16, 16), (10, 20, 30, 0))
    image.paste((200, 100, 50, 255), (0, 0, 8, 16))
    for content in (as_bytes(image), as_bytes(image, "WEBP", lossless=True), as_bytes(image.quantize(), "PNG")):
        found = decode(content)
        assert found.getpixel((12, 3)) == (255, 255, 255)
        assert found.getpixel((3, 3)) == (200, 100, 50)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_png_mode_becomes_rgb(mode: str) -> None:
    assert decode(as_bytes(Image.new("RGB", (16, 16), "white").convert(mode))).getpixel((1, 1)) == (255, 255, 255)


def test_cmyk_jpeg_becomes_rgb() -> None:
    found = decode(as_bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = found.getpixel((8, 8))
    assert red > 240
    assert green < 15
    assert blue < 15


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.full((16, 16), 32768, dtype=np.uint16)
    assert decode(as_bytes(Image.fromarray(grey))).getpixel((3, 3)) == (127, 127, 127)


@given(st.integers(4, 90), st.integers(4, 90), st.sampled_from([8, 16, 32]))
def test_fit_gives_a_square_and_the_crop_the_time_ids_say(width: int, height: int, resolution: int) -> None:
    fitted, top_left = fit(picture(0, width, height), resolution)
    assert fitted.size == (resolution, resolution)
    assert top_left == crop_top_left((height, width), resolution)
    assert min(top_left) == 0


def test_fit_is_the_reference_and_an_exact_picture_is_untouched() -> None:
    # torchvision: Resize(512) of 700 x 1050 is 512 x 768, CenterCrop(512) begins at (768 - 512) / 2.
    fitted, top_left = fit(picture(0, 700, 1050), 512)
    assert top_left == (128, 0)
    assert fitted.tobytes() == picture(0, 700, 1050).resize((512, 768), Image.Resampling.LANCZOS).crop((0, 128, 512, 640)).tobytes()
    assert fit(picture(0, 64, 64), 64)[0].tobytes() == picture(0, 64, 64).tobytes()


def test_time_ids_are_original_size_crop_and_target(tmp_path: Path, folder: Path) -> None:
    images = {image.path.name: image for image in read_dataset(tmp_path).images}
    assert time_ids(images["a.png"], 64) == (16, 16, 0, 0, 64, 64)
    assert time_ids(images["b.png"], 64) == (16, 20, 0, 8, 64, 64)


def test_a_file_changed_after_it_was_read_is_not_trained_on(tmp_path: Path, folder: Path) -> None:
    image = next(image for image in read_dataset(tmp_path).images if image.path.name == "a.png")
    assert read_image(image).tobytes() == picture(0).tobytes()
    picture(9).save(image.path)
    with pytest.raises(NegError, match=r"a.png changed") as caught:
        read_image(image)
    assert caught.value.detail.retryable


def test_known_sizes_spare_decoding_and_may_be_lost(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_dataset(tmp_path)
    num_decoded = []
    monkeypatch.setattr(dataset, "decode", lambda content: num_decoded.append(1) or decode(content))
    assert read_dataset(tmp_path) == first
    assert not num_decoded
    for rubbish in (b"", b"[]", b'{"x":{"height":0,"width":3}}'):
        (tmp_path / "cache" / "images.json").write_bytes(rubbish)
        assert read_dataset(tmp_path) == first
    shutil.rmtree(tmp_path / "cache")
    assert read_dataset(tmp_path) == first
    assert len(num_decoded) == 8


def test_too_many_files_are_refused(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "MAX_FILES", 1)
    with pytest.raises(NegError, match="holds 2 images"):
        read_dataset(tmp_path)
