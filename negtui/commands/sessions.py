"""`new`, `sessions`, `check`, `set`, `duplicate`, `delete`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from daemon.protocol.commands import (
    ChangeSession,
    CreateSession,
    DeleteSession,
    DuplicateSession,
    ListSessions,
    ReadSession,
    SessionAnswer,
    SessionDeleted,
    Sessions,
)
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SessionSpec, arms_of
from negtui.commands.exits import OK
from negtui.commands.invocation import Invocation, ask, session_name
from negtui.output import Output, quantity, table

_BETWEEN = re.compile(r"\s+(?=\w+(?:\.\w+)+\s*=)")
"""Between two settings of a line: values may hold spaces."""


async def new(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui new NAME`"""
    template = arguments.template or ("wrong" if arguments.model else "toy")
    command = CreateSession(
        name=session_name(arguments.name),
        template=session_name(template),
        changes=_changes(arguments, bool(invocation.settings.connect)),
        skip_checks=arguments.skip_checks,
    )
    async with invocation.daemon() as daemon:
        answer = await ask(daemon, command, SessionAnswer)
    _print_answer(answer, invocation.output)
    invocation.output.line(f"Made {answer.path}. Edit its session.toml as you like, then: negtui run {answer.name}")
    return OK


async def list_sessions(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui sessions`"""
    async with invocation.daemon() as daemon:
        rows = (await ask(daemon, ListSessions(), Sessions)).sessions
    invocation.output.object({"sessions": rows})
    cells = [
        (
            row.name,
            str(row.num_images),
            ", ".join(row.adapters),
            ", ".join(row.comparisons),
            str(row.num_votes or ""),
            row.error or row.description,
        )
        for row in rows
    ]
    if not cells:
        invocation.output.result("There are no sessions. `negtui new NAME --template toy` makes one.")
        return OK
    for line in table(("session", "images", "adapters", "comparisons", "votes", ""), cells, right=frozenset({1, 4})):
        invocation.output.result(line)
    return OK


async def check(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui check NAME`"""
    async with invocation.daemon() as daemon:
        answer = await ask(daemon, ReadSession(name=session_name(arguments.name)), SessionAnswer)
    _print_answer(answer, invocation.output)
    invocation.output.line(f"{answer.path} is in order: {'; '.join(_acts(answer.spec))}.")
    return OK


async def change(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui set NAME SECTION.FIELD=VALUE...`"""
    command = ChangeSession(
        name=session_name(arguments.name), changes=settings_changes(arguments.changes), skip_checks=arguments.skip_checks
    )
    async with invocation.daemon() as daemon:
        answer = await ask(daemon, command, SessionAnswer)
    _print_answer(answer, invocation.output)
    invocation.output.line(f"{answer.path} is changed: {'; '.join(_acts(answer.spec))}.")
    return OK


async def duplicate(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui duplicate NAME NEW-NAME`"""
    name, new_name = session_name(arguments.name), session_name(arguments.new_name)
    async with invocation.daemon() as daemon:
        answer = await ask(daemon, DuplicateSession(name=name, new_name=new_name, settings_only=arguments.settings_only), SessionAnswer)
    _print_answer(answer, invocation.output)
    invocation.output.line(f"Made {answer.path}.")
    return OK


async def delete(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui delete NAME`: its name must be typed, on the terminal or behind --typed."""
    name, typed = session_name(arguments.name), arguments.typed
    if typed is None:
        if not sys.stdin.isatty():
            raise NegError("invalid", f"This would delete {name!r} for good.", f"To mean it: negtui delete {name} --typed {name}")
        invocation.output.note(f"This deletes {name!r} with its pictures, adapters and results, for good. Type its name to go on:")
        typed = sys.stdin.readline().strip()
    async with invocation.daemon() as daemon:
        answer = await ask(daemon, DeleteSession(name=name, typed=typed[:64]), SessionDeleted)
    invocation.output.object({"deleted": answer})
    invocation.output.line(f"Deleted {answer.name}: {answer.num_bytes / 2**20:.1f} MiB are free again.")
    return OK


def settings_changes(settings: Sequence[str] | None) -> dict[str, str]:
    """`section.field=value` texts as changes for the daemon. Raises `NegError` `invalid`."""
    changes = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise NegError("invalid", f"{setting!r} is not section.field=value.", "For example: training.rank=8")
        changes[name.strip()] = toml_value(value)
    return changes


def read_settings(line: str) -> dict[str, str]:
    """`a.b=1 c.d=[1, 2]`, written in one line, as changes for the daemon. Raises `NegError` `invalid`."""
    return settings_changes(_BETWEEN.split(line.strip()) if line.strip() else ())


def toml_value(text: str) -> str:
    """What was written behind `=` as a TOML value: as it is if it is one, else as a text."""
    if text.strip() == "none":
        return "none"
    try:
        is_one_value = list(tomllib.loads(f"value = {text}")) == ["value"]
    except (ValueError, RecursionError):
        is_one_value = False
    return text if is_one_value else toml_text(text)


def toml_text(text: str) -> str:
    """A text as a TOML string: JSON's escapes are TOML's too, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _changes(arguments: argparse.Namespace, is_remote: bool) -> dict[str, str]:
    changes: dict[str, str] = {}
    for name, field in (("model", "base"), ("refiner", "refiner"), ("vae", "vae"), ("dtype", "torch_dtype")):
        value = getattr(arguments, name)
        if value is not None:
            changes[f"model.{field}"] = "none" if value == "none" else toml_text(reference(value, is_remote))
    if arguments.allow_download:
        changes["model.allow_download"] = "true"
    return changes | settings_changes(arguments.set)


def reference(value: str, is_remote: bool) -> str:
    """A model as named on the command line: paths are made absolute, since the daemon has another working directory."""
    path = Path(value).expanduser()
    looks_like_path = value.startswith((".", "/", "~")) or value.endswith((".safetensors", ".ckpt"))
    return str(path.absolute()) if not is_remote and (looks_like_path or path.exists()) and value not in ("toy", "toy-refiner") else value


def _print_answer(answer: SessionAnswer, output: Output) -> None:
    output.object({"session": answer})
    for warning in answer.warnings:
        output.note(f"warning: {warning}")


def _acts(spec: SessionSpec) -> list[str]:
    """What a session will do, in words."""
    acts = []
    if spec.synthesis is not None:
        act = spec.synthesis
        number = len(act.keywords) * len(act.weights) * len(act.guidance_scales) * len(act.seeds)
        acts.append(f"paints {quantity(number, 'image')} of {act.width} x {act.height}")
    if spec.training is not None:
        acts.append(
            f"trains {spec.training.output_name!r} for {quantity(spec.training.max_train_steps, 'step')} at rank {spec.training.rank}"
        )
    if spec.comparison is not None:
        acts.append(f"compares {quantity(len(arms_of(spec)), 'arm')}")
    return acts or ["it has no acts yet"]
