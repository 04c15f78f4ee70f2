from pathlib import Path
from typing import Any

import msgspec
import pytest
from parents import BOTH, context, merge_job, save_parent

from daemon.merging.plan import make_plan
from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import ParentAdapter


@pytest.fixture
def session_path(tmp_path: Path, parts: Any) -> Path:
    save_parent(tmp_path, parts, "wrong", 1)
    save_parent(tmp_path, parts, "subject", 2)
    return tmp_path


def test_a_plan_knows_its_parents_and_their_words(session_path: Path, parts: Any) -> None:
    plan = make_plan(merge_job(), context(session_path, parts))
    assert [(parent.name, parent.weight, parent.instance_prompt) for parent in plan.parents] == [
        ("wrong", 1.0, "wrong words"),
        ("subject", 0.7, "subject words"),
    ]
    assert plan.words == "wrong words, subject words"
    assert plan.place.path == session_path / "adapters" / "merged"


def test_the_fingerprint_is_of_what_decides_the_weights(session_path: Path, parts: Any) -> None:
    def key(**changes: Any) -> str:
        return make_plan(merge_job(**changes), context(session_path, parts)).place.fingerprint

    first = key()
    assert key(output_name="other", seed=7, majority_sign_method="frequency") == first
    different = [
        key(combination_type="svd"),
        key(combination_type="svd", svd_rank=2),
        key(combination_type="ties", density=0.5),
        key(combination_type="ties", density=0.5, majority_sign_method="frequency"),
        key(combination_type="dare_linear", density=0.5),
        key(combination_type="dare_linear", density=0.5, seed=7),
        key(adapters=(BOTH[0], msgspec.structs.replace(BOTH[1], weight=0.8))),
    ]
    assert len({first, *different}) == 8


def test_an_unknown_adapter_is_said_with_those_that_are_there(session_path: Path, parts: Any) -> None:
    with pytest.raises(NegError, match=r"no adapter 'sonic'.*there are subject, wrong") as caught:
        make_plan(merge_job(adapters=(BOTH[0], ParentAdapter(name="sonic"))), context(session_path, parts))
    assert caught.value.detail.code == "not_found"
    (session_path / "adapters" / "sonic").mkdir()
    (session_path / "adapters" / "sonic" / "learned_embeds.safetensors").write_bytes(b"")
    with pytest.raises(NegError, match="learned embedding"):
        make_plan(merge_job(adapters=(BOTH[0], ParentAdapter(name="sonic"))), context(session_path, parts))


@pytest.mark.parametrize(
    ("changes", "kind"), [({"use_dora": True}, "a DoRA"), ({"peft_type": "loha"}, "a LoHa"), ({"peft_type": "lokr"}, "a LoKr")]
)
def test_what_peft_does_not_merge_is_said(session_path: Path, parts: Any, changes: dict[str, Any], kind: str) -> None:
    save_parent(session_path, parts, "other", 3, **changes)
    with pytest.raises(NegError, match=f"'other' is {kind}: only plain LoRAs"):
        make_plan(merge_job(adapters=(BOTH[0], ParentAdapter(name="other"))), context(session_path, parts))
