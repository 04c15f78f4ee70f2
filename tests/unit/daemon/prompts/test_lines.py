from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.prompts.lines import parse_prompts, read_prompts_file
from daemon.protocol.errors import NegError
from daemon.protocol.specs import PromptSpec


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


def test_a_weight_that_compel_would_not_read_is_named_with_its_line() -> None:
    with pytest.raises(NegError, match=r"prompts\.txt, line 2"):
        parse_prompts("a star\n7\ta (star:1.5)", "prompts.txt")
