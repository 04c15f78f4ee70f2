import sys
from typing import Any

import msgspec
import pytest
import torch

from daemon.protocol.errors import NegError
from daemon.protocol.training_rules import PACKAGES
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.optimizers.kinds import KINDS

SPEC = TrainingSpec(adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6, adam_weight_decay=0.05)


def make(optimizer: str, device: str = "cpu") -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2, 3))], "lr": 0.5}, {"params": [torch.nn.Parameter(torch.ones(3))], "lr": 0.25}]
    return KINDS[optimizer](msgspec.structs.replace(SPEC, optimizer=optimizer), groups, torch.device(device))


def test_every_optimizer_of_the_spec_can_be_made() -> None:
    kind = msgspec.inspect.type_info(TrainingSpec)
    assert isinstance(kind, msgspec.inspect.StructType)
    (field,) = (field for field in kind.fields if field.name == "optimizer")
    assert isinstance(field.type, msgspec.inspect.LiteralType)
    assert set(field.type.values) == set(KINDS)
    assert set(PACKAGES) < set(KINDS)


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy", "schedulefree"])
def test_adams_settings_reach_every_adam(optimizer: str) -> None:
    for group, rate in zip(make(optimizer).param_groups, (0.5, 0.25), strict=True):
        assert (group["betas"], group["eps"], group["weight_decay"], group["lr"]) == ((0.8, 0.95), 1e-6, 0.05, rate)


def test_each_is_set_as_diffusers_sets_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert make("adamw").param_groups[0]["fused"]
    prodigy = make("prodigy").param_groups[0]
    assert (prodigy["decouple"], prodigy["use_bias_correction"], prodigy["safeguard_warmup"]) == (True, True, True)
    adafactor = make("adafactor").param_groups[0]
    assert (adafactor["relative_step"], adafactor["scale_parameter"], adafactor["warmup_init"]) == (False, False, False)
    assert (adafactor["weight_decay"], adafactor["beta1"]) == (0.05, None)
    assert capsys.readouterr().out == ""


def test_8_bits_without_a_gpu_are_refused_in_words() -> None:
    with pytest.raises(NegError, match="adamw8bit needs an NVIDIA GPU") as caught:
        make("adamw8bit")
    assert (caught.value.detail.code, "adafactor" in caught.value.detail.hint) == ("invalid", True)


@pytest.mark.parametrize(("optimizer", "device"), [("adamw8bit", "cuda"), ("prodigy", "cpu"), ("schedulefree", "cpu")])
def test_a_package_that_is_missing_is_named(optimizer: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, PACKAGES[optimizer], missing)
    with pytest.raises(NegError, match=f"needs the package {PACKAGES[optimizer]}, which is not installed here") as caught:
        make(optimizer, device)
    assert f"pip install {PACKAGES[optimizer]}" in caught.value.detail.hint
