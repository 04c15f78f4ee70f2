"""An adapter put on a model to be trained, and taken off without a trace: LoRA, DoRA, LoHa or LoKr of peft on UNet and text encoders.

Knows nothing of files, losses or optimizers.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft import inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from daemon.adapters.headers import PeftSettings
from daemon.engine.adapter_loading import CONFIGS
from daemon.engine.adapter_reading import component_prefix
from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.adapters.metadata import peft_settings
from daemon.training.data.draws import draw_seed

ADAPTER_NAME = "negtui_training"
ZERO_AT_FIRST = (".lora_B.weight", ".hada_w2_b", ".lokr_w1", ".lokr_w1_a")
"""The factor that peft begins with zeros, so that a fresh adapter changes nothing."""

Parameters = dict[str, nn.Parameter]
"""The trainable weights by component and peft's name: `unet.down_blocks.1...attn1.to_q.lora_A.weight`; sorted.

Those of the text encoders have `text_model.` in front, whether transformers' own class has such a part or not.
"""


class Adapter:
    """An adapter on a model, being trained. Its weights are float32 whatever the model's are, or most updates would round to nothing."""

    def __init__(self, modules: Mapping[str, nn.Module], parameters: Parameters, settings: PeftSettings, model: Any) -> None:
        self.parameters = parameters
        self.settings = settings
        self.layers_per_block: int = model.unet.config.layers_per_block
        self.prediction_type: str = model.noise_scheduler.config.prediction_type
        self._layers = [layer for module in modules.values() for layer in module.modules() if isinstance(layer, BaseTunerLayer)]

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Within it the model predicts as if it carried nothing."""
        # Not `enable_adapters`: its visit to every weight's requires_grad takes as long as a GPU's whole step.
        for layer in self._layers:
            layer._disable_adapters = True
        try:
            yield
        finally:
            for layer in self._layers:
                layer._disable_adapters = False

    def weights(self) -> dict[str, Tensor]:
        """The live weights, without gradients."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrite all weights; raises `ValueError` where names or shapes differ."""
        copy_into(self.parameters, weights)


@contextlib.contextmanager
def attached(parts: Any, spec: TrainingSpec, init: Mapping[str, Tensor] | None = None) -> Iterator[Adapter]:
    """Lend the parts' UNet, and with `train_text_encoder` both text encoders, with a fresh adapter on them.

    The weights are drawn from `spec.seed` and their names alone, or those of `init` (of `formats.read_init_adapter`). Afterwards,
    whatever happens, the modules are the very ones they were. Raises `NegError` `incompatible` where `init` is another kind of adapter.
    """
    settings = peft_settings(spec)
    modules: dict[str, nn.Module] = {component: getattr(parts, component) for component in settings}
    for module in modules.values():
        if getattr(module, "peft_config", None):
            raise RuntimeError(f"the {type(module).__name__} still carries an adapter")
    with contextlib.ExitStack() as stack:
        for component, module in modules.items():
            stack.enter_context(_carrying(module, _config(spec, settings[component]), spec.gradient_checkpointing))
        parameters = {name: weight for component, module in modules.items() for name, weight in _trainable(component, module).items()}
        adapter = Adapter(modules, dict(sorted(parameters.items())), settings, parts)
        _initialise(adapter.parameters, spec)
        if init is not None:
            _start_from(adapter, init, spec)
        yield adapter


def copy_into(parameters: Parameters, weights: Mapping[str, Tensor]) -> None:
    """Overwrite the adapter by saved weights; raises `ValueError` where names or shapes differ."""
    if weights.keys() != parameters.keys() or any(weights[name].shape != parameters[name].shape for name in parameters):
        raise ValueError("these weights belong to another adapter")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


@contextlib.contextmanager
def _carrying(module: Any, config: Any, gradient_checkpointing: bool) -> Iterator[None]:
    was_training, trainable = module.training, [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        module.requires_grad_(False)
        inject_adapter_in_model(config, module, adapter_name=ADAPTER_NAME)
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        _measure_magnitudes(module)
        module.train()
        if gradient_checkpointing:
            _checkpoint_gradients(module, True)
        yield
    finally:
        if gradient_checkpointing:
            _checkpoint_gradients(module, False)
        module.train(was_training)
        recurse_remove_peft_layers(module)
        if hasattr(module, "peft_config"):
            del module.peft_config
        for parameter in trainable:
            parameter.requires_grad_(True)


def _config(spec: TrainingSpec, settings: Mapping[str, Any]) -> Any:
    fields = {name: value for name, value in settings.items() if name != "peft_type"}
    if spec.peft_type == "lora":
        fields["lora_dropout"] = spec.lora_dropout
    return CONFIGS[spec.peft_type](**fields)


def _trainable(component: str, module: nn.Module) -> Parameters:
    prefix = component_prefix(component, module)
    named = module.named_parameters()
    return {f"{prefix}{name.replace(f'.{ADAPTER_NAME}', '')}": weight for name, weight in named if weight.requires_grad}


def _measure_magnitudes(module: nn.Module) -> None:
    """DoRA's magnitudes anew: peft measured them in the model's precision."""
    for layer in module.modules():
        magnitudes = getattr(layer, "lora_magnitude_vector", None)
        if magnitudes is not None and ADAPTER_NAME in magnitudes:
            magnitudes[ADAPTER_NAME].update_layer(
                base_layer=layer.get_base_layer(),
                lora_A=layer.lora_A[ADAPTER_NAME].weight,
                lora_B=layer.lora_B[ADAPTER_NAME].weight,
                scaling=layer.scaling[ADAPTER_NAME],
            )


def _initialise(parameters: Parameters, spec: TrainingSpec) -> None:
    """As peft begins: lora_A gaussian with deviation 1 / rank (`init_lora_weights="gaussian"`), the LyCORIS factors as He et al. (2015)."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            # An adapter of the UNet alone has always been drawn by the bare names.
            generator = torch.Generator().manual_seed(draw_seed(spec.seed, "lora", name.removeprefix("unet.")))
            if name.endswith(ZERO_AT_FIRST):
                parameter.zero_()
            elif ".lora_A." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / spec.rank)
            elif ".lora_magnitude_vector" not in name:
                parameter.copy_(nn.init.kaiming_uniform_(torch.empty(parameter.shape), a=math.sqrt(5), generator=generator))


def _start_from(adapter: Adapter, init: Mapping[str, Tensor], spec: TrainingSpec) -> None:
    try:
        adapter.load(init)
    except ValueError:
        others = adapter.parameters.keys() ^ init.keys()
        wrong = [name for name in adapter.parameters.keys() & init.keys() if adapter.parameters[name].shape != init[name].shape]
        reason = f"it has another shape in {min(wrong)}" if wrong else f"only one of them changes {min(others)}"
        raise NegError(
            "incompatible",
            f"The training cannot start from the adapter {spec.init_adapter!r}: {reason}.",
            "Give rank, peft_type, use_dora, target_modules and train_text_encoder the values it was trained with, and the same model.",
        ) from None


def _checkpoint_gradients(module: Any, enabled: bool) -> None:
    # diffusers and transformers name it differently.
    verb = "enable" if enabled else "disable"
    switch = getattr(module, f"{verb}_gradient_checkpointing", None) or getattr(module, f"gradient_checkpointing_{verb}")
    switch()
