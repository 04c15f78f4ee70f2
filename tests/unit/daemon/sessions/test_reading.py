from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from daemon import sessions
from daemon.protocol import codec
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SessionSpec
from daemon.sessions.allowed import fields_at

MODEL = '[model]\nbase = "toy"\n'
PATH = "sessions/mine/session.toml"
LOCATED = re.compile(rf"{PATH}, line [1-9]\d*: .", re.DOTALL)


def parsed_or_fault(text: str) -> SessionSpec | str:
    try:
        return sessions.parse(text, PATH)
    except NegError as error:
        return error.detail.message


def section_fields(section: str) -> list[str]:
    return [field.name for field in fields_at((section,)) or ()]


def fault(text: str) -> str:
    with pytest.raises(NegError) as caught:
        sessions.parse(text, PATH)
    assert caught.value.detail.code == "invalid"
    return caught.value.detail.message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "lacks model"),
        (MODEL + "[training]\nrank = 0", 4, "training.rank is 0; allowed: a whole number from 1 to 1024"),
        (MODEL + "[training]\n# why\n\nrank = 5000", 6, "training.rank is 5000; allowed: a whole number from 1 to 1024"),
        (MODEL + "[training]\nrank = true", 4, "training.rank is true; allowed: a whole number"),
        (MODEL + "[training]\nrnak = 1", 4, "training.rnak is not a setting; did you mean rank?"),
        (MODEL + "description = 'x'", 3, "belongs to the top of the file"),
        (MODEL + "guidance_scale = 3", 3, "model.guidance_scale is not a setting; it belongs to [comparison]"),
        (MODEL + "[trainnig]", 3, "did you mean training?"),
        (MODEL + 'torch_dtype = "fp16"', 3, "allowed: one of auto, bfloat16, float16, float32"),
        (MODEL + "[synthesis]\nwidth = 16", 3, "[synthesis] lacks keywords; allowed: a list of 1 to 1000 items"),
        (MODEL + '[synthesis]\nkeywords = ["a"]\nwidth = 12', 5, "allowed: a multiple of 8 from 8 to 4096"),
        (MODEL + '[synthesis]\nkeywords = [\n"a", # ]\n"b",\n3]', 7, "synthesis.keywords[2] is 3"),
        (MODEL + '[synthesis]\nkeywords = ["a", "a"]', 4, 'holds "a" twice'),
        (MODEL + '[synthesis]\nkeywords = ["a"]\nguidance_scales = [1, nan]', 5, "synthesis.guidance_scales[1] is nan"),
        (MODEL + '[synthesis]\nkeywords = ["a"]\nweights = ["(a)2"]', 5, 'signs as "++++"'),
        (MODEL + '[synthesis]\nkeywords = ["a"]\ndenoising_split = 1', 5, 'a number more than 0 and less than 1, or "none"'),
        (MODEL + "[training]\nlr_warmup_steps = 99999999999999999999", 4, "a whole number, 0 or more"),
        (MODEL + '[training]\noutput_name = "A B"', 4, "a name of a-z 0-9"),
        (MODEL + "[comparison]", 3, "has no prompts"),
        (MODEL + '[comparison]\nprompts = [\n{ prompt = "x" },\n{ prompt = "}", seed = -1 } ]', 6, "comparison.prompts[1].seed is -1"),
        (
            MODEL
            + "[[comparison.arms]]\nname = 'a'\n[[comparison.arms]]\nname = 'b'\n[[comparison.arms.adapters]]\nname = 'c'\nweight = 99",
            9,
            "from -10 to 10",
        ),
        (
            MODEL + "[comparison]\nprompts_file = 'p'\n[[comparison.arms]]\nname = 'a'\n[[comparison.arms]]\nname = 'a'",
            8,
            'two arms called "a"',
        ),
        (MODEL + "[comparison]\nprompts_file = 'p'\npreset = 'subject'", 5, "needs an adapter"),
        (MODEL + "[training]\n[comparison]\nprompts_file = 'p'\npreset = 'subject'", 6, "needs a second adapter, of the subject"),
        (MODEL + "[comparison]\nprompts_file = 'p'\npreset = 'placebo'\n[[comparison.arms]]\nname = 'a'", 5, "both arms and a preset"),
        (MODEL + "[comparison]\npreset = 'his'", 4, "allowed: one of branches, checkpoints, guidance"),
        (
            MODEL + "[comparison]\nprompts_file = 'p'\n[[comparison.arms]]\nname = 'a'\nguidance_start = 0.5\nguidance_end = 0.4",
            7,
            "allowed: less than guidance_end",
        ),
        (MODEL + '[comparison]\nprompts = [\n{ prompt = "a (cat:1.5)" }]', 5, "Write (cat)1.5"),
        (MODEL + "[sweep]\nweights = [1, 2]", 3, "prompts and seeds of [comparison], which is missing"),
        (MODEL + "[comparison]\nprompts_file = 'p'\n[sweep]\nweights = [1]", 5, "sweep: The sweep has one cell only"),
        (
            MODEL + "[comparison]\nprompts_file = 'p'\n[sweep]\nweights = [1, 2]\narm.name = 'a'\narm.negative_prompt = '(x:2)'",
            8,
            "Write (x)2",
        ),
        (MODEL + "[[merging]]\nadapters = [{ name = 'a' }, { name = 'a' }]", 3, "names an adapter twice"),
        (MODEL + 2 * "[[merging]]\nadapters = [{ name = 'a' }, { name = 'b' }]\n", 5, 'makes "merged" twice'),
        (MODEL + "\nx = [1,\n", 5, "this is not TOML"),
        (MODEL + "rank 4", 3, "this is not TOML"),
        ("x = " + "[" * 5000, 1, "nested too deeply"),
        ("x = " + "9" * 5000, 1, "too many digits"),
        ("\nx = '\ud800'", 2, "not Unicode"),
        ("model.base = 3", 1, "model.base is 3"),
        ('model = { base = """\n\n""", device = "tpu" }', 3, "allowed: one of auto, cpu, cuda"),
    ],
)
def test_a_bad_file_names_file_line_and_what_is_allowed(text: str, line: int, words: str) -> None:
    message = fault(text)
    assert message.startswith(f"{PATH}, line {line}: ")
    assert words in message


