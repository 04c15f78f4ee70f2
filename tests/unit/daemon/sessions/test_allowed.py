from __future__ import annotations

import pytest

from daemon.sessions.allowed import did_you_mean, fields_at, in_words, type_at
from daemon.sessions.toml_lines import TomlPath


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("training", "rank"), "a whole number from 1 to 1024"),
        (("training", "lr_warmup_steps"), "a whole number, 0 or more"),
        (("training", "learning_rate"), "a number more than 0"),
        (("training", "adam_beta1"), "a number from 0 and less than 1"),
        (("training", "lora_alpha"), 'a number more than 0, or "none"'),
        (("training", "gradient_checkpointing"), "true or false"),
        (("training", "output_name"), "a name of a-z 0-9 . _ - , at most 63 characters"),
        (("synthesis", "width"), "a multiple of 8 from 8 to 4096"),
        (("synthesis", "keywords"), "a list of 1 to 1000 items, each a text of 1 to 200 characters"),
        (("synthesis", "weights", 0), "a text, or a number"),
        (("comparison", "arms", 3, "adapters", 0, "weight"), "a number from -10 to 10"),
        (("comparison", "arms", 0, "adapters", 0), "a table with name, weight, positive_weight, negative_weight, checkpoint"),
        (("model", "device"), "one of auto, cpu, cuda"),
        (("model", "vae"), "a text of 1 to 4096 characters, or left out"),
    ],
)
def test_what_is_allowed_is_said_in_words(path: TomlPath, expected: str) -> None:
    kind = type_at(path)
    assert kind is not None
    assert in_words(kind) == expected


def every_setting(path: TomlPath = ()) -> list[TomlPath]:
    paths = [path]
    for field in fields_at(path) or ():
        inner = (*path, field.name)
        paths += every_setting((*inner, 0) if fields_at((*inner, 0)) else inner)
    return paths


def test_every_setting_has_words() -> None:
    paths = every_setting()
    assert len(paths) > 50
    for path in paths:
        kind = type_at(path)
        assert kind is not None
        assert "Type" not in in_words(kind)


def test_a_list_of_pairs_is_told_item_by_item() -> None:
    kind = type_at(("sweep", "guidance_windows"))
    assert kind is not None
    assert in_words(kind) == "a list of at most 64 items, each a list of a number from 0 to 1 and a number from 0 to 1"


@pytest.mark.parametrize("path", [("nothing",), ("model", "base", "x"), ("synthesis", "keywords", "x"), ("model", 0)])
def test_what_is_no_setting_has_no_type(path: TomlPath) -> None:
    assert type_at(path) is None


def test_the_nearest_words_are_offered_or_all() -> None:
    assert did_you_mean("rnak", ["rank", "seed"]) == "did you mean rank?"
    assert did_you_mean("zzz", ["seed", "rank"]) == "known are rank, seed"
    assert did_you_mean("zzz", []) == "none is known"
