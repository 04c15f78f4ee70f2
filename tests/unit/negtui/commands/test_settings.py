from __future__ import annotations

import json

from negtui.config import config_path
from tests.fake_daemon import FakeDaemon, call


def test_the_path_is_printed() -> None:
    assert call(FakeDaemon(), "config", "path")[:2] == (0, f"{config_path()}\n")
    code, out, _ = call(FakeDaemon(), "--json", "config", "path")
    assert (code, json.loads(out)) == (0, {"path": str(config_path()), "exists": False})


def test_show_tells_what_is_in_force() -> None:
    code, out, _ = call(FakeDaemon(), "config", "show")
    assert code == 0
    assert "ascii = false" in out
    assert "All there is to set" in out
    config_path().write_text('theme = "nord"\n[keys]\n"jobs.cancel" = "ctrl+x"\n')
    code, out, _ = call(FakeDaemon(), "config", "show")
    assert 'theme = "nord"' in out
    assert '"jobs.cancel" = "ctrl+x"' in out
    assert "All there is to set" not in out
    code, out, _ = call(FakeDaemon(), "--json", "config", "show")
    assert json.loads(out)["dashboard"]["keys"] == {"jobs.cancel": "ctrl+x"}


def test_validate_finds_what_is_wrong_and_says_so_by_its_exit_code() -> None:
    assert call(FakeDaemon(), "config", "validate")[0] == 0
    config_path().write_text('[keys]\n"jobs.cancel" = "p"\n')
    code, out, _ = call(FakeDaemon(), "config", "validate")
    assert code == 2
    assert "p would be both jobs.pause and jobs.cancel" in out
    config_path().write_text('theme = "no-such"\n')
    assert call(FakeDaemon(), "config", "validate")[:2] == (2, "theme: 'no-such' is none; f2 in the dashboard shows them all.\n")
    config_path().write_text("colour = 3\n")
    code, _, err = call(FakeDaemon(), "config", "validate")
    assert code == 2
    assert "colour = 3 is not a setting" in err
