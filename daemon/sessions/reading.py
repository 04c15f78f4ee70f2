"""`session.toml` -> `SessionSpec`. Whatever is wrong is said with its file, line and what is allowed there."""

from __future__ import annotations

import contextlib
import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from daemon.prompts.weighting import check_weighting
from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import require_sound_merge
from daemon.protocol.specs import ComparisonSpec, SessionSpec, arms_of
from daemon.protocol.sweep_spec import require_sound_sweep
from daemon.sessions.allowed import admits_none, admits_text, did_you_mean, fields_at, in_words, type_at
from daemon.sessions.toml_lines import TomlPath, nearest_line, toml_lines

SESSION_FILE = "session.toml"
MAX_SESSION_BYTES = 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_COMPEL_SIGNS = re.compile(r"\++|-+")
_DISTINCT: tuple[TomlPath, ...] = tuple(
    [("synthesis", name) for name in ("keywords", "weights", "guidance_scales", "seeds")]
    + [("comparison", "seeds"), ("comparison", "scorers")]
)


def parse(text: str, path: str | Path = SESSION_FILE) -> SessionSpec:
    """A `session.toml`'s text as a spec; `path` is what errors call it. Raises `NegError` `invalid` with line and allowed values."""
    text = text.replace("\r\n", "\n")
    settings = _toml(text, path)
    try:
        _require_known(settings, ())
        _require_numbers(settings, ())
        settings = _with_none(settings, ())
        spec = _convert(settings)
        _require_sense(spec)
    except _Fault as fault:
        line = nearest_line(toml_lines(text), fault.path)
        raise NegError("invalid", f"{path}, line {line}: {_sentence(str(fault))}") from None
    return spec


def read(sessions_path: Path, name: str) -> SessionSpec:
    """The spec of `sessions_path/name` as it is on disk now. Raises `NegError` `not_found` or `invalid`."""
    return parse(read_text(sessions_path, name), label(sessions_path, name))


def label(sessions_path: Path, name: str) -> str:
    """What errors call a session's file."""
    return f"{sessions_path.name}/{name}/{SESSION_FILE}"


def require_session(sessions_path: Path, name: str) -> Path:
    """The folder of a session that is there, whatever its file says. Raises `NegError` `not_found` or `invalid`."""
    require_name(name)
    if not (sessions_path / name / SESSION_FILE).is_file():
        raise not_there(sessions_path, name)
    return sessions_path / name


def not_there(sessions_path: Path, name: str) -> NegError:
    """That there is no such session, and which there are."""
    known = did_you_mean(name, session_names(sessions_path))
    return NegError("not_found", f"There is no session {name!r} in {sessions_path}: {known}", f"Make it: negtui new {name} --template toy")


