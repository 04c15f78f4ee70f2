"""Blocks and cells: every arm paints the same blocks, each once, block by block."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from painting import IDENTITY

from daemon.comparison.arms import Arm
from daemon.comparison.plan import parse_prompts, plan_blocks, plan_cells, read_prompts_file
from daemon.pictures import image_id
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, ComparisonSpec, PromptSpec

ARMS = (
    Arm("baseline", (), None, ""),
    Arm("placebo", (), "wrong", ""),
    Arm("target", (AdapterRequest(sha256="ada9", weight=1.0),), "wrong", ""),
)
seeds = st.integers(0, 2**63 - 1)
prompts = st.builds(PromptSpec, prompt=st.text(min_size=1, max_size=20), seed=st.none() | seeds)


def spec(*chosen: PromptSpec, **changes: object) -> ComparisonSpec:
    return ComparisonSpec(prompts=chosen, **changes)


@given(chosen=st.lists(prompts, min_size=1, max_size=8), common=st.lists(seeds, min_size=1, max_size=3), limit=st.integers(0, 10))
def test_blocks_are_distinct_and_keep_a_prompt_s_own_seed(chosen: list[PromptSpec], common: list[int], limit: int) -> None:
    blocks = plan_blocks(spec(*chosen, seeds=tuple(common), num_prompts=limit))
    used = chosen[: limit or None]
    expected = {(one.prompt, seed) for one in used for seed in ([one.seed] if one.seed is not None else common)}
    assert {(block.prompt, block.seed) for block in blocks} == expected
    assert len(blocks) == len(expected)
    assert [block.index for block in blocks] == list(range(len(blocks)))


def test_cells_go_block_by_block_with_the_same_seed_in_every_arm() -> None:
    settings = spec(PromptSpec(prompt="a wolf", seed=84061037), PromptSpec(prompt="a pizza"), seeds=(1, 2))
    cells = plan_cells(settings, plan_blocks(settings), ARMS, IDENTITY)
    blocks = [("a wolf", 84061037), ("a pizza", 1), ("a pizza", 2)]
    expected = [(prompt, seed, arm) for prompt, seed in blocks for arm in ("baseline", "placebo", "target")]
    assert [(cell.block.prompt, cell.block.seed, cell.arm.name) for cell in cells] == expected
    for cell in cells:
        assert (cell.request.prompt, cell.request.seed) == (cell.block.prompt, cell.block.seed)
        assert (cell.request.negative_prompt, cell.request.adapters) == (cell.arm.negative_prompt, cell.arm.adapters)
        assert cell.request.guidance_scale == 13
    assert len({image_id(cell.request) for cell in cells}) == len(cells)


def test_prompts_come_before_those_of_the_file_and_are_counted_together() -> None:
    blocks = plan_blocks(spec(PromptSpec(prompt="first"), num_prompts=2), [PromptSpec(prompt="second"), PromptSpec(prompt="third")])
    assert [block.prompt for block in blocks] == ["first", "second"]


def test_no_prompts_is_an_error_in_words() -> None:
    with pytest.raises(NegError, match="no prompts"):
        plan_blocks(spec())


def test_a_prompts_file_is_read(tmp_path: Path) -> None:
    text = "# his prompts\n\n84061037\tA wolf in Yosemite\r\n  a pizza, (oil on canvas)+++++  \n#hashtag art\n"
    (tmp_path / "prompts.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_prompts_file(tmp_path, "prompts.txt") == (
        PromptSpec(prompt="A wolf in Yosemite", seed=84061037),
        PromptSpec(prompt="a pizza, (oil on canvas)+++++"),
        PromptSpec(prompt="#hashtag art"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("a\nx\ta wolf\n", "line 2"), ("-1\ta wolf", "line 1"), (f"{2**63}\ta wolf", "line 1"), ("a" * 8193, "line 1"), ("1\t2\t", None)],
)
def test_a_bad_line_is_named(text: str, said: str | None) -> None:
    if said is None:
        assert parse_prompts(text, "prompts.txt") == (PromptSpec(prompt="2", seed=1),)
    else:
        with pytest.raises(NegError, match=f"prompts.txt, {said}"):
            parse_prompts(text, "prompts.txt")


@pytest.mark.parametrize(("name", "code"), [("missing.txt", "not_found"), ("../outside.txt", "invalid"), (".", "not_found")])
def test_a_file_that_cannot_be_read_is_said_in_words(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "session").mkdir()
    (tmp_path / "outside.txt").write_text("a secret")
    with pytest.raises(NegError) as caught:
        read_prompts_file(tmp_path / "session", name)
    assert caught.value.detail.code == code


def test_a_file_that_is_no_text_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NegError, match="UTF-8"):
        read_prompts_file(tmp_path, "prompts.txt")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        found = parse_prompts(text, "prompts.txt")
    except NegError as error:
        said = error.detail.message
    else:
        said = "prompts.txt, line 0: nothing"
        assert all(one.prompt == one.prompt.strip() for one in found)
        assert len(found) <= text.count("\n") + 1
    assert said.startswith("prompts.txt, line ")
