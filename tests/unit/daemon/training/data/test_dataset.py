from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from image_files import as_bytes, fill, manifest_line, picture, spec

from daemon.engine.base import ModelIdentity
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRecord
from daemon.training.data.class_images import class_request
from daemon.training.data.dataset import Dataset, read_dataset, read_image

IDENTITY = ModelIdentity(base_sha256="b", torch_dtype="float32")


@pytest.fixture
def session(tmp_path: Path) -> Path:
    fill(tmp_path / "dataset", (16, 16), (16, 20))
    return tmp_path


def names(images: object) -> list[str]:
    return sorted(image.path.name for image in images)  # type: ignore[attr-defined]


def test_the_sessions_own_images_take_the_instance_prompt(session: Path) -> None:
    found = read_dataset(session, spec(instance_prompt="a wrong"))
    assert names(found.images) == ["0.png", "1.png"]
    assert {image.caption for image in found.images} == {"a wrong"}
    assert (found.class_images, found.held_out, found.refused) == ((), (), ())
    assert (session / "cache" / "images.json").is_file()


def test_another_folder_is_absolute_or_below_the_session(session: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    photos = fill(tmp_path_factory.mktemp("p") / "photos", (16, 16), (16, 16), (16, 16), first=10)
    assert names(read_dataset(session, spec(instance_data_dir=str(photos))).images) == ["10.png", "11.png", "12.png"]
    fill(session / "mine" / "here", (16, 16), first=20)
    assert names(read_dataset(session, spec(instance_data_dir="mine/here")).images) == ["20.png"]
    for wanted in ("nowhere", "/nowhere/at/all", "dataset/0.png", "~nobody-at-all/x", "a" * 4000):
        with pytest.raises(NegError, match=r"training.instance_data_dir: there is no folder"):
            read_dataset(session, spec(instance_data_dir=wanted))
    with pytest.raises(NegError, match="leads out of its folder"):
        read_dataset(session, spec(instance_data_dir="../.."))
    with pytest.raises(NegError):
        read_dataset(session, spec(instance_data_dir="a\0b"))


def test_names_change_nothing_and_contents_captions_and_parts_do(session: Path) -> None:
    def sha256(**changes: object) -> str:
        return read_dataset(session, spec(**changes)).sha256

    before = sha256()
    (session / "dataset" / "0.png").rename(session / "dataset" / "z.png")
    assert sha256() == before
    assert sha256(instance_prompt="other") != before
    assert sha256(validation_images=1) != before
    fill(session / "class_images", (16, 16), first=5)
    assert sha256(with_prior_preservation=True, class_prompt="a toy") != before
    picture(9).save(session / "dataset" / "z.png")
    assert sha256() != before


def test_an_empty_dataset_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(NegError, match="no images to train on") as caught:
        read_dataset(tmp_path, spec())
    assert caught.value.detail.code == "not_found"
    assert "act 1" in caught.value.detail.hint
    folder = fill(tmp_path / "dataset")
    (folder / "text.png").write_text("x")
    picture().save(folder / "a.png")
    (folder / "manifest.jsonl").write_bytes(manifest_line("a", "reject"))
    with pytest.raises(NegError, match=r"1 rejected; 1 unusable: text.png is left out: it cannot be decoded \(it is no image"):
        read_dataset(tmp_path, spec())
    with pytest.raises(NegError, match="no images to train on") as caught:
        read_dataset(tmp_path, spec(instance_data_dir=str(fill(tmp_path / "empty"))))
    assert "act 1" not in caught.value.detail.hint


def test_held_out_images_are_never_trained_on_nor_are_their_copies(tmp_path: Path) -> None:
    folder = fill(tmp_path / "dataset", *[(16, 16)] * 6)
    for number in range(6):
        (folder / f"copy-{number}.png").write_bytes((folder / f"{number}.png").read_bytes())
    found = read_dataset(tmp_path, spec(validation_images=2))
    assert (len(found.images), len(found.held_out)) == (8, 2)
    assert not {image.sha256 for image in found.images} & {image.sha256 for image in found.held_out}
    assert len({image.sha256 for image in found.held_out}) == 2
    assert read_dataset(tmp_path, spec(validation_images=2, seed=99)).held_out == found.held_out
    with pytest.raises(NegError, match="validation_images is 6, and there are only 6 different"):
        read_dataset(tmp_path, spec(validation_images=6))
    assert len(read_dataset(tmp_path, spec(validation_images=5)).images) == 2


def test_class_images_are_a_folder_of_ones_own(session: Path) -> None:
    folder = fill(session / "classes", *[(16, 16)] * 4, first=10)
    preserving = {"with_prior_preservation": True, "class_prompt": "a toy", "class_data_dir": "classes"}
    found = read_dataset(session, spec(**preserving))
    assert names(found.class_images) == ["10.png", "11.png", "12.png", "13.png"]
    assert {image.caption for image in found.class_images} == {"a toy"}
    assert read_dataset(session, spec(**preserving, num_class_images=3)).class_images == found.class_images[:3]
    (folder / "broken.png").write_bytes(b"x")
    assert read_dataset(session, spec(**preserving)).refused[0].startswith("broken.png is left out")
    assert read_dataset(session, spec(class_data_dir="classes")).class_images == ()
    with pytest.raises(NegError, match=r"class_data_dir: there is no folder"):
        read_dataset(session, spec(**preserving | {"class_data_dir": "none"}))
    with pytest.raises(NegError, match=r"empty has no class images"):
        read_dataset(session, spec(**preserving | {"class_data_dir": str(fill(session / "empty"))}))


def test_class_images_painted_for_another_prompt_or_model_are_not_used(session: Path) -> None:
    preserving = spec(with_prior_preservation=True, class_prompt="a toy")
    folder = fill(session / "class_images", *[(32, 32)] * 4, first=10)
    painted = {
        "10": class_request(preserving, IDENTITY, 3),
        "11": class_request(msgspec.structs.replace(preserving, class_prompt="a dog"), IDENTITY, 3),
        "12": class_request(preserving, ModelIdentity(base_sha256="c", torch_dtype="float32"), 3),
    }
    records = [ImageRecord(id=name, path=f"class_images/{name}.png", sha256="", request=one) for name, one in painted.items()]
    (folder / "manifest.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    assert names(read_dataset(session, preserving, identity=IDENTITY).class_images) == ["10.png", "13.png"]
    assert names(read_dataset(session, preserving).class_images) == ["10.png", "12.png", "13.png"]


def test_captions_of_the_manifest_reach_the_images(session: Path) -> None:
    (session / "dataset" / "manifest.jsonl").write_bytes(manifest_line("0", prompt="blurry, ugly"))
    found = read_dataset(session, spec(captions="manifest"))
    assert {image.path.name: image.caption for image in found.images} == {"0.png": "blurry, ugly", "1.png": "wrong"}


def test_captions_of_a_textual_inversion_hold_its_token_and_those_of_class_images_do_not(session: Path) -> None:
    (session / "dataset" / "0.txt").write_text("a cat")
    fill(session / "classes", (16, 16), first=10)
    inverting = {"method": "textual_inversion", "placeholder_token": "<bad>", "instance_prompt": "<bad> art", "captions": "txt"}
    found = read_dataset(session, spec(**inverting, with_prior_preservation=True, class_prompt="a toy", class_data_dir="classes"))
    assert {image.caption for image in found.images} == {"<bad>, a cat", "<bad> art"}
    assert {image.caption for image in found.class_images} == {"a toy"}


def test_a_file_changed_after_it_was_read_is_not_trained_on(session: Path) -> None:
    image = next(image for image in read_dataset(session, spec()).images if image.path.name == "0.png")
    assert read_image(image).tobytes() == picture(0).tobytes()
    for damage in (lambda: image.path.write_bytes(as_bytes(picture(9))), image.path.unlink):
        damage()
        with pytest.raises(NegError, match=r"0.png changed") as caught:
            read_image(image)
        assert caught.value.detail.retryable


def test_what_was_learned_before_an_interruption_is_kept(session: Path) -> None:
    calls = iter(range(10))

    def check() -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_dataset(session, spec(), check)
    assert len(msgspec.json.decode((session / "cache" / "images.json").read_bytes())) == 1


def test_what_was_refused_has_no_part_in_the_hash() -> None:
    assert Dataset(()).sha256 == Dataset((), refused=("x",)).sha256
