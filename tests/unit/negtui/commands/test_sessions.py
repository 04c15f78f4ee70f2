from __future__ import annotations

import pytest

from daemon.protocol.commands import CreateSession
from tests.fake_daemon import FakeDaemon, call


def test_new_passes_models_and_settings_as_toml() -> None:
    daemon = FakeDaemon()
    daemon.warnings = ("There is no \x1b[31mrefiner.",)
    code, out, err = call(
        daemon,
        *["new", "mine", "--model", "some/hub-id", "--refiner", "none", "--vae", 'v"x', "--dtype", "float16", "--allow-download"],
        *["--set", "training.rank=8", "--set", "training.lr_scheduler=cosine", "--set", "synthesis.seeds=[1, 2]"],
    )
    assert code == 0
    assert daemon.asked == [
        CreateSession(
            name="mine",
            template="wrong",
            changes={
                "model.base": '"some/hub-id"',
                "model.refiner": "none",
                "model.vae": '"v\\"x"',
                "model.torch_dtype": '"float16"',
                "model.allow_download": "true",
                "training.rank": "8",
                "training.lr_scheduler": '"cosine"',
                "synthesis.seeds": "[1, 2]",
            },
        )
    ]
    assert err == "warning: There is no refiner.\n"
    assert "negtui run mine" in out


def test_new_makes_model_paths_absolute_unless_the_daemon_is_elsewhere(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    for connect, expected in (([], f'"{tmp_path}/x.safetensors"'), (["--connect", "ssh://h"], '"./x.safetensors"')):
        daemon = FakeDaemon()
        call(daemon, *connect, "new", "mine", "--model", "./x.safetensors")
        assert isinstance(daemon.asked[0], CreateSession)
        assert daemon.asked[0].changes["model.base"] == expected


def test_a_bad_set_is_refused_before_anything_is_asked() -> None:
    daemon = FakeDaemon()
    code, _, err = call(daemon, "new", "mine", "--set", "training.rank")
    assert (code, daemon.asked) == (2, [])
    assert "section.field=value" in err


def test_tables_hold_no_escapes_from_outside() -> None:
    _, out, _ = call(FakeDaemon(), "sessions")
    assert "\x1b" not in out
    assert "red" in out