def read_text(sessions_path: Path, name: str) -> str:
    """The text of a session's file as it is, whatever it says. Raises `NegError` `not_found`, `too_large` or `invalid`."""
    require_name(name)
    path = sessions_path / name / SESSION_FILE
    where = label(sessions_path, name)
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_SESSION_BYTES else None
    except (FileNotFoundError, NotADirectoryError):
        raise not_there(sessions_path, name) from None
    except OSError as error:
        raise NegError("invalid", f"{where} cannot be read: {error.strerror}.", "Check its permissions.") from None
    if content is None:
        raise NegError("too_large", f"{where} is larger than {MAX_SESSION_BYTES // 1024} KiB.", "Move long prompt lists to a prompts_file.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NegError("invalid", f"{where}, line {line}: this is not UTF-8 text.", "Save the file as UTF-8.") from None


def require_name(name: str) -> None:
    """Raise `NegError` `invalid` unless `name` may name a session."""
    if not _NAME.fullmatch(name):
        raise NegError("invalid", f"{name!r} cannot name a session.", "Use a-z 0-9 . _ -, a letter or digit first, at most 63 characters.")


def session_names(sessions_path: Path) -> list[str]:
    """The folders of `sessions_path` that hold a `session.toml`, sorted."""
    if not sessions_path.is_dir():
        return []
    folders = (path for path in sessions_path.iterdir() if _NAME.fullmatch(path.name))
    return sorted(path.name for path in folders if (path / SESSION_FILE).is_file())


def dotted(path: TomlPath) -> str:
    """`("comparison", "arms", 0, "name")` -> `comparison.arms[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


class _Fault(Exception):
    """Something wrong at `path`, in words."""

    def __init__(self, path: TomlPath, message: str) -> None:
        super().__init__(message)
        self.path = path

    @classmethod
    def of_value(cls, path: TomlPath, value: Any) -> _Fault:
        kind = type_at(path)
        return cls(path, f"{dotted(path)} is {_shown(value)}; allowed: {in_words(kind) if kind else 'nothing'}")


def _toml(text: str, path: str | Path) -> dict[str, Any]:
    """The text as TOML. Raises `NegError` with the line of what is not."""
    try:
        text.encode()
        return tomllib.loads(text)
    except UnicodeEncodeError as error:
        line, message = text.count("\n", 0, error.start) + 1, "this is not Unicode text"
    except RecursionError:
        line, message = 1, "it is nested too deeply"
    except ValueError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        message = re.sub(r" \(at .*?\)$", "", str(error)) if "(at " in str(error) else "a number has too many digits"
    raise NegError(
        "invalid", f"{path}, line {line}: this is not TOML: {message}.", 'A setting reads: name = 1, name = "text" or name = [1, 2].'
    )


def _require_known(value: Any, path: TomlPath) -> None:
    """Every key must be a setting."""
    fields = fields_at(path)
    if isinstance(value, dict) and fields is not None:
        known = [field.name for field in fields]
        for key in value:
            if key not in known:
                raise _Fault((*path, key), f"{_shown_key(path, key)} is not a setting; {_remedy(key, known)}")
    for part, item in _items(value):
        _require_known(item, (*path, part))


def _require_numbers(value: Any, path: TomlPath) -> None:
    """TOML has nan, inf and integers of any size; the wire and the store have not."""
    is_wild = isinstance(value, float) and not math.isfinite(value)
    if is_wild or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        raise _Fault.of_value(path, value)
    for part, item in _items(value):
        _require_numbers(item, (*path, part))


def _with_none(value: Any, path: TomlPath) -> Any:
    """TOML has no null: the text "none" stands for it where a setting may be none and is no text."""
    if value == "none":
        kind = type_at(path)
        if kind is not None and admits_none(kind) and not admits_text(kind):
            return None
    if isinstance(value, dict):
        return {key: _with_none(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_none(item, (*path, number)) for number, item in enumerate(value)]
    return value


def _convert(settings: dict[str, Any]) -> SessionSpec:
    try:
        return msgspec.convert(settings, SessionSpec)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        path = _path_of(where)
        missing = re.fullmatch(r"Object missing required field `(\w+)`", message)
        if missing:
            kind = type_at((*path, missing[1]))
            table = f"[{dotted(path)}]" if path else "The file"
            raise _Fault(path, f"{table} lacks {missing[1]}; allowed: {in_words(kind) if kind else 'nothing'}") from None
        value: Any = settings
        for part in path:
            value = value[part]
        raise _Fault.of_value(path, value) from None


def _require_sense(spec: SessionSpec) -> None:
    """What types cannot say."""
    for path in _DISTINCT:
        section = getattr(spec, str(path[0]))
        values = getattr(section, str(path[1])) if section is not None else ()
        number = _first_repeated(values)
        if number is not None:
            raise _Fault((*path, number), f"{dotted(path)} holds {_shown(values[number])} twice; allowed: each value once")
    for path, prompt in _prompts(spec):
        error = check_weighting(prompt)
        if error is not None:
            raise _Fault(path, f"{dotted(path)}: {error}".rstrip("."))
    for number, weight in enumerate(spec.synthesis.weights if spec.synthesis else ()):
        if (isinstance(weight, str) and not _COMPEL_SIGNS.fullmatch(weight)) or (isinstance(weight, float) and weight <= 0):
            allowed = 'a number more than 0, or signs as "++++" or "--"'
            raise _Fault(("synthesis", "weights", number), f"synthesis.weights[{number}] is {_shown(weight)}; allowed: {allowed}")
    _require_merges(spec)
    _require_sweep(spec)
    if spec.comparison is not None:
        _require_arms(spec)
        names = [arm.name for arm in spec.comparison.arms]
        number = _first_repeated(names)
        if number is not None:
            message = f"comparison.arms has two arms called {_shown(names[number])}; allowed: each name once"
            raise _Fault(("comparison", "arms", number, "name"), message)
        if not spec.comparison.prompts and spec.comparison.prompts_file is None:
            raise _Fault(("comparison",), "[comparison] has no prompts; allowed: a list `prompts`, a `prompts_file`, or both")


def _require_merges(spec: SessionSpec) -> None:
    for number, merging in enumerate(spec.merging):
        with _faults(("merging", number)):
            require_sound_merge(merging)
    repeated = _first_repeated([merging.output_name for merging in spec.merging])
    if repeated is not None:
        raise _Fault(
            ("merging", repeated), f"merging makes {_shown(spec.merging[repeated].output_name)} twice; allowed: each output_name once"
        )


def _require_sweep(spec: SessionSpec) -> None:
    if spec.sweep is None:
        return
    if spec.comparison is None:
        raise _Fault(("sweep",), "[sweep] is painted on the prompts and seeds of [comparison], which is missing")
    with _faults(("sweep",)):
        require_sound_sweep(spec.sweep)


@contextlib.contextmanager
def _faults(path: TomlPath) -> Iterator[None]:
    """What a rule of the contract refuses, told with its place."""
    try:
        yield
    except NegError as error:
        raise _Fault(path, f"{dotted(path)}: {error.detail.message} {error.detail.hint}".rstrip(".")) from None


def _require_arms(spec: SessionSpec) -> None:
    """Arms or a preset, which must find what it needs in this session."""
    assert spec.comparison is not None
    if spec.comparison.preset is not None:
        if spec.comparison.arms != ComparisonSpec().arms:
            raise _Fault(("comparison", "preset"), "[comparison] has both arms and a preset; allowed: one of the two")
        try:
            arms_of(spec)
        except NegError as error:
            raise _Fault(("comparison", "preset"), f"comparison.preset: {error}".rstrip(".")) from error
    for number, arm in enumerate(spec.comparison.arms):
        if arm.guidance_start >= arm.guidance_end:
            message = f"comparison.arms[{number}].guidance_start is {arm.guidance_start:g}; allowed: less than guidance_end"
            raise _Fault(("comparison", "arms", number, "guidance_start"), message)


def _prompts(spec: SessionSpec) -> Iterator[tuple[TomlPath, str]]:
    """Every text that is read with compel's weights, and where it stands."""
    if spec.synthesis is not None:
        for number, keyword in enumerate(spec.synthesis.keywords):
            yield ("synthesis", "keywords", number), keyword
        yield ("synthesis", "negative_prompt"), spec.synthesis.negative_prompt or ""
    if spec.comparison is not None:
        for number, prompt in enumerate(spec.comparison.prompts):
            yield ("comparison", "prompts", number, "prompt"), prompt.prompt
        for number, arm in enumerate(spec.comparison.arms):
            yield ("comparison", "arms", number, "negative_prompt"), arm.negative_prompt or ""
    if spec.sweep is not None:
        yield ("sweep", "arm", "negative_prompt"), spec.sweep.arm.negative_prompt or ""


def _remedy(key: str, known: list[str]) -> str:
    """Where an unknown key belongs: its table has something like it, or another table has it, or neither."""
    if difflib.get_close_matches(key, known, cutoff=0.6):
        return did_you_mean(key, known)
    for section in fields_at(()) or ():
        if key == section.name:
            return "it belongs to the top of the file, outside of any [section]"
        if any(field.name == key for field in fields_at((section.name,)) or ()):
            return f"it belongs to [{section.name}]"
    return did_you_mean(key, known)


def _first_repeated(values: Sequence[Any]) -> int | None:
    """Index of the first value that has occurred before."""
    seen = set()
    for number, value in enumerate(values):
        if value in seen:
            return number
        seen.add(value)
    return None


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _path_of(where: str) -> TomlPath:
    """msgspec's `.comparison.arms[0].name` as a path. All keys are known settings by now, hence plain words."""
    return tuple(int(number) if number else word for word, number in re.findall(r"\.(\w+)|\[(\d+)\]", where))


def _shown(value: Any) -> str:
    """A value as it may stand in a sentence."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    text = f'"{value}"' if isinstance(value, str) else "[]" if value == [] else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shown_key(path: TomlPath, key: str) -> str:
    return dotted((*path, key)) if re.fullmatch(r"[\w-]+", key) else f"{key!r}{f' in {dotted(path)}' if path else ''}"


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."
