"""What a person may order a running training to do. How orders travel (`commands.py`, `link.py`) and what they do is not known here."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class _Order(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type"):
    """Base of all orders; the tag is the class name. An order given twice does what it does once."""


class Sample(_Order, frozen=True, kw_only=True):
    """Paint the training's sample images at the next step boundary, from the weights as they are then."""


class Checkpoint(_Order, frozen=True, kw_only=True):
    """Write a checkpoint at the next step boundary."""


class StopAndKeep(_Order, frozen=True, kw_only=True):
    """End the training at the next step boundary and keep the adapter as it stands: the job is then done."""


class LearningRate(_Order, frozen=True, kw_only=True):
    """From the next step on, train as if `learning_rate` had been `value`; schedule and warm-up go on shaping it."""

    value: Annotated[float, Meta(gt=0.0, le=1e6)]


DecisiveOrder = StopAndKeep | LearningRate
"""Orders that change the weights that come out, hence must outlive a crash together with the step at which they took effect."""

Order = Sample | Checkpoint | StopAndKeep | LearningRate
