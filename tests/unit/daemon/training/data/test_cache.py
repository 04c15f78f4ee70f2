from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import fill, picture, spec
from tiny_sdxl import IDENTITY, make_parts

from daemon.engine.base import ModelIdentity
from daemon.protocol.errors import NegError
from daemon.training.data.cache import PosteriorCache, Row, latent_scale, posterior_key, read_posterior, to_pixels, write_posterior
from daemon.training.data.dataset import TrainingImage, read_dataset, read_image
from daemon.training.data.views import View, centre_view, cut

SIZE = (32, 32)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    fill(tmp_path / "dataset", (32, 32), (40, 32), (32, 32))
    images = read_dataset(tmp_path, spec()).images
    return [(image, centre_view(image.original_size, SIZE), True) for image in images]


def opened(parts: Any, folder: Path, identity: ModelIdentity = IDENTITY) -> PosteriorCache:
    return PosteriorCache(parts.vae, "cpu", identity, folder)


def draw(posteriors: PosteriorCache, rows: list[Row], seed: int = 0) -> torch.Tensor:
    return posteriors.sample(rows, torch.Generator().manual_seed(seed))


def refuse(*args: object) -> None:
    raise AssertionError("the VAE was asked")


def test_latents_are_drawn_afresh_from_the_vaes_posterior(parts: Any, rows: list[Row], tmp_path: Path) -> None:
    posteriors = opened(parts, tmp_path / "c")
    pixels = torch.stack([to_pixels(cut(read_image(image), view)) for image, view, _ in rows])
    with torch.no_grad():
        found = parts.vae.encode(pixels).latent_dist
    noise = torch.randn(found.mean.shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(draw(posteriors, rows), (found.mean + found.std * noise) * parts.vae.config.scaling_factor, atol=1e-6)
    assert not torch.equal(draw(posteriors, rows, 0), draw(posteriors, rows, 1))
    assert pixels.shape == (3, 3, 32, 32)
    assert float(pixels.min()) >= -1
    assert float(pixels.max()) <= 1


def test_the_second_time_nothing_is_encoded(parts: Any, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = draw(opened(parts, tmp_path / "c"), rows)
    monkeypatch.setattr(parts.vae, "encode", refuse)
    assert torch.equal(draw(opened(parts, tmp_path / "c"), rows), first)


def test_a_view_that_hardly_comes_twice_is_not_kept(parts: Any, rows: list[Row], tmp_path: Path) -> None:
    image = next(image for image, _, _ in rows if image.original_size == (40, 32))
    posteriors = opened(parts, tmp_path / "c")
    once = posteriors.posterior(image, View(SIZE, (3, 0)), is_kept=False)
    assert not (tmp_path / "c").exists()
    kept = posteriors.posterior(image, View(SIZE, (3, 0)))
    assert all(torch.equal(a, b) for a, b in zip(once, kept, strict=True))
    assert len(list((tmp_path / "c").iterdir())) == 1


@pytest.mark.parametrize("damage", ["empty", "rubbish", "gone", "a hole"])
def test_a_damaged_or_deleted_entry_is_made_again(parts: Any, rows: list[Row], tmp_path: Path, damage: str) -> None:
    first = draw(opened(parts, tmp_path / "c"), rows)
    path = sorted((tmp_path / "c").iterdir())[1]
    good = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        # A hole is what a power loss leaves: whole by its length, zeros inside.
        path.write_bytes({"empty": b"", "rubbish": b"x" * 100, "a hole": good[:-64] + bytes(64)}[damage])
        assert read_posterior(path) is None
    assert torch.equal(draw(opened(parts, tmp_path / "c"), rows), first)
    assert path.read_bytes() == good


def num_tensors() -> int:
    gc.collect()
    return sum(isinstance(one, torch.Tensor) for one in gc.get_objects())


def test_no_posterior_stays_in_memory(parts: Any, rows: list[Row], tmp_path: Path) -> None:
    posteriors = opened(parts, tmp_path / "c")
    first = draw(posteriors, rows)
    for path in (tmp_path / "c").iterdir():
        path.unlink()
    assert torch.equal(draw(posteriors, rows), first)
    before = num_tensors()
    for _ in range(3):
        draw(posteriors, rows)
    assert num_tensors() == before


def test_what_decides_a_posterior_is_in_its_name() -> None:
    image = TrainingImage(Path("a.png"), "a" * 64, (64, 64), "a cat")

    def key(image: TrainingImage = image, view: View = View(SIZE, (0, 0)), identity: ModelIdentity = IDENTITY, device: str = "cpu") -> str:  # noqa: B008
        return posterior_key(image, view, identity, device)

    vae = ModelIdentity(base_sha256="c", vae_sha256="v", torch_dtype="float32")
    others = [
        key(image=TrainingImage(Path("a.png"), "b" * 64, (64, 64))),
        key(view=View((64, 64), (0, 0))),
        key(view=View(SIZE, (0, 1))),
        key(view=View(SIZE, (0, 0), is_flipped=True)),
        key(identity=ModelIdentity(base_sha256="c", torch_dtype="float32")),
        key(identity=ModelIdentity(base_sha256=IDENTITY.base_sha256, torch_dtype="float16")),
        key(identity=vae),
        key(device="cuda"),
    ]
    assert len({key(), *others}) == 9
    assert key(image=TrainingImage(Path("other.png"), "a" * 64, (64, 64), "a dog")) == key()
    assert key(identity=vae) == key(identity=ModelIdentity(base_sha256="d", vae_sha256="v", torch_dtype="float32"))


def test_a_vae_that_overflows_is_said_in_words(rows: list[Row], tmp_path: Path) -> None:
    parts = make_parts()
    with torch.no_grad():
        parts.vae.quant_conv.weight.fill_(float("inf"))
    with pytest.raises(NegError, match=rf"{rows[0][0].path.name} into numbers that are not finite") as caught:
        draw(opened(parts, tmp_path / "c"), rows)
    assert "fp16-fix" in caught.value.detail.hint
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("autocast", [False, True])
def test_a_half_precision_vae_encodes_in_float32_and_stays_half(rows: list[Row], tmp_path: Path, autocast: bool) -> None:
    parts = make_parts(dtype="float16")
    before = {name: weight.clone() for name, weight in parts.vae.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = draw(opened(parts, tmp_path / "c"), rows)
    assert found.dtype == torch.float32
    assert parts.vae.dtype == torch.float16
    assert all(torch.equal(weight, before[name]) for name, weight in parts.vae.state_dict().items())
    torch.nn.Module.to(parts.vae, torch.float32)
    assert torch.equal(draw(opened(parts, tmp_path / "d"), rows), found)


def test_a_file_changed_meanwhile_is_not_encoded(parts: Any, rows: list[Row], tmp_path: Path) -> None:
    picture(77).save(rows[0][0].path)
    with pytest.raises(NegError, match="changed while it was trained on"):
        draw(opened(parts, tmp_path / "c"), rows)


def test_a_posterior_comes_back_bit_for_bit(tmp_path: Path) -> None:
    posterior = (torch.randn(4, 2, 3), torch.rand(4, 2, 3))
    write_posterior(tmp_path / "p.safetensors", posterior)
    found = read_posterior(tmp_path / "p.safetensors")
    assert found is not None
    assert all(torch.equal(a, b) for a, b in zip(found, posterior, strict=True))
    assert read_posterior(tmp_path / "none.safetensors") is None


def test_latents_are_scaled_as_the_vaes_config_says() -> None:
    config = type("Config", (), {"latent_channels": 2, "scaling_factor": 0.5, "latents_mean": [1.0, 2.0], "latents_std": [1.0, 4.0]})
    shift, factor = latent_scale(config)
    latents = torch.tensor([3.0, 10.0]).view(2, 1, 1)
    assert ((latents - shift) * factor).flatten().tolist() == [1.0, 1.0]
    config.latents_mean = config.latents_std = None
    shift, factor = latent_scale(config)
    assert ((latents - shift) * factor).flatten().tolist() == [1.5, 5.0]
