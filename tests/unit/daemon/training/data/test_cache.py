from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sdxl import IDENTITY, RESOLUTION, make_parts, make_session, stock_pipeline

from daemon.engine.base import ModelIdentity
from daemon.protocol.errors import NegError
from daemon.training.data import cache
from daemon.training.data.cache import encode_images, encode_prompt, latent_scale, posterior_key, read_posterior, to_pixels
from daemon.training.data.dataset import read_dataset, read_image


@pytest.fixture
def images(tmp_path: Path) -> Any:
    return read_dataset(make_session(tmp_path / "s", 3)).images


def encode(parts: Any, images: Any, folder: Path) -> Any:
    return encode_images(parts.vae, "cpu", images, IDENTITY, RESOLUTION, folder)


def draw(posteriors: Any, seed: int = 0) -> torch.Tensor:
    return posteriors.sample(range(len(posteriors)), torch.Generator().manual_seed(seed))


def refuse(*args: object) -> None:
    raise AssertionError("the VAE was asked")


def test_latents_are_drawn_afresh_from_the_vaes_posterior(parts: Any, images: Any, tmp_path: Path) -> None:
    posteriors = encode(parts, images, tmp_path / "c")
    pixels = torch.stack([to_pixels(read_image(image), RESOLUTION) for image in images])
    with torch.no_grad():
        found = parts.vae.encode(pixels).latent_dist
    noise = torch.randn(found.mean.shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(draw(posteriors), (found.mean + found.std * noise) * parts.vae.config.scaling_factor, atol=1e-6)
    assert not torch.equal(draw(posteriors, 0), draw(posteriors, 1))
    assert float(pixels.min()) >= -1
    assert float(pixels.max()) <= 1


def test_the_second_time_nothing_is_encoded(parts: Any, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = draw(encode(parts, images, tmp_path / "c"))
    monkeypatch.setattr(parts.vae, "encode", refuse)
    assert torch.equal(draw(encode(parts, images, tmp_path / "c")), first)


@pytest.mark.parametrize("damage", [b"", b"x" * 100, None])
def test_a_damaged_or_deleted_entry_is_made_again(parts: Any, images: Any, tmp_path: Path, damage: bytes | None) -> None:
    first = draw(encode(parts, images, tmp_path / "c"))
    path = sorted((tmp_path / "c").iterdir())[1]
    good = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage)
    assert torch.equal(draw(encode(parts, images, tmp_path / "c")), first)
    assert path.read_bytes() == good


def test_beyond_the_memory_limit_they_are_read_from_disk(parts: Any, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = draw(encode(parts, images, tmp_path / "c"))
    monkeypatch.setattr(cache, "MAX_RESIDENT_BYTES", 0)
    posteriors = encode(parts, images, tmp_path / "c")
    assert torch.equal(draw(posteriors), first)
    sorted((tmp_path / "c").iterdir())[0].unlink()
    with pytest.raises(NegError, match="vanished from the cache"):
        draw(posteriors)


def test_what_decides_a_posterior_is_in_its_name(images: Any) -> None:
    def key(identity: ModelIdentity = IDENTITY, number: int = 0, resolution: int = 32) -> str:
        return posterior_key(images[number], identity, resolution)

    other_base = ModelIdentity(base_sha256="c", torch_dtype="float32")
    other_dtype = ModelIdentity(base_sha256=IDENTITY.base_sha256, torch_dtype="float16")
    vae = ModelIdentity(base_sha256="c", vae_sha256="v", torch_dtype="float32")
    same_vae = ModelIdentity(base_sha256="d", vae_sha256="v", torch_dtype="float32")
    assert len({key(), key(number=1), key(resolution=64), key(other_base), key(other_dtype), key(vae)}) == 6
    assert key(vae) == key(same_vae)


def test_a_vae_that_overflows_is_said_in_words(images: Any, tmp_path: Path) -> None:
    parts = make_parts()
    with torch.no_grad():
        parts.vae.quant_conv.weight.fill_(float("inf"))
    with pytest.raises(NegError, match=rf"{images[0].path.name} into numbers that are not finite") as caught:
        encode(parts, images, tmp_path / "c")
    assert "fp16-fix" in caught.value.detail.hint
    assert not (tmp_path / "c").exists()


def test_a_half_precision_vae_encodes_in_float32_and_stays_half(images: Any, tmp_path: Path) -> None:
    parts = make_parts(dtype="float16")
    before = {name: weight.clone() for name, weight in parts.vae.state_dict().items()}
    assert draw(encode(parts, images, tmp_path / "c")).dtype == torch.float32
    assert parts.vae.dtype == torch.float16
    assert all(torch.equal(weight, before[name]) for name, weight in parts.vae.state_dict().items())


def test_stopping_between_images_keeps_those_done(parts: Any, images: Any, tmp_path: Path) -> None:
    def stop(index: int, num_images: int) -> None:
        assert num_images == 3
        if index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_images(parts.vae, "cpu", images, IDENTITY, RESOLUTION, tmp_path / "c", stop)
    assert len(list((tmp_path / "c").iterdir())) == 2
    assert all(read_posterior(path) for path in (tmp_path / "c").iterdir())


def test_latents_are_scaled_as_the_vaes_config_says() -> None:
    config = type("Config", (), {"latent_channels": 2, "scaling_factor": 0.5, "latents_mean": [1.0, 2.0], "latents_std": [1.0, 4.0]})
    shift, factor = latent_scale(config)
    latents = torch.tensor([3.0, 10.0]).view(2, 1, 1)
    assert ((latents - shift) * factor).flatten().tolist() == [1.0, 1.0]
    config.latents_mean = config.latents_std = None
    shift, factor = latent_scale(config)
    assert ((latents - shift) * factor).flatten().tolist() == [1.5, 5.0]


def test_embeddings_are_those_of_the_pipeline(parts: Any) -> None:
    pipeline = stock_pipeline(parts)
    embeds, _, pooled, _ = pipeline.encode_prompt("wrong", do_classifier_free_guidance=False)
    found, is_cut = encode_prompt(parts, "wrong")
    assert torch.equal(found.prompt_embeds, embeds)
    assert torch.equal(found.pooled_prompt_embeds, pooled)
    assert not is_cut
    assert found.repeat(3).prompt_embeds.shape == (3, *embeds.shape[1:])


def test_a_prompt_that_is_too_long_is_noticed(parts: Any) -> None:
    assert encode_prompt(parts, "0123456789")[1] is False
    assert encode_prompt(parts, "0123456789a")[1] is True
