"""compel's weighting as other programs write it: `(bad hands)++++` becomes `(bad hands:1.4641)`. Free of torch."""

from __future__ import annotations

import re

_GROUP_WEIGHT = re.compile(r"(\++|-+|\d+\.\d+|\.\d+|\d+)(?![\w+\-])")
_WORD_WEIGHT = re.compile(r"(?<![^\s(,\"])([^\s(),\"+]*[^\s(),\"+\-])(\++|-+)(?=$|[\s,.;)\"])")
_OPERATOR = re.compile(r"\)\.(?:and|add|blend|swap)\(")


def translate_weights(prompt: str) -> str:
    """The prompt with weights as AUTOMATIC1111's web UI and ComfyUI read them: `(words:1.21)`.

    Brackets without a weight, which mean nothing to compel and 1.1 to the others, are left out; `\\(` stays. What the others cannot
    say, compel's `.and()` and `.blend()`, leaves the prompt as it is.
    """
    if _OPERATOR.search(prompt):
        return prompt
    translated, end = _sequence(prompt, 0)
    return translated + prompt[end:]


def _sequence(prompt: str, start: int) -> tuple[str, int]:
    """What stands from `start` to the bracket that closes it, or to the end, translated; and where that is."""
    parts: list[str] = []
    plain = position = start
    while position < len(prompt) and prompt[position] != ")":
        if prompt[position] == "\\":
            position += 2
        elif prompt[position] == "(":
            parts.append(_words(prompt[plain:position]))
            group, position = _group(prompt, position)
            parts.append(group)
            plain = position
        else:
            position += 1
    parts.append(_words(prompt[plain:position]))
    return "".join(parts), min(position, len(prompt))


def _group(prompt: str, start: int) -> tuple[str, int]:
    inside, end = _sequence(prompt, start + 1)
    if end == len(prompt):
        return f"({inside}", end
    weight = _GROUP_WEIGHT.match(prompt, end + 1)
    if weight is None:
        return inside, end + 1
    return f"({inside}:{_number(weight[1])})", weight.end()


def _words(text: str) -> str:
    """Single words with their weight, as `blurry++`."""
    return _WORD_WEIGHT.sub(lambda word: f"({word[1]}:{_number(word[2])})", text)


def _number(weight: str) -> str:
    """compel: every + is 1.1 times, every - 0.9 times."""
    if weight[0] in "+-":
        return f"{(1.1 if weight[0] == '+' else 0.9) ** len(weight):.6g}"
    return f"{float(weight):g}"
