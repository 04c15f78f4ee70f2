"""Arms are resolved to adapter files by hash; what is missing is said in words."""

from pathlib import Path

import numpy as np
import pytest
from painting import FakeEngine
from safetensors.numpy import save_file

from daemon.comparison.arms import arm_title, resolve_arms
from daemon.files import sha256_file, write_atomic
from daemon.models.embedding_files import PLACEHOLDER_KEY
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, AdapterUse, ArmSpec, ComparisonSpec, EmbeddingRequest, EmbeddingUse

FILE = "adapters/wrong/pytorch_lora_weights.safetensors"


def test_the_default_arms_are_the_method_s_three(tmp_path: Path) -> None:
    write_atomic(tmp_path / FILE, b"weights")
    engine = FakeEngine()
    baseline, placebo, target = resolve_arms(ComparisonSpec().arms, tmp_path, engine)
    assert (baseline.name, baseline.adapters, baseline.negative_prompt) == ("baseline", (), None)
    assert (placebo.name, placebo.adapters, placebo.negative_prompt) == ("placebo", (), "wrong")
    assert target.adapters == (AdapterRequest(sha256=sha256_file(tmp_path / FILE), weight=1.0),)
    assert target.negative_prompt == "wrong"
    assert engine.offered == [tmp_path / FILE]


def test_an_adapter_that_was_not_trained_is_named(tmp_path: Path) -> None:
    with pytest.raises(NegError) as caught:
        resolve_arms(ComparisonSpec().arms, tmp_path, FakeEngine())
    assert caught.value.detail.code == "not_found"
    assert "'target'" in str(caught.value)
    assert "adapters/wrong/pytorch_lora_weights.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    "arms",
    [
        (ArmSpec(name="same"), ArmSpec(name="same", negative_prompt="wrong")),
        (ArmSpec(name="twice", adapters=(AdapterUse(name="wrong"), AdapterUse(name="wrong", weight=0.5))),),
    ],
)
def test_what_is_ambiguous_is_refused(tmp_path: Path, arms: tuple[ArmSpec, ...]) -> None:
    write_atomic(tmp_path / FILE, b"weights")
    with pytest.raises(NegError) as caught:
        resolve_arms(arms, tmp_path, FakeEngine())
    assert caught.value.detail.code == "invalid"


def test_an_adapter_of_weight_zero_is_no_adapter(tmp_path: Path) -> None:
    write_atomic(tmp_path / FILE, b"weights")
    (arm,) = resolve_arms((ArmSpec(name="off", adapters=(AdapterUse(name="wrong", weight=0),)),), tmp_path, FakeEngine())
    assert arm.adapters == ()


def test_titles_tell_the_missing_negative_from_the_empty_one() -> None:
    titles = {arm_title(ArmSpec(name="a")), arm_title(ArmSpec(name="a", negative_prompt=""))}
    assert titles == {"no negative prompt", 'negative ""'}
    spec = ArmSpec(name="a", adapters=(AdapterUse(name="wrong", weight=-0.5),), negative_prompt="wrong")
    assert arm_title(spec) == 'LoRA wrong x -0.5, negative "wrong"'


def test_an_adapter_has_a_weight_for_each_branch(tmp_path: Path) -> None:
    write_atomic(tmp_path / FILE, b"weights")
    uses = (
        AdapterUse(name="wrong", positive_weight=0),
        AdapterUse(name="wrong", negative_weight=0),
        AdapterUse(name="wrong", positive_weight=0.5, negative_weight=0.5),
    )
    specs = [ArmSpec(name=f"arm-{number}", adapters=(use,), negative_prompt="wrong") for number, use in enumerate(uses)]
    arms = resolve_arms(specs, tmp_path, FakeEngine())
    sha256 = sha256_file(tmp_path / FILE)
    assert [arm.adapters[0] for arm in arms] == [
        AdapterRequest(sha256=sha256, weight=0, negative_weight=1),
        AdapterRequest(sha256=sha256, weight=1, negative_weight=0),
        AdapterRequest(sha256=sha256, weight=0.5),
    ]
    assert [arm.title for arm in arms] == [
        'LoRA wrong on the negative branch, negative "wrong"',
        'LoRA wrong on the positive branch, negative "wrong"',
        'LoRA wrong x 0.5, negative "wrong"',
    ]


