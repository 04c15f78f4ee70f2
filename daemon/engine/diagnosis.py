"""Looks on while a picture is painted: what the base's UNet predicts at every step, and what it would predict without adapters.

The painting is the ordinary one: a hook reads what the UNet answered and changes nothing. Where adapters act it asks the UNet once more,
for the very same inputs with every adapter off; text embeddings stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from PIL import Image
from torch import Tensor, nn

from daemon.engine.base import Prediction, Trajectory
from daemon.engine.parts import Sources
from daemon.engine.residents import Residents
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRequest

if TYPE_CHECKING:
    from daemon.engine.base import Floats


def watch(residents: Residents, sources: Sources, request: ImageRequest, paint: Callable[[], Image.Image]) -> Trajectory:
    """What `paint` paints, which is `request`, and how it came about. Raises what it raises, and `NegError` `gpu_oom`."""
    residents.plan_for(sources, request.width, request.height)
    onlooker = Onlooker(residents.parts(sources, "base")["unet"], has_adapters=bool(request.adapters))
    with onlooker.attached():
        image = paint()
    if not onlooker.predictions:
        message = f"There is no room to look at a {request.width} x {request.height} picture while it is painted."
        raise NegError("gpu_oom", message, "Set comparison.diagnose_blocks to 0, or close other programs on the GPU.")
    return Trajectory(image, tuple(onlooker.predictions))


class Onlooker:
    """Collects a `Prediction` a call of the UNet, while `attached`: of one picture, with one row (not guided) or two (negative first)."""

    def __init__(self, unet: nn.Module, *, has_adapters: bool) -> None:
        self.predictions: list[Prediction] = []
        self._unet, self._has_adapters = unet, has_adapters
        self._is_asking = False

    @contextmanager
    def attached(self) -> Iterator[None]:
        hook = self._unet.register_forward_hook(self._answered, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _answered(self, unet: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        if self._is_asking:
            return
        timestep = float(inputs[1])
        if self.predictions and timestep >= self.predictions[0].timestep:
            # Painted anew from its first step, after a lack of memory.
            self.predictions.clear()
        negative, positive = _branches(output[0])
        plain_negative, plain_positive = _branches(self._without_adapters(inputs, options)) if self._has_adapters else (None, None)
        self.predictions.append(Prediction(timestep, positive, negative, plain_positive, plain_negative))

    @torch.no_grad()
    def _without_adapters(self, inputs: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
        acting = [layer for layer in self._unet.modules() if isinstance(layer, BaseTunerLayer) and not layer.disable_adapters]
        self._is_asking = True
        try:
            for layer in acting:
                layer.enable_adapters(False)
            answer: Tensor = self._unet(*inputs, **options)[0]
            return answer
        finally:
            self._is_asking = False
            for layer in acting:
                layer.enable_adapters(True)


def _branches(predicted_RCHW: Tensor) -> tuple[Floats | None, Floats]:
    """(negative, positive), each (C, h, w) float32."""
    rows: list[Floats] = [np.array(row) for row in predicted_RCHW.detach().float().cpu().numpy()]
    return (rows[0], rows[1]) if len(rows) == 2 else (None, rows[0])
