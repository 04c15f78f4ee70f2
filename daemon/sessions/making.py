"""New sessions from templates: settings changed where they stand, comments kept, everything checked before a byte is written."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from daemon import config
from daemon.files import whole_directory
from daemon.protocol.commands import SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SessionSpec
from daemon.sessions.allowed import admits_none, admits_text, did_you_mean, fields_at, type_at
from daemon.sessions.checking import warnings
from daemon.sessions.reading import SESSION_FILE, label, parse, read_text, require_name, session_names

SHIPPED = ("toy", "wrong")


def create(sessions_path: Path, name: str, template: str, changes: dict[str, str], skip_checks: bool = False) -> SessionAnswer:
    """Make `sessions_path/name` from a template (`toy`, `wrong` or another session) with changes `section.field` -> TOML value.

    The bare value `none` takes a setting away. Raises `NegError` `conflict` (the name is taken), `not_found` (no such
    template), `invalid` (a change) or what `daemon.sessions.checking.check` raises; then nothing is written.
    """
    require_name(name)
    folder = sessions_path / name
    require_free(folder, "Choose another name, or remove that folder.")
    origin = _template_folder(sessions_path, template)
    text = apply_changes(read_text(origin.parent, origin.name), changes, label(origin.parent, origin.name))
    spec = parse(text, f"{label(sessions_path, name)} (from {template})")
    with drafted(folder, "Choose another name, or remove that folder.") as draft:
        (draft / SESSION_FILE).write_text(text, encoding="utf-8", newline="")
        copy_prompts(origin, draft, spec)
        found = () if skip_checks else tuple(warnings(spec, draft))
    return SessionAnswer(name=name, path=str(folder), spec=spec, warnings=found)


def require_free(folder: Path, hint: str) -> None:
    """Raise `NegError` `conflict` where anything has a new session's name."""
    if os.path.lexists(folder):
        raise NegError("conflict", f"{folder} exists already.", hint)


@contextlib.contextmanager
def drafted(folder: Path, hint: str) -> Iterator[Path]:
    """A fresh folder that becomes the session `folder` when the block ends: whole, or not at all.

    Raises `NegError` `disk_full`, and `conflict` where somebody else took the name meanwhile.
    """
    try:
        with whole_directory(folder) as draft:
            yield draft
    except FileExistsError:
        require_free(folder, hint)
        raise


def apply_changes(text: str, changes: dict[str, str], where: str) -> str:
    """A `session.toml`'s text with settings changed, comments and order kept; `where` is what errors call it.

    Raises `NegError` `invalid`.
    """
    try:
        document = tomlkit.parse(text)
        for setting, value in changes.items():
            _apply(document, setting, value)
        return tomlkit.dumps(document)
    except (TOMLKitError, RecursionError) as error:
        parse(text, where)  # says it with its line
        raise NegError("invalid", f"{where} cannot be changed: {error}", "Edit the file by hand.") from None


def _apply(document: tomlkit.TOMLDocument, setting: str, value: str) -> None:
    path = tuple(setting.split("."))
    kind = type_at(path)
    if kind is None or len(path) > 2:
        known = [f"{section.name}.{field.name}" for section in fields_at(()) or () for field in fields_at((section.name,)) or ()]
        raise NegError("invalid", f"{setting!r} is not a setting: {did_you_mean(setting, known)}")
    table: Any = document
    for part in path[:-1]:
        if part not in table:
            table[part] = tomlkit.table()
        table = table[part]
    if value.strip() != "none":
        _set(table, path[-1], _value(setting, value))
    elif not admits_none(kind):
        raise NegError("invalid", f"{setting} cannot be none.")
    elif admits_text(kind) or fields_at(path) is not None:
        table.pop(path[-1], None)
    else:
        table[path[-1]] = "none"


def _set(table: Any, name: str, value: Any) -> None:
    """Where the setting stands, or behind the last one: at the table's end would be below the comment of the next section."""
    container = table if isinstance(table, tomlkit.TOMLDocument) else table.value
    plain = [key for key, item in container.body if key is not None and not isinstance(item, (Table, AoT))]
    if name in table or not plain:
        table[name] = value
    else:
        container._insert_after(plain[-1], name, value)


def _value(setting: str, value: str) -> Any:
    try:
        parsed = tomlkit.parse(f"value = {value}\n")
    except TOMLKitError as error:
        message = f"{setting}: {value!r} is not a TOML value: {error}"
        raise NegError("invalid", message, 'Write 1, 0.5, true, "text" or [1, 2].') from None
    if list(parsed) != ["value"]:
        raise NegError("invalid", f"{setting}: {value!r} is more than one TOML value.")
    return parsed["value"]


def _template_folder(sessions_path: Path, template: str) -> Path:
    """Where a template lies: shipped ones in the source checkout or in the wheel, others among the sessions."""
    root = config.source_root()
    shipped = root / "sessions" if root else Path(config.__file__).parent / "templates"
    for folder in (shipped / template,) if template in SHIPPED else (sessions_path / template,):
        require_name(template)
        if (folder / SESSION_FILE).is_file():
            return folder
    known = sorted({*SHIPPED, *session_names(sessions_path)})
    raise NegError("not_found", f"There is no template or session {template!r}: {did_you_mean(template, known)}")


def copy_prompts(origin: Path, draft: Path, spec: SessionSpec) -> None:
    """The prompts file goes along with a template that has one."""
    prompts_file = spec.comparison.prompts_file if spec.comparison else None
    if prompts_file and "/" not in prompts_file and (origin / prompts_file).is_file():
        shutil.copyfile(origin / prompts_file, draft / prompts_file)
