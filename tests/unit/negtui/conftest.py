from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own configuration, daemon or workspace takes part."""
    monkeypatch.setenv("NEGTUI_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("NEGTUI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NEGTUI_RUNTIME", str(tmp_path / "run"))
    for name in ("NEGTUI_CONNECT", "NEGTUI_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
