from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import fill, spec
from tiny_sdxl import IDENTITY, TinyEngine, adapter_sha256, run

from daemon.protocol.errors import NegError
from daemon.training.data import batches as batches_module
from daemon.training.data.batches import Batch, Batches, prepare_batches
from daemon.training.data.cache import Row
from daemon.training.data.dataset import Dataset, TrainingImage, read_dataset
from daemon.training.data.views import bucket_sizes, time_ids

PRESERVING = {"with_prior_preservation": True, "class_prompt": "a toy"}


class FakePosteriors:
    """Latents that name their image and view; remembers the rows of every batch."""

    def __init__(self) -> None:
        self.drawn: list[tuple[Row, ...]] = []

    def sample(self, rows: Sequence[Row], generator: torch.Generator) -> torch.Tensor:
        self.drawn.append(tuple(rows))
        ((height, width),) = {view.size for _, view, _ in rows}
        names = torch.tensor([float(int(image.sha256, 16)) for image, _, _ in rows]).view(-1, 1, 1, 1)
        return names + 0.1 * torch.rand((len(rows), 4, height // 8, width // 8), generator=generator)


def images(*sizes: tuple[int, int], first: int = 1, caption: str | None = None) -> tuple[TrainingImage, ...]:
    """Images numbered from `first`; each has a caption of its own unless one is given."""
    return tuple(
        TrainingImage(Path(f"{number}.png"), f"{number:x}", size, caption or f"caption {number}")
        for number, size in enumerate(sizes, first)
    )


def make(dataset: Dataset, **changes: Any) -> tuple[Batches, FakePosteriors]:
    posteriors = FakePosteriors()
    return Batches(dataset, spec(**changes), posteriors), posteriors  # type: ignore[arg-type]


def numbers(batch: Batch) -> list[int]:
    """Which image each row of latents is of."""
    return [int(row[0, 0, 0]) for row in batch.latents_BCHW]


def same(one: Batch, other: Batch) -> bool:
    return (
        torch.equal(one.latents_BCHW, other.latents_BCHW)
        and torch.equal(one.time_ids_B6, other.time_ids_B6)
        and (one.captions, one.num_class) == (other.captions, other.num_class)
    )


SIZES = st.lists(st.tuples(st.integers(20, 90), st.integers(20, 90)), min_size=1, max_size=7)
ANY = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**63 - 1),
        "train_batch_size": st.integers(1, 4),
        "gradient_accumulation_steps": st.integers(1, 3),
        "repeats": st.integers(1, 3),
        "aspect_ratio_buckets": st.booleans(),
        "bucket_step": st.just(8),
        "center_crop": st.booleans(),
        "random_flip": st.booleans(),
        "caption_dropout": st.sampled_from([0.0, 0.3]),
    }
)


@given(SIZES, SIZES, st.booleans(), ANY, st.integers(1, 500))
@settings(deadline=None)
def test_the_second_and_fourth_defects_a_batch_is_of_one_size_and_its_rows_belong_together(
    sizes: list[tuple[int, int]], class_sizes: list[tuple[int, int]], with_class: bool, options: dict[str, Any], step: int
) -> None:
    """The reference's defects 2 (prompts i,c,i,c beside images i,i,c,c) and 4 (class images with the instances' size conditioning)."""
    trained, classes = images(*sizes), images(*class_sizes, first=100, caption="a toy") if with_class else ()
    found, posteriors = make(Dataset(trained, classes), **options)
    batch = found.draw(step, step % options["gradient_accumulation_steps"])
    size = options["train_batch_size"]
    assert batch.num_class == (size if with_class else 0)
    assert len(batch.latents_BCHW) == len(batch.captions) == len(batch.time_ids_B6) == size + batch.num_class
    by_number = {int(image.sha256, 16): image for image in (*trained, *classes)}
    (rows,) = posteriors.drawn
    for row, number in enumerate(numbers(batch)):
        image = by_number[number]
        assert batch.captions[row] in (image.caption, None)
        assert image.original_size == tuple(batch.time_ids_B6[row, :2].int().tolist())
        assert time_ids(image.original_size, rows[row][1]) == tuple(batch.time_ids_B6[row].int().tolist())
        assert (image in classes) == (row >= size)
    allowed = bucket_sizes(32, 8) if options["aspect_ratio_buckets"] else ((32, 32),)
    height, width = batch.latents_BCHW.shape[2:]
    assert (8 * height, 8 * width) in allowed
    assert {tuple(ids[4:].int().tolist()) for ids in batch.time_ids_B6} == {(8 * height, 8 * width)}


