"""A spec as a form: its options in groups, each with its meaning, default and range; texts read into values and back.

Read off the struct and its source alone, so a new option is in the form as soon as it is declared. Knows no Textual and no session.
"""

from __future__ import annotations

import ast
import inspect
import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect as types

from negtui.commands.sessions import toml_text

Kind = Literal["switch", "choice", "choices", "whole", "number", "text", "texts"]
NONE = "none"


@dataclass(frozen=True)
class Option:
    """One field of a spec. `default` is what counts where nothing is set; `allowed` says in words what it may be."""

    name: str
    group: str
    kind: Kind
    default: Any
    allowed: str
    meaning: str = ""
    choices: tuple[str, ...] = ()
    is_optional: bool = False


@cache
def options(spec_type: type[msgspec.Struct], first_group: str = "The result") -> tuple[Option, ...]:
    """The options of a spec in the order of its file; the comments between them are their groups."""
    meanings = dict(_meanings(spec_type, first_group))
    hints = get_type_hints(spec_type, include_extras=True)
    found = []
    for field in msgspec.structs.fields(spec_type):
        group, meaning = meanings.get(field.name, (first_group, ""))
        default = None if field.default is msgspec.NODEFAULT else field.default
        found.append(_option(field.name, group, default, meaning, hints[field.name]))
    return tuple(found)


def groups(spec_type: type[msgspec.Struct]) -> dict[str, tuple[Option, ...]]:
    """The same by group."""
    found: dict[str, tuple[Option, ...]] = {}
    for option in options(spec_type):
        found[option.group] = (*found.get(option.group, ()), option)
    return found


def read(option: Option, text: str) -> Any:
    """The value a person wrote. Raises `ValueError`, in words, where it is not one of this kind; ranges are checked by `check`."""
    bare = text.strip()
    if option.is_optional and bare in ("", NONE):
        return None
    if option.kind == "switch":
        return _switch(bare)
    if option.kind in ("whole", "number"):
        return _number(option, bare)
    if option.kind in ("texts", "choices"):
        return _list(option, bare)
    return bare if option.kind == "choice" else text


def check(spec_type: type[msgspec.Struct], option: Option, value: Any) -> None:
    """Raise `ValueError` saying what is allowed where `value` cannot be that of `option`."""
    hint = get_type_hints(spec_type, include_extras=True)[option.name]
    try:
        msgspec.convert(msgspec.to_builtins(value), hint)
    except (msgspec.ValidationError, ValueError):
        raise ValueError(f"must be {option.allowed}") from None


def changed(option: Option, value: Any) -> bool:
    """Whether a value is another than the default."""
    return bool(value != option.default)


def written(value: Any) -> str:
    """A value as it is shown and edited: texts bare, lists in brackets."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(toml_text(str(item)) for item in value) + "]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def as_toml(value: Any) -> str:
    """A value as `ChangeSession` and `session.toml` spell it; None is the bare word `none`."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    return repr(value) if isinstance(value, (int, float)) else toml_text(value)


def _option(name: str, group: str, default: Any, meaning: str, hint: Any) -> Option:
    inner, is_optional = _without_none(types.type_info(hint))
    plain, description = _without_metadata(inner)
    choices = _choices(hint)
    words = _range(plain, description, choices)
    if is_optional:
        words = f"{words}, or none"
    return Option(name, group, _kind(plain, choices), default, words, meaning, choices, is_optional)


def _without_none(kind: types.Type) -> tuple[types.Type, bool]:
    bare, _ = _without_metadata(kind)
    if isinstance(bare, types.UnionType):
        others = [part for part in bare.types if not isinstance(_without_metadata(part)[0], types.NoneType)]
        return others[0], len(others) < len(bare.types)
    return kind, False


def _without_metadata(kind: types.Type) -> tuple[types.Type, str]:
    description = ""
    while isinstance(kind, types.Metadata):
        description = description or str((kind.extra_json_schema or {}).get("description", ""))
        kind = kind.type
    return kind, description


def _kind(kind: types.Type, choices: tuple[str, ...]) -> Kind:
    if isinstance(kind, types.BoolType):
        return "switch"
    if isinstance(kind, types.LiteralType):
        return "choice"
    if isinstance(kind, types.IntType):
        return "whole"
    if isinstance(kind, types.FloatType):
        return "number"
    if isinstance(kind, types.VarTupleType):
        return "choices" if choices else "texts"
    return "text"


def _choices(hint: Any) -> tuple[str, ...]:
    """The values of the `Literal` in a hint, in the order of its source (msgspec sorts them)."""
    if get_origin(hint) is Literal:
        return tuple(str(value) for value in get_args(hint))
    return next((found for part in get_args(hint) if get_origin(part) and (found := _choices(part))), ())


def _range(kind: types.Type, description: str, choices: tuple[str, ...]) -> str:
    """What is allowed, in words: `a whole number, 1 to 1024`."""
    if isinstance(kind, types.BoolType):
        return "yes or no"
    if isinstance(kind, types.LiteralType):
        return " | ".join(choices)
    if isinstance(kind, types.VarTupleType):
        return f"a list of {' | '.join(choices) or 'texts'}"
    if isinstance(kind, (types.IntType, types.FloatType)):
        return ", ".join(_bounds(kind))
    return description or ("a text, not empty" if getattr(kind, "min_length", None) else "a text")


def _bounds(kind: types.IntType | types.FloatType) -> Iterator[str]:
    yield "a whole number" if isinstance(kind, types.IntType) else "a number"
    low = f"at least {kind.ge:g}" if kind.ge is not None else f"above {kind.gt:g}" if kind.gt is not None else ""
    if kind.ge is not None and kind.le is not None:
        yield f"{kind.ge:.10g} to {kind.le:.10g}" if kind.le < 2**53 else low
    else:
        high = f"at most {kind.le:g}" if kind.le is not None else f"below {kind.lt:g}" if kind.lt is not None else ""
        yield from (part for part in (low, high) if part)
    if kind.multiple_of:
        yield f"a multiple of {kind.multiple_of:g}"


def _switch(text: str) -> bool:
    if text.lower() in ("yes", "true", "on", "1", "y"):
        return True
    if text.lower() in ("no", "false", "off", "0", "n"):
        return False
    raise ValueError("must be yes or no")


def _number(option: Option, text: str) -> int | float:
    try:
        value = int(text) if option.kind == "whole" else float(text)
    except ValueError:
        raise ValueError(f"must be {option.allowed}") from None
    if not math.isfinite(value):
        raise ValueError(f"must be {option.allowed}")
    return value


def _list(option: Option, text: str) -> tuple[str, ...]:
    """A TOML list; without brackets one text, or names with commas between."""
    if not text.startswith("["):
        return tuple(text.replace(",", " ").split()) if option.kind == "choices" else (text,) if text else ()
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise ValueError('must be a list: ["one", "two"]') from None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ValueError('must be a list of texts: ["one", "two"]')
    return tuple(found)


def _meanings(spec_type: type[msgspec.Struct], first_group: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """(option, (group, meaning)): the comment above its group, and the docstring below it."""
    try:
        source = inspect.getsource(spec_type)
    except OSError:
        return
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    lines, group, last_line = source.splitlines(), first_group, body[0].lineno
    for node, after in zip(body, [*body[1:], None], strict=True):
        for line in lines[last_line : node.lineno - 1]:
            group = line.strip("# .") if line.strip().startswith("#") else group
        last_line = node.end_lineno or node.lineno
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, (group, _docstring(after))


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""
