"""What the win rates say, in plain words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.protocol.voting import Preference

PLACEBO = "placebo"


def in_words(preferences: Sequence[Preference], arms: Sequence[str], min_clusters: int) -> str:
    """What voters prefer: the last arm that was judged (the target) against the placebo first, then against the others."""
    if not preferences:
        return "No vote has set two arms against each other yet."
    target = max(preferences, key=lambda one: arms.index(one.arm)).arm
    own = [one for one in preferences if one.arm == target]
    own.sort(key=lambda one: (not one.against.startswith(PLACEBO), arms.index(one.against)))
    return " ".join(_sentence(one, min_clusters) for one in own)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _sentence(one: Preference, min_clusters: int) -> str:
    figures = f"preferred in {percent(one.win_rate)}"
    if one.confidence:
        figures += f" [{percent(one.low)}, {percent(one.high)}]"
    match one.verdict:
        case "better":
            return f"{one.arm} beats {one.against}: {figures}."
        case "worse":
            return f"{one.arm} loses to {one.against}: {figures}."
        case "same":
            return f"No difference between {one.arm} and {one.against} of 10 points or more: {figures}."
    said = f"No clear difference between {one.arm} and {one.against}: {figures}."
    if one.num_clusters < min_clusters:
        return f"{said} Too few prompts for a verdict: {one.num_clusters}, at least {min_clusters} are needed."
    if one.num_more_votes is None:
        return f"{said} More votes alone would hardly settle it."
    return f"{said} About {one.num_more_votes} more votes on new prompts would settle it, if the difference stays as large."
