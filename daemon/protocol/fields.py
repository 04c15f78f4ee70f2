"""What the fields of specs are made of: bounded types, and the base of every declared setting."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}\Z", description="a-z 0-9 . _ - , at most 63 characters")]
Prompt = Annotated[str, Meta(max_length=8192)]
Path_ = Annotated[str, Meta(min_length=1, max_length=4096)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
GuidanceScale = Annotated[float, Meta(ge=0.0, le=100.0)]
Steps = Annotated[int, Meta(ge=1, le=1000)]
Pixels = Annotated[int, Meta(ge=8, le=4096, multiple_of=8)]
Fraction = Annotated[float, Meta(gt=0.0, lt=1.0)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
PlaceholderToken = Annotated[
    str, Meta(pattern=r"^<[A-Za-z0-9_-]{1,40}>\Z", description="A-Z a-z 0-9 _ - between < and >, at most 40 characters")
]
"""A token that no tokenizer knows, as `<wrong>`: what textual inversion learns the embedding of."""

Tag = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}\Z", description="a-z 0-9 . _ - , at most 32 characters")]
"""A word that a person put on a picture."""
MAX_TAGS = 32


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every declared setting: immutable, and an unknown field is an error rather than a silent nothing."""
