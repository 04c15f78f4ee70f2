"""`negtui completion bash|zsh|fish`: a few lines for the shell, which ask `negtui completion words` as one types. Asks no daemon."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from daemon.config import places
from negtui.cli import build_parser
from negtui.commands.exits import OK
from negtui.commands.invocation import Invocation

SCRIPTS = {
    "bash": """\
_negtui() {
    local IFS=$'\\n'
    COMPREPLY=($(negtui completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _negtui negtui""",
    "zsh": """\
_negtui() {
    local -a found
    found=(${(f)"$(negtui completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -- $found; else _files; fi
}
compdef _negtui negtui""",
    "fish": """\
function __negtui_complete
    set -l found (negtui completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c negtui -f -a '(__negtui_complete)'""",
}
WHERE = {
    "bash": 'eval "$(negtui completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(negtui completion zsh)" in ~/.zshrc, behind compinit',
    "fish": "negtui completion fish > ~/.config/fish/completions/negtui.fish",
}


async def completion(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui completion SHELL`"""
    output = invocation.output
    if arguments.shell == "words":
        for word in completions(arguments.words[arguments.words[:1] == ["--"] :]):
            output.result(word)
        return OK
    output.result(f"# {WHERE[arguments.shell]}")
    output.result(SCRIPTS[arguments.shell])
    output.object({"shell": arguments.shell, "script": SCRIPTS[arguments.shell]})
    return OK


def completions(words: Sequence[str]) -> list[str]:
    """What the last of `words` may become; those before it are typed already."""
    *typed, last = words or [""]
    parser = build_parser()
    pending: argparse.Action | None = None
    for word in typed:
        options = {name: action for action in parser._actions for name in action.option_strings}
        if word.startswith("-"):
            pending = options.get(word) if word in options and options[word].nargs != 0 else None
        elif pending is not None:
            pending = None
        else:
            parser = _commands(parser).get(word, parser)
    return sorted(word for word in _possible(parser, pending) if word.startswith(last) and (last or not word.startswith("-")))


def _possible(parser: argparse.ArgumentParser, pending: argparse.Action | None) -> Iterator[str]:
    if pending is not None:
        yield from (str(choice) for choice in pending.choices or ())
        return
    yield from _commands(parser)
    for action in parser._actions:
        yield from action.option_strings
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            yield from (str(choice) for choice in action.choices or ())
            if action.dest == "name":
                yield from _sessions()


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next((dict(action.choices) for action in parser._actions if isinstance(action, argparse._SubParsersAction)), {})


def _sessions() -> list[str]:
    """The workspace's sessions, read off the disk."""
    folder = places().sessions_path
    return [path.parent.name for path in folder.glob("*/session.toml")] if folder.is_dir() else []