def test_an_adapter_of_an_earlier_step_is_a_file_of_its_own(tmp_path: Path) -> None:
    write_atomic(tmp_path / FILE, b"weights")
    write_atomic(tmp_path / "adapters/wrong/step-000100/pytorch_lora_weights.safetensors", b"earlier")
    use = AdapterUse(name="wrong", checkpoint=100)
    (arm,) = resolve_arms((ArmSpec(name="a", adapters=(use, AdapterUse(name="wrong", weight=-1))),), tmp_path, FakeEngine())
    assert len({one.sha256 for one in arm.adapters}) == 2
    assert arm.title == "LoRA wrong of step 100, LoRA wrong x -1, no negative prompt"
    with pytest.raises(NegError, match="adapters/wrong/step-000200/"):
        resolve_arms((ArmSpec(name="a", adapters=(AdapterUse(name="wrong", checkpoint=200),)),), tmp_path, FakeEngine())


def test_guidance_and_refiner_are_the_arm_s_own_and_told(tmp_path: Path) -> None:
    spec = ArmSpec(name="a", negative_prompt="wrong", guidance_scale=5, guidance_start=0.2, guidance_end=0.8, refiner="shared")
    (arm,) = resolve_arms((spec,), tmp_path, FakeEngine())
    assert (arm.guidance_scale, arm.guidance_start, arm.guidance_end, arm.refiner) == (5, 0.2, 0.8, "shared")
    assert arm.title == 'negative "wrong", guidance 5, guided from 0.2 to 0.8, refiner without negative prompt'
    with pytest.raises(NegError, match="guidance_start is not before guidance_end"):
        resolve_arms((ArmSpec(name="a", guidance_start=0.5, guidance_end=0.5),), tmp_path, FakeEngine())


def write_embedding(session_path: Path, name: str, token: str | None = None) -> Path:
    path = session_path / "adapters" / name / "learned_embeds.safetensors"
    path.parent.mkdir(parents=True)
    vectors = {key: np.full((2, 4), len(name), np.float32) for key in ("clip_l", "clip_g")}
    save_file(vectors, path, metadata={PLACEHOLDER_KEY: token} if token else None)
    return path


def test_an_embedding_goes_by_its_file_and_the_token_it_was_trained_as_unless_another_is_named(tmp_path: Path) -> None:
    path, engine = write_embedding(tmp_path, "wrong-ti", "<wrong>"), FakeEngine()
    uses = (EmbeddingUse(name="wrong-ti"), EmbeddingUse(name="wrong-ti", placeholder_token="<bad>"))
    spec = ArmSpec(name="learned", embeddings=uses, negative_prompt="<wrong>")
    (arm,) = resolve_arms((spec,), tmp_path, engine)
    assert arm.embeddings == tuple(EmbeddingRequest(sha256=sha256_file(path), placeholder_token=token) for token in ("<wrong>", "<bad>"))
    assert engine.offered == [path, path]
    assert arm.title == 'embedding wrong-ti, embedding wrong-ti, negative "<wrong>"'


@pytest.mark.parametrize(
    ("uses", "code", "words"),
    [
        ((EmbeddingUse(name="absent"),), "not_found", "'learned' wants the embedding 'absent'"),
        ((EmbeddingUse(name="foreign"),), "invalid", "does not tell what stands for it"),
        ((EmbeddingUse(name="wrong-ti"), EmbeddingUse(name="foreign", placeholder_token="<WRONG>")), "invalid", "2 embeddings for <wrong>"),
    ],
)
def test_an_embedding_that_cannot_be_named_is_refused(tmp_path: Path, uses: tuple[EmbeddingUse, ...], code: str, words: str) -> None:
    write_embedding(tmp_path, "wrong-ti", "<wrong>")
    write_embedding(tmp_path, "foreign")
    with pytest.raises(NegError, match=words) as caught:
        resolve_arms((ArmSpec(name="learned", embeddings=uses, negative_prompt="<wrong>"),), tmp_path, FakeEngine())
    assert caught.value.detail.code == code
