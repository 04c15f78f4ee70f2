"""What recipes may ask of an engine. Free of torch, so that plans, recipes and tests with fakes are too.

An engine knows nothing of jobs, sessions or sockets: it identifies models, paints requests, lends its parts for training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from PIL import Image

from daemon.protocol.events import ResidentPart
from daemon.protocol.fields import Spec
from daemon.protocol.specs import ImageRequest, ModelSpec

if TYPE_CHECKING:
    # Only for those who read types: the front, which wants the identity of models, starts without numpy.
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]


class ModelIdentity(Spec, frozen=True, kw_only=True):
    """What a `ModelSpec` is on this machine: hashes of the weight files, and the precision it runs in."""

    base_sha256: str
    refiner_sha256: str | None = None
    vae_sha256: str | None = None
    """Only where `ModelSpec.vae` replaces the VAE."""
    torch_dtype: Literal["float32", "float16", "bfloat16"]


class Prediction(NamedTuple):
    """What the base predicted at one step, in its own output (epsilon, or v), (C, h, w) each; None: the step is not guided."""

    timestep: float
    positive: Floats
    negative: Floats | None
    plain_positive: Floats | None
    """For the same latents and words, with every adapter off; None where none acts."""
    plain_negative: Floats | None


class Trajectory(NamedTuple):
    """A picture, and how the base came to it; the refiner's steps are not among them."""

    image: Image.Image
    predictions: tuple[Prediction, ...]


OnStep = Callable[[int, int, Callable[[], bytes]], None]
"""(step from 1, num_steps over base and refiner, make a JPEG preview <= 32 KiB). May raise to stop the painting."""

OnBlockStep = Callable[[Sequence[int], int, int, Callable[[], bytes]], None]
"""(numbers of the requests that are painted together, then as `OnStep`; the preview is of the last of them)."""


class Engine(Protocol):
    """Models resident on one device."""

    def identify(self, model: ModelSpec) -> ModelIdentity:
        """Hash the files of `model` (cached by path, size and time) without loading them; raises `NegError` in words."""

    def paint(self, model: ModelSpec, request: ImageRequest, on_step: OnStep | None = None) -> Image.Image:
        """One RGB picture. Loads what is not resident; the same request gives the same pixels on the same kind of device."""

    def watch(self, model: ModelSpec, request: ImageRequest, on_step: OnStep | None = None) -> Trajectory:
        """As `paint`, the same pixels, looking on: what the base predicted for prompt and negative prompt at every step."""

    def paint_block(
        self, model: ModelSpec, requests: Sequence[ImageRequest], on_step: OnBlockStep | None = None
    ) -> Iterator[tuple[int, Image.Image]]:
        """The pictures of one block's arms, each with its request's number, as they are finished; on a GPU several together.

        On a CPU each is what `paint` gives, bit for bit; on a GPU it may differ from that by rounding.
        """

    def offer_adapter(self, path: Path) -> str:
        """Make an adapter file known, so that requests may name it by the sha256 this returns. Read when first used."""

    def offer_embedding(self, path: Path) -> str:
        """As `offer_adapter`, for a file of a learned embedding."""

    def borrow_training_parts(self, model: ModelSpec) -> AbstractContextManager[Any]:
        """Lend `training_parts`; afterwards the base is clean again, whatever was done to it."""

    def training_parts(self, model: ModelSpec) -> Any:
        """The resident base as `daemon.engine.parts.TrainingParts` (tokenizers, text encoders, vae, unet, scheduler)."""

    def close(self) -> None:
        """Free everything."""


class GpuBytes(NamedTuple):
    """What this process takes of its GPU: its tensors, and what torch holds, unused room included."""

    allocated: int
    reserved: int


@runtime_checkable
class Holder(Protocol):
    """An engine that tells what it holds, and loads before it is needed. The first two may be asked from any thread."""

    def residents(self) -> tuple[ResidentPart, ...]:
        """What lies in memory, largest first."""

    def gpu_bytes(self) -> GpuBytes | None:
        """None without a GPU, or before it is used."""

    def hold(self, model: ModelSpec) -> None:
        """Have a model's parts in memory; raises `NegError` in words."""
