"""What painting and training work with: a model made definite, and the parts that are lent. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon import models
from daemon.engine.base import ModelIdentity
from daemon.models.sources import Dtype, ModelSource, Role, resolve
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ModelSpec


@dataclass(frozen=True)
class Sources:
    """A `ModelSpec` made definite: places that exist, one device, and what their files hold in which precision."""

    base: ModelSource
    refiner: ModelSource | None
    vae: ModelSource | None
    device: str
    identity: ModelIdentity

    @classmethod
    def of(cls, model: ModelSpec, identity: ModelIdentity) -> Sources:
        def find(reference: str | None) -> ModelSource | None:
            return None if reference is None else resolve(reference, model.allow_download)

        return cls(
            base=resolve(model.base, model.allow_download),
            refiner=find(model.refiner),
            vae=find(model.vae),
            device=models.chosen_device(model),
            identity=identity,
        )

    @property
    def dtype(self) -> Dtype:
        return self.identity.torch_dtype

    def source(self, role: Role) -> ModelSource:
        found = {"base": self.base, "refiner": self.refiner, "vae": self.vae}[role]
        if found is None:
            raise NegError("invalid", f"This model has no {role}.")
        return found


@dataclass(frozen=True)
class TrainingParts:
    """The resident base as training needs it: modules in eval mode without gradients, in `dtype` on `device`."""

    tokenizer: Any
    tokenizer_2: Any
    text_encoder: Any
    text_encoder_2: Any
    vae: Any
    unet: Any
    noise_scheduler: Any
    """DDPM with the base's betas and prediction_type."""
    scheduler: Any
    """The base's own, as it paints with."""
    force_zeros_for_empty_prompt: bool
    """Whether the pipeline's unconditional embeddings are zeros; else those of the empty string."""
    dtype: Any
    device: Any
    identity: ModelIdentity
