"""The walls between client, front and engine, read off what really loads; ruff and import-linter guard the source."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "compel"}

LOADED = """
import sys
import {module}
print("\\n".join(sorted({{name.split(".")[0] for name in sys.modules}})))
"""

BLOCKED = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Wall())
import {module}
"""


def loaded_by(module: str) -> set[str]:
    """Top-level packages in `sys.modules` after importing `module` in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LOADED.format(module=module)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["negtui.cli", "negtui.client", "daemon.front.serve", "daemon.worker", "daemon.sessions", "daemon.models"]
)
def test_torch_and_its_kin_are_not_loaded(module: str) -> None:
    assert not loaded_by(module) & HEAVY


@pytest.mark.parametrize("module", ["daemon.synthesis.recipe", "daemon.training.recipe", "daemon.comparison.recipe"])
def test_recipes_load_torch_only_when_there_is_work(module: str) -> None:
    assert "torch" not in loaded_by(module)


@pytest.mark.parametrize("module", ["negtui.cli", "negtui.client", "daemon.front.serve"])
def test_client_and_front_run_with_torch_uninstalled(module: str) -> None:
    subprocess.run([sys.executable, "-c", BLOCKED.format(module=module, heavy=HEAVY)], check=True)


def test_client_loads_nothing_of_the_daemon_but_the_contract_and_places() -> None:
    code = "import sys, negtui.client, negtui.cli; print('\\n'.join(m for m in sys.modules if m.startswith('daemon')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    allowed = {"daemon", "daemon.config", "daemon.protocol"}
    assert {name for name in done.stdout.split() if name not in allowed and not name.startswith("daemon.protocol.")} == set()


def test_daemon_is_ours_and_its_init_is_empty() -> None:
    """PyPI's python-daemon has the same name; and importing the contract runs `daemon/__init__.py`."""
    import daemon

    path = Path(str(daemon.__file__))
    assert path.read_text() == ""
    assert (path.parent / "protocol" / "specs.py").is_file()
