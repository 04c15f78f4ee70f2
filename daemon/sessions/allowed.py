"""What a setting may be, in words, read from the spec structs themselves."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

from msgspec import inspect
from msgspec.inspect import (
    BoolType,
    Field,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
)

from daemon.protocol.specs import SessionSpec
from daemon.sessions.toml_lines import TomlPath


@functools.cache
def session_type() -> Type:
    """The type of a whole `session.toml`."""
    return inspect.type_info(SessionSpec)


def type_at(path: TomlPath) -> Type | None:
    """The declared type of the setting at `path`, or None where there is no such setting."""
    found: Type = session_type()
    for part in path:
        found = _plain(found)
        if isinstance(found, StructType):
            field = next((field for field in found.fields if field.name == part), None)
            if field is None:
                return None
            found = field.type
        elif isinstance(found, VarTupleType) and isinstance(part, int):
            found = found.item_type
        else:
            return None
    return found


def fields_at(path: TomlPath) -> tuple[Field, ...] | None:
    """The settings that the table at `path` may hold; None where `path` is no table."""
    found = type_at(path)
    table = _plain(found) if found is not None else None
    return table.fields if isinstance(table, StructType) else None


def admits_none(kind: Type) -> bool:
    """Whether a setting may be none."""
    kind = _unwrapped(kind)
    return isinstance(kind, UnionType) and any(isinstance(option, NoneType) for option in kind.types)


def admits_text(kind: Type) -> bool:
    """Whether a setting may be any text, so that the word `none` is a value like another."""
    kind = _unwrapped(kind)
    options = kind.types if isinstance(kind, UnionType) else (kind,)
    return any(isinstance(_unwrapped(option), StrType) for option in options)


def in_words(kind: Type) -> str:
    """A type as a phrase: `a whole number from 1 to 1024`."""
    if isinstance(kind, Metadata):
        described = (kind.extra_json_schema or {}).get("description")
        return f"a name of {described}" if described else in_words(kind.type)
    if isinstance(kind, UnionType):
        options = [in_words(option) for option in kind.types if not isinstance(option, NoneType)]
        if admits_none(kind):
            options.append("left out" if admits_text(kind) or isinstance(_plain(kind), StructType) else '"none"')
        return ", or ".join(options)
    if isinstance(kind, BoolType):
        return "true or false"
    if isinstance(kind, IntType):
        multiple = f"a multiple of {kind.multiple_of}" if kind.multiple_of else "a whole number"
        return f"{multiple}{_range(kind)}"
    if isinstance(kind, FloatType):
        return f"a number{_range(kind)}"
    if isinstance(kind, StrType):
        return f"a text{_length(kind, 'characters')}"
    if isinstance(kind, LiteralType):
        return f"one of {', '.join(str(value) for value in kind.values)}"
    if isinstance(kind, VarTupleType):
        return f"a list{_length(kind, 'items')}, each {in_words(kind.item_type)}"
    if isinstance(kind, TupleType):
        return f"a list of {' and '.join(in_words(one) for one in kind.item_types)}"
    if isinstance(kind, StructType):
        return f"a table with {', '.join(field.name for field in kind.fields)}"
    return type(kind).__name__


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """`did you mean rank?`, or all the known words where none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(prefix + name for name in close)}?"
    return f"known are {', '.join(known)}" if known else "none is known"


def _unwrapped(kind: Type) -> Type:
    return kind.type if isinstance(kind, Metadata) else kind


def _plain(kind: Type) -> Type:
    """Without description and without `| None`."""
    kind = _unwrapped(kind)
    if isinstance(kind, UnionType):
        options = [_unwrapped(option) for option in kind.types if not isinstance(option, NoneType)]
        return options[0] if len(options) == 1 else kind
    return kind


def _range(kind: IntType | FloatType) -> str:
    least = f"from {kind.ge:g}" if kind.ge is not None else f"more than {kind.gt:g}" if kind.gt is not None else ""
    if kind.le is not None:
        most = f"to {kind.le}" if isinstance(kind, IntType) else f"to {kind.le:g}"
    else:
        most = f"and less than {kind.lt:g}" if kind.lt is not None else ""
    if least.startswith("from") and not most:
        return f", {kind.ge:g} or more"
    return "".join(f" {part}" for part in (least, most) if part)


def _length(kind: StrType | VarTupleType, unit: str) -> str:
    least, most = kind.min_length, kind.max_length
    if least and most:
        return f" of {least} to {most} {unit}"
    return f" of at most {most} {unit}" if most else f" of at least {least} {unit}" if least else ""
