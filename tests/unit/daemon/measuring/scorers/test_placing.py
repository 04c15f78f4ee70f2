"""Nets are put where there is room, and foreign files fail in words."""

from pathlib import Path

import pytest
import torch
from torch import nn

from daemon.measuring.scorers.placing import place, reading
from daemon.protocol.errors import NegError


def test_without_a_gpu_a_net_stays_on_the_cpu_and_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    net = place(nn.Linear(4, 4).train())
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert next(net.parameters()).device.type == "cpu"


def test_without_room_on_the_gpu_it_stays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10, 1000))
    assert next(place(nn.Linear(4, 4)).parameters()).device.type == "cpu"


def test_what_cannot_be_read_is_said_with_its_folder_and_what_is_in_words_stays() -> None:
    with pytest.raises(NegError, match="in /models/x cannot be read: ValueError: no"), reading(Path("/models/x")):
        raise ValueError("no\nmore")
    with pytest.raises(NegError, match="mine"), reading(Path("/models/x")):
        raise NegError("incompatible", "mine")
