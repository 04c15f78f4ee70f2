"""CLIP's scores are what transformers' own model and processor give for the same files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_clip import PROMPTS, pictures, save_clip, small_clip

from daemon.measuring.scorers.clip import load_clip, load_clip_score, load_pickscore
from daemon.protocol.errors import NegError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[float]:
    """Cosines by transformers' own way: logits over the scale."""
    from transformers import CLIPModel, CLIPTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model = CLIPModel.from_pretrained(folder).eval()
    words = ["two small green squares on a white background", "a large red star", "blurry"]
    tokens = CLIPTokenizerFast.from_pretrained(folder)(words, padding="max_length", max_length=77, return_tensors="pt")
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images=pictures(), return_tensors="pt")
    with torch.no_grad():
        found = model(input_ids=tokens["input_ids"], pixel_values=pixels["pixel_values"]).logits_per_image / model.logit_scale.exp()
    return found.diagonal().tolist()


def test_clip_score_is_100_times_the_cosine_and_never_below_zero(folder: Path, expected: list[float]) -> None:
    found = [values["clip_score"] for values in load_clip_score(folder)(pictures(), PROMPTS)]
    assert found == pytest.approx([100 * max(cosine, 0) for cosine in expected], abs=1e-4)
    assert min(found) == 0 < max(found), "both signs occur"


def test_pickscore_is_the_scaled_cosine(folder: Path, expected: list[float]) -> None:
    scale = float(small_clip().logit_scale.detach().exp())
    found = [values["pickscore"] for values in load_pickscore(folder)(pictures(), PROMPTS)]
    assert found == pytest.approx([scale * cosine for cosine in expected], rel=1e-4)


def test_batches_do_not_matter(folder: Path) -> None:
    measure = load_pickscore(folder)
    alone = [measure([image], [prompt])[0]["pickscore"] for image, prompt in zip(pictures(), PROMPTS, strict=True)]
    assert [values["pickscore"] for values in measure(pictures(), PROMPTS)] == pytest.approx(alone, rel=1e-5)


def test_a_prompt_longer_than_the_context_is_cut(folder: Path) -> None:
    clip = load_clip(folder)
    long = "star " * 300
    assert torch.isfinite(clip.of_words([long])).all()
    assert clip.of_words([long]).norm() == pytest.approx(1)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "clip", small_clip(vocab_size=500))
    with pytest.raises(NegError, match="has 890 tokens, the model beside it knows 500"):
        load_clip(folder)


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json", "preprocessor_config.json", "tokenizer.json"])
def test_damaged_files_are_said_to_be(tmp_path: Path, damage: str) -> None:
    folder = save_clip(tmp_path / "clip")
    (folder / damage).write_bytes(b"\x00nothing of the kind")
    with pytest.raises(NegError, match="cannot be read") as caught:
        load_clip_score(folder)
    assert caught.value.detail.code == "corrupt"
