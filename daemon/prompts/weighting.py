"""Prompt weighting looked at before anything is painted: compel reads what it does not know as plain words, in silence.

Known: `(phrase)++`, `(phrase)--`, `word+`, `(phrase)1.4`, `("a", "b").and(1, 0.5)`, `("a", "b").blend(0.7, 0.3)`. Free of torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from daemon.protocol.errors import NegError

_A1111_WEIGHT = re.compile(r"\(([^()]*):\s*(-?\d*\.?\d+)\s*\)")
_A1111_LORA = re.compile(r"<(?:lora|lyco|hypernet):([^:<>]*)[^<>]*>")
_A1111_BRACKETS = re.compile(r"\[([^\[\]]*):\s*(\d*\.?\d+)\s*\]")
_WEIGHT_AFTER_GROUP = re.compile(r"\++|-+(?![\d.])|\d+\.\d+|\.\d+|\d+\.?(?!\d)")
_STRANGE_AFTER_GROUP = re.compile(r"\s*[*=:]\s*-?\d*\.?\d+|-\s*\d*\.?\d+|\s+(?:\d+\.\d+|\.\d+)(?=$|[\s,.;)])|\s+(?:\+\++|--+)")
_LONE_SIGNS = re.compile(r"(?<!\S)(\+\++|--+)(?=$|[\s,.;])")
_OPERATORS = re.compile(r"\.(and|add|blend|swap|attend)\(([^()]*)\)")
_READABLE_INSIDE = re.compile(
    r"""(?:\\[()",.+\-=]              # a sign that is meant as such
        |[+-](?![\s(),".+\-=]|$)       # a hyphen within or before a word
        |[^\s(),".+\-=]+(?:\++|-+)?    # a word, weighted or not
        |"[^"()]*"(?:\++|-+)?
        |[,.\s])*""",
    re.VERBOSE,
)
_UNKNOWN_TRIGGERS = re.compile(r"\b(?:useLora|withLora)\(")


@dataclass(frozen=True)
class _Group:
    """A pair of brackets: positions of "(" and ")"."""

    start: int
    end: int


def check_weighting(prompt: str) -> NegError | None:
    """None for a prompt whose weights will be read as they look; else a `NegError` `invalid` with the place and the right spelling."""
    for find in (_foreign_syntax, _brackets, _weights, _lone_signs):
        error = find(prompt)
        if error is not None:
            return error
    return None


def _foreign_syntax(prompt: str) -> NegError | None:
    for weight in _A1111_WEIGHT.finditer(prompt):
        if not _escaped(prompt, weight.start()):
            return _error(prompt, weight.start(), weight.end(), "is another program's weighting", f"Write ({weight[1].strip()}){weight[2]}")
    match = _A1111_LORA.search(prompt)
    if match:
        return _error(
            prompt, match.start(), match.end(), "is another program's way to name a LoRA", "Name adapters in the arm, not in the prompt"
        )
    match = _A1111_BRACKETS.search(prompt)
    if match:
        return _error(prompt, match.start(), match.end(), "is another program's prompt editing", "It has no meaning here: leave it out")
    match = _UNKNOWN_TRIGGERS.search(prompt)
    if match:
        return _error(prompt, match.start(), match.end(), "names a LoRA", "Name adapters in the arm, not in the prompt")
    return None


def _brackets(prompt: str) -> NegError | None:
    open_at: list[int] = []
    for position, character in enumerate(prompt):
        if _escaped(prompt, position):
            continue
        if character == "(":
            open_at.append(position)
        elif character == ")":
            if not open_at:
                return _error(prompt, position, position + 1, "closes no bracket", "Write \\) for a bracket that is meant as such")
            open_at.pop()
    if open_at:
        return _error(prompt, open_at[-1], open_at[-1] + 1, "is never closed", "Close it, or write \\( for a bracket that is meant as such")
    return None


def _weights(prompt: str) -> NegError | None:
    groups = list(_groups(prompt))
    for group in groups:
        inside, after = prompt[group.start + 1 : group.end], prompt[group.end + 1 :]
        doubled = any(other.start == group.start + 1 and other.end == group.end - 1 for other in groups)
        if doubled:
            text = inside.strip("()")
            return _error(prompt, group.start, group.end + 1, "is another program's weighting", f"Write ({text})++")
        operator = _OPERATORS.match(after)
        if operator:
            error = _operator(prompt, group, operator)
            if error is not None:
                return error
            continue
        strange = _STRANGE_AFTER_GROUP.match(after)
        if strange:
            weight = re.sub(r"[\s*=:]", "", strange.group())
            fix = (
                f"Write ({inside}){weight}"
                if not weight.startswith("-") or set(weight) == {"-"}
                else f"Weights are positive: write ({inside})0.5 for less"
            )
            return _error(prompt, group.start, group.end + 1 + strange.end(), "has its weight in the wrong form", fix)
        match = _WEIGHT_AFTER_GROUP.match(after)
        if match:
            error = _weighted(prompt, group, inside, match.group(), after[match.end() :])
            if error is not None:
                return error
    return None


def _weighted(prompt: str, group: _Group, inside: str, weight: str, rest: str) -> NegError | None:
    end = group.end + 1 + len(weight)
    if not inside.strip():
        return _error(prompt, group.start, end, "weights nothing", "Put words into the brackets")
    if rest and re.match(r"[\w+\-*=:]|\.[\d+-]|,\d", rest):
        tail = re.match(r"\S+", rest)
        assert tail is not None
        return _error(prompt, group.start, end + tail.end(), "has a weight that cannot be read", f"Write ({inside})1.4 or ({inside})++")
    before = prompt[: group.start]
    if before and not before[-1].isspace() and before[-1] not in '("':
        return _error(prompt, group.start, end, f"follows {before[-1]!r}, which keeps its weight from being read", "Put a space before it")
    for within in _groups(prompt):
        if group.start <= within.start and within.end <= group.end:
            error = _readable_inside(prompt, within)
            if error is not None:
                return error
    return None


def _readable_inside(prompt: str, group: _Group) -> NegError | None:
    """compel's grammar inside weighted brackets, where it falls back to plain words at the first sign it cannot place."""
    inside = prompt[group.start + 1 : group.end]
    # Groups within are judged by themselves; here each is a word of the same length.
    flat = inside
    for within in _groups(inside):
        flat = flat[: within.start] + "x" * (within.end + 1 - within.start) + flat[within.end + 1 :]
    read = _READABLE_INSIDE.match(flat)
    position = read.end() if read else 0
    if position == len(flat):
        return None
    sign = flat[position]
    if sign == '"':
        return _error(
            prompt, group.start, group.end + 1, "holds a single quotation mark, which keeps its weight from being read", 'Write \\" for it'
        )
    return _error(
        prompt,
        group.start,
        group.end + 1,
        f"holds {sign!r}, which keeps its weight from being read",
        f"Write \\{sign} for a sign that is meant as such",
    )


def _operator(prompt: str, group: _Group, operator: re.Match[str]) -> NegError | None:
    name, arguments = operator[1], operator[2]
    end = group.end + 1 + operator.end()
    if name == "swap":
        return _error(prompt, group.start, end, "asks for .swap(), which has no effect here", "Leave it out")
    if name == "attend":
        return None
    weights = [word.strip() for word in arguments.split(",") if word.strip()]
    numbers = [word for word in weights if word != "no_normalize"]
    if any(not re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", word) for word in numbers):
        return _error(prompt, group.start, end, f"has a weight in .{name}() that is no number", f'Write ("a", "b").{name}(0.7, 0.3)')
    num_prompts = len(_split(prompt[group.start + 1 : group.end]))
    if (name == "blend" or numbers) and len(numbers) != num_prompts:
        return _error(prompt, group.start, end, f"has {num_prompts} prompts and {len(numbers)} weights", "Give every prompt one weight")
    return None


def _lone_signs(prompt: str) -> NegError | None:
    for match in _LONE_SIGNS.finditer(prompt):
        before = prompt[: match.start()].rstrip()
        if before:
            word = before.split()[-1]
            return _error(
                prompt, match.start(), match.end(), "stands alone and weights nothing", f"Write {word}{match[1]} without the space"
            )
    return None


def _groups(prompt: str) -> Iterator[_Group]:
    open_at: list[int] = []
    for position, character in enumerate(prompt):
        if character == "(" and not _escaped(prompt, position):
            open_at.append(position)
        elif character == ")" and not _escaped(prompt, position) and open_at:
            yield _Group(open_at.pop(), position)


def _split(text: str) -> list[str]:
    """Split at commas outside quotation marks and brackets."""
    parts, depth, quoted = [""], 0, False
    for position, character in enumerate(text):
        if character == '"' and not _escaped(text, position):
            quoted = not quoted
        depth += (character == "(") - (character == ")")
        if character == "," and not quoted and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _escaped(prompt: str, position: int) -> bool:
    return position > 0 and prompt[position - 1] == "\\"


def _error(prompt: str, start: int, end: int, what: str, fix: str) -> NegError:
    return NegError("invalid", f"{prompt[start:end]!r} at character {start + 1} {what}.", f"{fix}.")
