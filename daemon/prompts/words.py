"""A prompt without its weights: the words alone, for what reads words and knows no compel. Free of torch."""

from __future__ import annotations

import re

_WEIGHTED = re.compile(r"(?<!\\)\(((?:[^()\\]|\\.)*)\)(?:\++|-+(?![\w])|\d+\.\d+|\.\d+|\d+)")
_JOINED = re.compile(r'\(((?:\s*"[^"]*"(?:\++|-+)?\s*,?)+)\)\.(?:and|add|blend)\([^()]*\)')
_SIGNS = re.compile(r'(?<=[\w"\')])(?:\++|-+)(?=$|[\s,.;:!?")])')
_ESCAPED = re.compile(r"\\([()\"+-])")


def plain_words(prompt: str) -> str:
    """`a (red)1.4 star++` -> `a red star`; `("a star", "a moon").and(1, 0.5)` -> `a star, a moon`. Brackets that weigh nothing stay."""
    text = _JOINED.sub(lambda found: ", ".join(re.findall(r'"([^"]*)"', found[1])), prompt)
    while (bared := _WEIGHTED.sub(r"\1", text)) != text:
        text = bared
    return " ".join(_ESCAPED.sub(r"\1", _SIGNS.sub("", text)).split())
