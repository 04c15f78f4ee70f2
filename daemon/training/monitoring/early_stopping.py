"""When to end a run by itself: the held-out loss (or the sampled gain) has not improved for so many measurements. Free of torch.

Knows nothing of how the figure is measured, nor what is done with the best weights. Its whole state is `facts`, which a checkpoint keeps.
"""

from __future__ import annotations

import msgspec

from daemon.protocol.training_spec import TrainingSpec


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements so far, in short."""

    best: float | None = None
    best_step: int = 0
    last_step: int = -1
    num_without_improvement: int = 0


class EarlyStopping:
    """Looks at one figure: `held_out_loss` (lower is better) or, where samples are scored, `sampled_gain` (higher is better)."""

    def __init__(self, spec: TrainingSpec, *, samples_are_scored: bool) -> None:
        self.metric = "sampled_gain" if samples_are_scored else "held_out_loss"
        self.patience = spec.early_stopping_patience
        self._higher_is_better = samples_are_scored
        self._standing = Standing()

    @property
    def best_step(self) -> int:
        return self._standing.best_step

    @property
    def is_over(self) -> bool:
        return self._standing.num_without_improvement >= self.patience

    @property
    def reason(self) -> str:
        """Why the run ends, in words."""
        one = self._standing
        direction = "risen" if self._higher_is_better else "fallen"
        return f"{self.metric} has not {direction} for {self.patience} measurements; it was best at step {one.best_step} ({one.best:.6g})"

    def observe(self, step: int, value: float) -> bool:
        """Take the measurement after `step`; returns whether it is the best so far (the first always is). One seen already counts once."""
        one = self._standing
        if step <= one.last_step:
            return step == one.best_step
        is_better = one.best is None or (value > one.best if self._higher_is_better else value < one.best)
        if is_better:
            self._standing = Standing(best=value, best_step=step, last_step=step)
        else:
            self._standing = msgspec.structs.replace(one, last_step=step, num_without_improvement=one.num_without_improvement + 1)
        return is_better

    def facts(self) -> dict[str, float | int | None]:
        """The state as plain JSON."""
        return msgspec.to_builtins(self._standing)

    def restore(self, facts: object) -> None:
        """Go on from `facts`; raises `msgspec.ValidationError` where they are none."""
        self._standing = msgspec.convert(facts, Standing)
