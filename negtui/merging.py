"""Wishes for a merge as a person writes them, `wrong=1 subject=0.7`, made into a spec. Pure: knows neither the daemon nor Textual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import MergeSpec, ParentAdapter, require_sound_merge


def parent_adapters(texts: Sequence[str]) -> tuple[ParentAdapter, ...]:
    """`wrong=1.0` or `wrong` (at weight 1), each. Raises `NegError` `invalid`."""
    return tuple(_parent(text) for text in texts)


def merge_spec(adapters: Sequence[str], settings: Mapping[str, object]) -> MergeSpec:
    """A whole spec; of `settings` (by the spec's names; numbers may be text) those that are None or empty stay at their defaults.

    Raises `NegError` `invalid`, with what is allowed.
    """
    given = {name: value for name, value in settings.items() if value is not None and value != ""}
    parents = [msgspec.to_builtins(parent) for parent in parent_adapters(adapters)]
    try:
        spec = msgspec.convert({**given, "adapters": parents}, MergeSpec, strict=False)
    except msgspec.ValidationError as error:
        message = f"This is no merge: {str(error).replace(' - at `$.', ', in `')}."
        raise NegError("invalid", message, "As wrong=1 subject=0.7, combination_type cat.") from None
    require_sound_merge(spec)
    return spec


def _parent(text: str) -> ParentAdapter:
    name, sign, weight = text.partition("=")
    try:
        return msgspec.convert({"name": name, "weight": float(weight) if sign else 1.0}, ParentAdapter)
    except (ValueError, msgspec.ValidationError):
        raise NegError(
            "invalid", f"{text!r} is no adapter with its weight.", "As wrong=1.0: a name, then a number from -10 to 10."
        ) from None
