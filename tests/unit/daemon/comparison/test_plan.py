"""Blocks and cells: every arm paints the same blocks, each once, block by block."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from painting import IDENTITY

from daemon.comparison.arms import Arm
from daemon.comparison.plan import Block, plan_blocks, plan_cells, prompt_clusters
from daemon.pictures import image_id
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, ComparisonSpec, EmbeddingRequest, PromptSpec

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


def test_what_is_as_usual_is_not_part_of_an_id() -> None:
    usual = Arm("usual", (), "wrong", "", guidance_scale=13.0, guidance_start=0.0, guidance_end=1.0, refiner="arm")
    others = (
        Arm("guidance", (), "wrong", "", guidance_scale=5.0),
        Arm("late", (), "wrong", "", guidance_start=0.2),
        Arm("early", (), "wrong", "", guidance_end=0.8),
        Arm("shared", (), "wrong", "", refiner="shared"),
        Arm("none", (), "wrong", "", refiner="none"),
    )
    settings = spec(PromptSpec(prompt="a wolf"))
    plain, ours, *changed = plan_cells(settings, plan_blocks(settings), (ARMS[1], usual, *others), IDENTITY)
    assert image_id(ours.request) == image_id(plain.request)
    assert len({image_id(cell.request) for cell in (plain, *changed)}) == 1 + len(others)
    assert [cell.request.guidance_scale for cell in changed] == [5.0, 13.0, 13.0, 13.0, 13.0]
    assert (changed[-1].request.refiner_sha256, changed[-1].request.denoising_split) == (None, None)


def test_a_refiner_without_negative_prompt_is_the_usual_one_where_the_arm_has_none() -> None:
    arms = (Arm("arm", (), None, ""), Arm("shared", (), None, "", refiner="shared"))
    settings = spec(PromptSpec(prompt="a wolf"))
    one, other = plan_cells(settings, plan_blocks(settings), arms, IDENTITY)
    assert image_id(one.request) == image_id(other.request)


def test_prompts_come_before_those_of_the_file_and_are_counted_together() -> None:
    blocks = plan_blocks(spec(PromptSpec(prompt="first"), num_prompts=2), [PromptSpec(prompt="second"), PromptSpec(prompt="third")])
    assert [block.prompt for block in blocks] == ["first", "second"]


def test_blocks_of_a_prompt_are_one_cluster_wherever_they_stand() -> None:
    assert prompt_clusters([Block(4, "b", 0), Block(5, "a", 0), Block(6, "b", 1), Block(7, "c", 0)]) == [0, 1, 0, 2]


def test_no_prompts_is_an_error_in_words() -> None:
    with pytest.raises(NegError, match="no prompts"):
        plan_blocks(spec())


def test_an_embedding_is_part_of_a_cell_where_its_token_stands_in_the_words() -> None:
    use = EmbeddingRequest(sha256="e5", placeholder_token="<wrong>")
    arms = (
        Arm("plain", (), "ugly", ""),
        Arm("negative", (), "ugly, (<wrong>)++", "", (use,)),
        Arm("positive", (), "ugly", "", (use,)),
    )
    settings = spec(PromptSpec(prompt="a wolf", seed=1), PromptSpec(prompt="a <WRONG> wolf", seed=1))
    cells = {(cell.arm.name, cell.block.index): cell.request for cell in plan_cells(settings, plan_blocks(settings), arms, IDENTITY)}
    held = {place for place, request in cells.items() if request.embeddings}
    assert held == {("negative", 0), ("negative", 1), ("positive", 1)}
    assert image_id(cells["positive", 0]) == image_id(cells["plain", 0]), "equal pixels, equal ids"
    assert image_id(cells["positive", 1]) != image_id(cells["plain", 1])


def test_an_embedding_that_nothing_names_is_refused() -> None:
    arm = Arm("target", (), "wrong", "", (EmbeddingRequest(sha256="e5", placeholder_token="<wrong>"),))
    settings = spec(PromptSpec(prompt="a wolf"))
    with pytest.raises(NegError, match="stands neither in its negative_prompt nor in a prompt"):
        plan_cells(settings, plan_blocks(settings), (arm,), IDENTITY)
