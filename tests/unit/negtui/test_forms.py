from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.training_spec import TrainingSpec
from negtui import forms

OPTIONS = {option.name: option for option in forms.options(TrainingSpec)}


def test_every_option_is_there_with_its_meaning_default_and_group() -> None:
    assert list(OPTIONS) == [field.name for field in msgspec.structs.fields(TrainingSpec)]
    assert all(option.meaning and option.allowed for option in OPTIONS.values())
    assert {name: option.default for name, option in OPTIONS.items()} == msgspec.structs.asdict(TrainingSpec())
    assert list(forms.groups(TrainingSpec))[:3] == ["The result", "What is learned", "Data"]
    assert OPTIONS["rank"].group == "What is learned"
    assert OPTIONS["rank"].meaning == "Of the adapter's matrices: its size and its reach."


@pytest.mark.parametrize(
    ("name", "kind", "allowed"),
    [
        ("rank", "whole", "a whole number, 1 to 1024"),
        ("lora_alpha", "number", "a number, above 0, or none"),
        ("ema_decay", "number", "a number, at least 0, below 1"),
        ("resolution", "whole", "a whole number, 8 to 4096, a multiple of 8"),
        ("seed", "whole", "a whole number, at least 0"),
        ("use_dora", "switch", "yes or no"),
        ("optimizer", "choice", "adamw | adamw8bit | prodigy | schedulefree | adafactor"),
        ("report_to", "choices", "a list of tensorboard | trackio"),
        ("sample_prompts", "texts", "a list of texts"),
        ("output_name", "text", "a-z 0-9 . _ - , at most 63 characters"),
    ],
)
def test_kinds_and_ranges_are_read_off_the_types(name: str, kind: str, allowed: str) -> None:
    assert (OPTIONS[name].kind, OPTIONS[name].allowed) == (kind, allowed)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rank", " 8 ", 8),
        ("learning_rate", "1e-4", 1e-4),
        ("lora_alpha", "none", None),
        ("lora_alpha", "", None),
        ("use_dora", "yes", True),
        ("optimizer", "prodigy", "prodigy"),
        ("instance_prompt", "", ""),
        ("report_to", "tensorboard, trackio", ("tensorboard", "trackio")),
        ("sample_prompts", "a star, red", ("a star, red",)),
        ("sample_prompts", '["a star", "a \\"b\\""]', ("a star", 'a "b"')),
        ("sample_prompts", "", ()),
    ],
)
def test_texts_become_values(name: str, text: str, value: Any) -> None:
    found = forms.read(OPTIONS[name], text)
    assert found == value
    forms.check(TrainingSpec, OPTIONS[name], found)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rank", "four", "must be a whole number, 1 to 1024"),
        ("rank", "0", "must be a whole number, 1 to 1024"),
        ("rank", "1.5", "must be a whole number"),
        ("learning_rate", "inf", "must be a number, above 0"),
        ("learning_rate", "nan", "must be a number, above 0"),
        ("resolution", "12", "a multiple of 8"),
        ("optimizer", "sgd", "must be adamw |"),
        ("use_dora", "perhaps", "must be yes or no"),
        ("init_adapter", "../other", "a-z 0-9"),
        ("sample_prompts", '["a"', "must be a list"),
        ("sample_prompts", "[1]", "must be a list of texts"),
    ],
)
def test_bad_texts_are_refused_in_words(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        forms.check(TrainingSpec, OPTIONS[name], forms.read(OPTIONS[name], text))
    assert words in str(caught.value)


VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.tuples(st.text())
)


@given(VALUES)
def test_toml_reads_back_what_was_written(value: Any) -> None:
    text = forms.as_toml(value)
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        back = tomllib.loads(f"value = {text}")["value"]
        assert (tuple(back) if isinstance(back, list) else back) == value


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_what_is_shown_reads_back(option: forms.Option) -> None:
    assert forms.read(option, forms.written(option.default)) == option.default
    assert not forms.changed(option, option.default)
