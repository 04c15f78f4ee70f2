"""The tokenizers: the world's words are one token each, and CLIP's own rules hold."""

from __future__ import annotations

from pathlib import Path

from daemon.toy.captions import vocabulary
from daemon.toy.tokenizer import END, merges_for, write_tokenizer


def test_merges_spell_every_word() -> None:
    pieces = {left + right for left, right in merges_for(["red", "green"])}
    assert {"red</w>", "green</w>"} <= pieces


def test_every_word_of_the_world_is_one_token(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path, vocabulary(), END)
    assert all(len(tokenizer.tokenize(word)) == 1 for word in vocabulary())
    assert tokenizer.unk_token_id not in tokenizer("zebra Éxyz!", add_special_tokens=False).input_ids


def test_padding_is_as_in_sdxl(tmp_path: Path) -> None:
    for pad_token in (END, "!"):
        tokenizer = write_tokenizer(tmp_path / str(len(pad_token)), vocabulary(), pad_token)
        ids = tokenizer("wrong", padding="max_length").input_ids
        assert len(ids) == 77
        assert ids[0] == tokenizer.bos_token_id
        assert ids[2] == tokenizer.eos_token_id
        assert ids[3] == tokenizer.convert_tokens_to_ids(pad_token)
