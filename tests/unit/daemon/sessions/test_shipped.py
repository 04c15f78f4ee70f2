from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from daemon import config, sessions
from daemon.protocol import codec
from daemon.protocol.specs import CompareJob


@pytest.mark.parametrize("template", ["toy", "wrong"])
def test_the_shipped_sessions_are_in_order_and_survive_the_wire(template: str, sessions_path: Path) -> None:
    answer = sessions.create(sessions_path, "mine", template, {}, skip_checks=True)
    for job in sessions.job_specs("mine", answer.spec).values():
        assert msgspec.msgpack.decode(codec.encode(job), type=type(job)) == job
    assert list(sessions.job_specs("mine", answer.spec)) == ["synthesize", "train", "compare"]


def test_the_original_experiment_has_78_images_and_its_ten_prompts(sessions_path: Path) -> None:
    spec = sessions.create(sessions_path, "mine", "wrong", {}, skip_checks=True).spec
    assert spec.synthesis is not None
    assert len(spec.synthesis.keywords) * len(spec.synthesis.guidance_scales) * len(spec.synthesis.seeds) == 78
    assert spec.comparison is not None
    assert [prompt.seed for prompt in spec.comparison.prompts] == [84061037, 84061037, 58074327, 69171405, 49201147] + [None] * 5


def test_the_toys_keywords_are_flaws_it_knows_and_its_prompts_are_distinct() -> None:
    from daemon.toy.captions import BLAME
    from daemon.toy.scenes import FLAWS, parse

    root = config.source_root()
    assert root is not None
    spec = sessions.read(root / "sessions", "toy")
    assert spec.synthesis is not None
    assert set(spec.synthesis.keywords) <= {*FLAWS, *BLAME}
    prompts = (root / "sessions" / "toy" / "prompts.txt").read_text().splitlines()
    assert len(set(prompts)) == len(prompts) >= 200
    assert all(parse(prompt) is not None for prompt in prompts)


def test_full_compares_on_all_prompts_under_a_name_of_its_own(sessions_path: Path) -> None:
    spec = sessions.create(sessions_path, "mine", "toy", {}, skip_checks=True).spec
    demo, full = (sessions.job_specs("mine", spec, full)["compare"] for full in (False, True))
    assert isinstance(demo, CompareJob)
    assert isinstance(full, CompareJob)
    assert demo.comparison.num_prompts > 0 == full.comparison.num_prompts
    assert (demo.comparison.output_name, full.comparison.output_name) == ("default", "default-full")
