"""A small CLIP tokenizer: byte-pair merges that spell the world's words in one token each; other words fall to pieces.

Writes vocab.json and merges.txt as CLIP's are, and loads them with transformers' own CLIPTokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"


def merges_for(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges (Sennrich et al., 2016), the most frequent pair first, until every word is a single token."""
    spelled = [[*word[:-1], word[-1] + END_OF_WORD] for word in words]
    merges: list[tuple[str, str]] = []
    while any(len(pieces) > 1 for pieces in spelled):
        counts: dict[tuple[str, str], int] = {}
        for pieces in spelled:
            for pair in pairwise(pieces):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(sorted(counts), key=counts.__getitem__)
        merges.append(best)
        spelled = [_merged(pieces, best) for pieces in spelled]
    return merges


def write_tokenizer(folder: Path, words: Iterable[str], pad_token: str) -> CLIPTokenizer:
    """A CLIPTokenizer whose vocabulary spells `words`, saved in `folder`. SDXL pads with END first, with "!" second."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = merges_for(words)
    letters = _byte_letters()
    entries = [*letters, *(letter + END_OF_WORD for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary = {token: index for index, token in enumerate([*dict.fromkeys(entries), START, END])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer.from_pretrained(
        folder, pad_token=pad_token, bos_token=START, eos_token=END, unk_token=END, model_max_length=77
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with every occurrence of the pair joined."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _byte_letters() -> list[str]:
    """GPT-2's 256 printable stand-ins for bytes, in CLIP's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