@given(st.text() | st.text(st.sampled_from("[]{}=\"'.,#\n ab1\\-")) | st.text().map(lambda text: MODEL + text))
@example("a = '''\n'''''\nb = 1")
def test_any_text_is_a_spec_or_a_fault_with_a_line(text: str) -> None:
    outcome = parsed_or_fault(text)
    assert isinstance(outcome, SessionSpec) or LOCATED.match(outcome)


PLAIN = st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=5)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "prompt", "seed", "weight", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
SETTINGS = [(section, field) for section in ("model", "synthesis", "training", "comparison") for field in section_fields(section)]


@given(st.dictionaries(st.sampled_from(SETTINGS), VALUES, max_size=6))
def test_any_values_are_a_spec_that_the_wire_takes_or_a_fault_with_a_line(settings: dict[tuple[str, str], object]) -> None:
    document: dict[str, dict[str, object]] = {"model": {"base": "toy"}}
    for (section, field), value in settings.items():
        document.setdefault(section, {})[field] = value
    outcome = parsed_or_fault(tomlkit.dumps(document))
    if isinstance(outcome, SessionSpec):
        assert msgspec.msgpack.decode(codec.encode(outcome), type=SessionSpec) == outcome
    else:
        assert LOCATED.match(outcome)


def test_none_is_written_as_a_text_where_no_text_may_stand() -> None:
    spec = sessions.parse(MODEL + '[synthesis]\nkeywords = ["none"]\ndenoising_split = "none"\nnegative_prompt = "none"')
    assert spec.synthesis is not None
    assert spec.synthesis.denoising_split is None
    assert spec.synthesis.keywords == ("none",)
    assert spec.synthesis.negative_prompt == "none"


def test_reading_says_what_is_missing_or_broken(sessions_path: Path) -> None:
    sessions.create(sessions_path, "mine", "toy", {}, skip_checks=True)
    with pytest.raises(NegError, match=r"did you mean mine\?"):
        sessions.read(sessions_path, "mien")
    with pytest.raises(NegError, match="cannot name a session"):
        sessions.read(sessions_path, "..")
    (sessions_path / "mine" / "session.toml").write_bytes(MODEL.encode() + b"# \xff")
    with pytest.raises(NegError, match=r"sessions/mine/session.toml, line 3: this is not UTF-8"):
        sessions.read(sessions_path, "mine")
    (sessions_path / "mine" / "session.toml").write_bytes(b"#" * 2**21)
    with pytest.raises(NegError, match="larger than"):
        sessions.read(sessions_path, "mine")
