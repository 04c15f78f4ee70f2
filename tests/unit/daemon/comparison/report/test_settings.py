"""Every setting that decides pictures is told, and so is what else may explain a difference."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from found import ARMS, findings

from daemon.comparison.report.settings import command, confounds, settings
from daemon.protocol.specs import AdapterRequest

NEGATIVE_ONLY = replace(ARMS[2], adapters=(AdapterRequest(sha256="ab" * 32, weight=0.0, negative_weight=1.0),))


def test_hashes_and_branches_are_told() -> None:
    told = dict(settings(findings()))
    assert told["base sha256"] == "ba5e" * 16
    assert told["refiner sha256"] == "4ef1" * 16
    assert told["adapter in target"] == f"weight 1, sha256 {'ab' * 32}"
    apart = dict(settings(replace(findings(), arms=(*ARMS[:2], NEGATIVE_ONLY))))
    assert apart["adapter in target"].startswith("weight 0 on the positive branch, 1 on the negative one, ")


def test_only_what_may_explain_it_here_is_said() -> None:
    everything = " ".join(confounds(findings()))
    assert "both branches" in everything
    assert "refiner gets the arm's negative prompt" in everything
    clean = " ".join(confounds(replace(findings(), arms=(replace(ARMS[1], refiner="none"), replace(NEGATIVE_ONLY, refiner="none")))))
    assert "both branches" not in clean
    assert "refiner" not in clean
    assert "zeroed" not in clean


def test_what_differs_beside_the_adapter_is_said() -> None:
    windowed, unrefined = replace(ARMS[1], guidance_end=0.5), replace(ARMS[1], refiner="none")
    assert "Guidance differs between arms" in " ".join(confounds(replace(findings(), arms=(ARMS[1], windowed))))
    assert "without the refiner" in " ".join(confounds(replace(findings(), arms=(ARMS[1], unrefined))))
    zeroed = " ".join(confounds(replace(findings(), arms=(ARMS[0], replace(NEGATIVE_ONLY, negative_prompt=None)))))
    assert "on zeroed embeddings" in zeroed
    usual = " ".join(confounds(findings()))
    assert "Guidance differs" not in usual
    assert "on zeroed embeddings" not in usual
    assert "without the refiner" not in usual
    positive_only = replace(ARMS[2], adapters=(AdapterRequest(sha256="ab" * 32, weight=1.0, negative_weight=0.0),))
    assert "both branches" not in " ".join(confounds(replace(findings(), arms=(*ARMS[:2], positive_only))))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "negtui compare mine"),
        ({"preset": "branches", "output_name": "branches"}, "negtui compare mine --preset branches"),
        ({"preset": "branches", "output_name": "branches-full"}, "negtui compare mine --preset branches --full"),
        ({"preset": "branches"}, "negtui compare mine"),
        ({"output_name": "default-full"}, "negtui compare mine --full"),
        ({"output_name": "default-full", "num_prompts": 3}, "negtui compare mine"),
    ],
)
def test_the_command_repeats_what_was_asked(changes: dict[str, Any], words: str) -> None:
    job = findings().job
    assert command(msgspec.structs.replace(job, comparison=msgspec.structs.replace(job.comparison, **changes))) == words
