"""`negtui man`: the manual page, made from the parser as it is. Asks no daemon."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from negtui.cli import DESCRIPTION, EPILOG, build_parser
from negtui.commands.exits import OK
from negtui.commands.invocation import Invocation

ENVIRONMENT = {
    "NEGTUI_CONNECT": "the daemon, as --connect",
    "NEGTUI_WORKSPACE": "the folder that holds sessions/, as --workspace",
    "NEGTUI_CONFIG": "the configuration file",
    "NEGTUI_IMAGES": "how pictures are drawn, as --images",
    "NEGTUI_RUNTIME": "the folder of the daemon's sockets",
    "NEGTUI_DEBUG": "tracebacks instead of sentences",
    "NO_COLOR": "no colours; pictures as shades",
    "VISUAL, EDITOR": "what edits session.toml",
}
FILES = {
    "~/.config/negtui/config.toml": "settings and keys; negtui config show",
    "WORKSPACE/sessions/NAME/": "a session: session.toml, pictures, adapters, comparisons",
    "WORKSPACE/.negtui/": "the daemon's store and log",
}


async def man(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui man`"""
    text = "\n".join(page())
    invocation.output.result(text)
    invocation.output.object({"roff": text})
    return OK


def page() -> Iterator[str]:
    """The lines of negtui(1), in man(7)'s macros."""
    parser = build_parser()
    yield '.TH NEGTUI 1 "" negtui "User Commands"'
    yield from _section("NAME", f"negtui - {DESCRIPTION[0].lower()}{DESCRIPTION[1:].rstrip('.')}")
    yield from _section("SYNOPSIS")
    yield ".B negtui"
    yield escaped("[OPTIONS] [COMMAND ...]")
    yield from _section("DESCRIPTION", DESCRIPTION, "Without a command, on a terminal, negtui opens the dashboard.")
    yield from _section("OPTIONS")
    yield from _options(parser)
    yield from _section("COMMANDS")
    for name, words, command in commands(parser):
        yield f".SS {escaped(_usage(name, command))}"
        yield escaped(_sentence(words))
        yield from _options(command, own=True)
    for title, told in (("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        yield from _section(title)
        for name, words in told.items():
            yield from (".TP", f".B {escaped(name)}", escaped(words))
    yield from _section("NOTES", ".nf", *EPILOG.splitlines(), ".fi")


def commands(parser: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """(name, what it does, its parser) of every command, those of commands included; by their first names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                name = choice.dest
                yield f"{before}{name}", choice.help or "", action.choices[name]
                yield from commands(action.choices[name], f"{before}{name} ")


def escaped(text: str) -> str:
    """Text that roff prints as it stands."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def _section(title: str, *lines: str) -> Iterator[str]:
    yield f".SH {title}"
    yield from (line if line in (".nf", ".fi") else escaped(line) for line in lines)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "." * (not words.endswith("."))


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    """`lr JOB RATE`"""
    places = [action for action in parser._actions if not action.option_strings and action.help != argparse.SUPPRESS]
    words = []
    for action in places:
        choices = "|".join(str(choice) for choice in action.choices or ())
        word = str(action.metavar or choices or action.dest)
        words.append(f"{word} ..." if action.nargs == "+" else word)
    return " ".join(["negtui", name, *words])


def _options(parser: argparse.ArgumentParser, own: bool = False) -> Iterator[str]:
    """Every option with its meaning; `own`: without those that every command has."""
    common = {"--json", "--connect", "--workspace", "--detach", "--quiet", "--help"} if own else set()
    for action in parser._actions:
        if action.option_strings and not common & set(action.option_strings) and action.help != argparse.SUPPRESS:
            value = action.metavar or "|".join(str(choice) for choice in action.choices or ())
            names = ", ".join(action.option_strings)
            yield from (".TP", f".B {escaped(f'{names} {value}' if value and action.nargs != 0 else names)}", escaped(action.help or ""))