def test_the_fourth_defect_class_images_have_their_own_size_conditioning() -> None:
    """The script hands the instance images' sizes and crops to the class rows too."""
    found, _ = make(Dataset(images((64, 48)), images((40, 90), first=100)), train_batch_size=2)
    assert found.draw(1, 0).time_ids_B6.tolist() == [[64, 48, 5, 0, 32, 32]] * 2 + [[40, 90, 0, 20, 32, 32]] * 2


@given(SIZES, SIZES, ANY, st.lists(st.tuples(st.integers(1, 400), st.integers(0, 2)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_the_eighth_defect_a_draw_does_not_depend_on_those_before_it(
    sizes: list[tuple[int, int]], class_sizes: list[tuple[int, int]], options: dict[str, Any], places: list[tuple[int, int]]
) -> None:
    """The reference's defect 8: a resumed training there begins the data anew."""
    dataset = Dataset(images(*sizes), images(*class_sizes, first=100))
    running, _ = make(dataset, **options)
    for step, micro_step in places:
        fresh, _ = make(dataset, **options)
        assert same(running.draw(step, micro_step), fresh.draw(step, micro_step))


def test_another_place_draws_another_batch() -> None:
    found, _ = make(Dataset(images((32, 32))), gradient_accumulation_steps=2)
    drawn = [found.draw(step, micro_step).latents_BCHW for step in (1, 2) for micro_step in (0, 1)]
    assert len({float(latents.sum()) for latents in drawn}) == 4


@given(SIZES, st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 99), st.booleans())
@settings(deadline=None, max_examples=40)
def test_every_image_comes_equally_often(
    sizes: list[tuple[int, int]], batch_size: int, repeats: int, num_micro_steps: int, seed: int, with_buckets: bool
) -> None:
    options = {
        "train_batch_size": batch_size,
        "gradient_accumulation_steps": num_micro_steps,
        "repeats": repeats,
        "seed": seed,
        "aspect_ratio_buckets": with_buckets,
        "bucket_step": 8,
    }
    found, _ = make(Dataset(images(*sizes), images((9, 9), (9, 9), first=100)), **options)
    num_epochs = 2 * repeats
    shown: Counter[int] = Counter()
    for number in range(num_epochs * len(sizes)):
        step, micro_step = divmod(number, num_micro_steps)
        shown.update(numbers(found.draw(step + 1, micro_step)))
    instance = {number: count for number, count in shown.items() if number < 100}
    assert instance == dict.fromkeys(range(1, len(sizes) + 1), num_epochs * batch_size)
    classes = [shown[100], shown[101]]
    assert sum(classes) == sum(instance.values())
    assert max(classes) - min(classes) <= 1


@pytest.mark.parametrize("repeats", [1, 60])
def test_the_sixth_defect_crops_and_flips_are_drawn_afresh_at_every_showing(repeats: int) -> None:
    """The reference's defect 6: it draws them once, before the first step."""
    options = {"center_crop": False, "random_flip": True, "repeats": repeats}
    dataset = Dataset(images((64, 32)), images((32, 80), first=100))
    found, posteriors = make(dataset, **options)
    for step in range(1, 61):
        found.draw(step, 0)
    instance, classes = zip(*posteriors.drawn, strict=True)
    for rows in (instance, classes):
        views = [view for _, view, _ in rows]
        assert len({view.top_left for view in views}) > 15
        assert 15 < sum(view.is_flipped for view in views) < 45
        assert not any(is_kept for _, _, is_kept in rows)
    assert [view.is_flipped for _, view, _ in instance] != [view.is_flipped for _, view, _ in classes]
    other, other_posteriors = make(dataset, **options, seed=8)
    other.draw(1, 0)
    assert other_posteriors.drawn[0] != posteriors.drawn[0]


def test_crops_flips_and_dropped_captions_are_each_images_own() -> None:
    options = {"center_crop": False, "random_flip": True, "train_batch_size": 30, "caption_dropout": 0.5}
    found, posteriors = make(Dataset(images(*[(64, 32)] * 30)), **options)
    batch = found.draw(1, 0)
    views = [view for _, view, _ in posteriors.drawn[0]]
    assert len({view.top_left for view in views}) > 10
    assert 5 < sum(view.is_flipped for view in views) < 25
    assert 5 < batch.captions.count(None) < 25


def test_an_image_with_one_crop_is_kept_even_where_crops_are_random() -> None:
    found, posteriors = make(Dataset(images((64, 64))), center_crop=False)
    found.draw(1, 0)
    assert posteriors.drawn[0][0][2]
    assert len(list(found.fixed_rows())) == 1


def test_captions_are_dropped_as_often_as_asked() -> None:
    dataset = Dataset(images((32, 32), (32, 32)), images((32, 32), first=100))
    found, _ = make(dataset, caption_dropout=0.25, train_batch_size=2)
    drawn = [caption for step in range(1, 201) for caption in found.draw(step, 0).captions]
    assert 140 < drawn.count(None) < 260
    assert make(dataset, caption_dropout=1.0)[0].draw(3, 0).captions == (None, None)
    assert None not in [caption for step in range(1, 50) for caption in make(dataset)[0].draw(step, 0).captions]


def test_every_caption_that_may_be_drawn_is_told_once() -> None:
    dataset = Dataset(images((9, 9), (9, 9), caption="wrong"), images((9, 9), (9, 9), first=100), images((9, 9), first=200))
    assert make(dataset)[0].captions == ("wrong", "caption 100", "caption 101", "caption 200")


@pytest.mark.parametrize("with_buckets", [False, True])
def test_the_measured_batches_are_always_the_same(with_buckets: bool) -> None:
    held_out = images((32, 32), (64, 32), (32, 32), (32, 32), first=50)
    options = {"train_batch_size": 2, "aspect_ratio_buckets": with_buckets, "bucket_step": 8}
    dataset = Dataset(images((40, 40)), images((9, 9), first=100), held_out)
    found, _ = make(dataset, **options)
    first = found.held_out()
    found.draw(5, 0)
    other, posteriors = make(dataset, **options, seed=99, center_crop=False, random_flip=True, caption_dropout=1.0)
    assert all(same(one, again) for one, again in zip(first, other.held_out(), strict=True))
    assert sorted(number for batch in first for number in numbers(batch)) == [50, 51, 52, 53]
    assert sorted(caption for batch in first for caption in batch.captions if caption) == [f"caption {number}" for number in range(50, 54)]
    assert all(len(batch.captions) <= 2 and batch.num_class == 0 for batch in first)
    assert all(is_kept for rows in posteriors.drawn for _, _, is_kept in rows)


def test_without_held_out_images_the_first_trained_ones_are_measured() -> None:
    found, _ = make(Dataset(images(*[(32, 32)] * 20)), train_batch_size=3)
    assert [numbers(batch) for batch in found.held_out()] == [[1, 2, 3], [4, 5, 6], [7, 8]]


def test_too_many_repeats_are_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "MAX_SHOWINGS", 10)
    make(Dataset(images(*[(9, 9)] * 5)), repeats=2)
    with pytest.raises(NegError, match=r"training.repeats is 3: an epoch would show 15 images"):
        make(Dataset(images(*[(9, 9)] * 5)), repeats=3)


class CountingVae:
    """The VAE it stands for, and how often it was asked."""

    def __init__(self, vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shapes: list[tuple[int, ...]] = []
        encode = vae.encode
        monkeypatch.setattr(vae, "encode", lambda pixels: self.shapes.append(tuple(pixels.shape)) or encode(pixels))


def prepared(parts: Any, session_path: Path, on_image: Any = lambda index, num_images: None, **changes: Any) -> Batches:
    settings = spec(**changes)
    return prepare_batches(read_dataset(session_path, settings), settings, parts, IDENTITY, session_path / "cache" / "latents", on_image)


def test_no_image_is_encoded_twice_in_a_training_nor_in_the_next(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's defect 5: it encodes every image at every step."""
    fill(tmp_path / "dataset", (32, 32), (40, 32), (32, 32))
    fill(tmp_path / "class_images", (50, 40), (32, 32), first=10)
    vae, told = CountingVae(parts.vae, monkeypatch), []
    options = PRESERVING | {"random_flip": True, "train_batch_size": 2}
    found = prepared(parts, tmp_path, lambda index, num_images: told.append((index, num_images)), **options)
    assert told == [(index, 10) for index in range(10)]
    assert vae.shapes == [(1, 3, 32, 32)] * 10
    drawn = [found.draw(step, 0) for step in range(1, 30)]
    again = prepared(parts, tmp_path, **options)
    assert all(same(again.draw(step, 0), batch) for step, batch in enumerate(drawn, start=1))
    assert len(vae.shapes) == 10
    assert drawn[0].latents_BCHW.shape == (4, 4, 16, 16)


def test_class_images_in_buckets_are_encoded_when_they_are_first_drawn(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "dataset", (32, 32), (64, 24))
    fill(tmp_path / "class_images", (32, 32), first=10)
    vae = CountingVae(parts.vae, monkeypatch)
    found = prepared(parts, tmp_path, **PRESERVING, aspect_ratio_buckets=True, bucket_step=8)
    assert len(vae.shapes) == 2
    sizes = {tuple(found.draw(step, 0).latents_BCHW.shape[2:]) for step in range(1, 9)}
    assert len(sizes) == 2
    assert len(vae.shapes) == 4


def test_random_crops_are_encoded_when_drawn_and_leave_nothing_behind(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "dataset", (64, 32))
    vae = CountingVae(parts.vae, monkeypatch)
    found = prepared(parts, tmp_path, center_crop=False)
    files = sorted((tmp_path / "cache" / "latents").iterdir())
    drawn = [found.draw(step, 0) for step in range(1, 8)]
    assert len(vae.shapes) == 1 + 7
    assert sorted((tmp_path / "cache" / "latents").iterdir()) == files
    again = prepared(parts, tmp_path, center_crop=False)
    assert all(same(again.draw(step, 0), drawn[step - 1]) for step in (7, 3))


def test_an_interruption_keeps_what_was_encoded(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "dataset", (32, 32), (32, 32), (32, 32))

    def stop(index: int, num_images: int) -> None:
        if index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(parts, tmp_path, stop)
    vae = CountingVae(parts.vae, monkeypatch)
    prepared(parts, tmp_path)
    assert len(vae.shapes) == 1


def test_a_training_stopped_and_resumed_ends_with_the_same_adapter(parts: Any, tmp_path: Path) -> None:
    options = PRESERVING | {
        "class_data_dir": "classes",
        "aspect_ratio_buckets": True,
        "bucket_step": 8,
        "center_crop": False,
        "random_flip": True,
        "repeats": 2,
        "caption_dropout": 0.3,
        "validation_images": 1,
        "max_train_steps": 7,
        "gradient_accumulation_steps": 2,
    }
    for name in ("whole", "cut"):
        fill(tmp_path / name / "dataset", (32, 32), (64, 32), (40, 70), (33, 50))
        fill(tmp_path / name / "classes", (50, 40), (32, 32), (24, 60), first=10)
    run(tmp_path / "whole", TinyEngine(parts), **options)
    for step in (2, 5):
        run(tmp_path / "cut", TinyEngine(parts), stop_at=step, **options)
    run(tmp_path / "cut", TinyEngine(parts), **options)
    assert adapter_sha256(tmp_path / "cut") == adapter_sha256(tmp_path / "whole")
