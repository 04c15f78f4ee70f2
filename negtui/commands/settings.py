"""`negtui config path|show|validate`"""

from __future__ import annotations

import argparse
import dataclasses

from negtui.commands.exits import INVALID, OK
from negtui.commands.invocation import Invocation
from negtui.config import EXAMPLE, config_path, key_problems, look, read_file, settings, theme_problems


async def path(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui config path`"""
    invocation.output.object({"path": str(config_path()), "exists": config_path().is_file()})
    invocation.output.result(str(config_path()))
    return OK


async def show(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui config show`: what is in force, and from where."""
    output = invocation.output
    where, seen = settings(arguments.connect, arguments.workspace), look()
    output.object({"settings": dataclasses.asdict(where), "dashboard": dataclasses.asdict(seen), "path": str(config_path())})
    output.line(f"# {config_path()}{'' if config_path().is_file() else ' (not there: these are the defaults)'}")
    for name, value in {**dataclasses.asdict(where), **dataclasses.asdict(seen)}.items():
        if name != "keys":
            output.result(f"{name} = {_toml(value)}" if value not in (None, "") else f"# {name} is not set")
    output.result("[keys]")
    for name, key in sorted(seen.keys.items()):
        output.result(f'"{name}" = "{key}"')
    if not config_path().is_file():
        output.line("\n# All there is to set:")
        output.line(EXAMPLE)
    return OK


async def validate(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui config validate`: exit code 2 where something is wrong."""
    found = read_file(config_path())
    problems = [*theme_problems(found.get("theme", "")), *key_problems(found.get("keys", {}))]
    invocation.output.object({"path": str(config_path()), "problems": problems})
    for problem in problems:
        invocation.output.result(problem)
    if not problems:
        invocation.output.result(f"{config_path()}: {'in order' if config_path().is_file() else 'not there, which is in order'}.")
    return INVALID if problems else OK


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'
