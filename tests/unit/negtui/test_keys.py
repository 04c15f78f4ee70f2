from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget

from negtui.app import NegtuiApp
from negtui.keys import KEYS, SCREENS, TITLES, bindings, by_id, key_words, markdown
from negtui.palette import Actions, action_words
from negtui.screens.base import NegtuiScreen
from negtui.screens.help import help_text
from tests.curation_daemon import client

ALL_KEYS = [key for keys in KEYS.values() for key in keys]


def test_ids_are_stable_names_told_once() -> None:
    assert len({key.id for key in ALL_KEYS}) == len(ALL_KEYS)
    assert set(KEYS) == set(TITLES)
    for scope, keys in KEYS.items():
        assert {key.scope for key in keys} <= {scope}


@pytest.mark.parametrize("scope", list(KEYS))
def test_no_key_does_two_things_in_one_place(scope: str) -> None:
    taken: dict[str, str] = {}
    for key in KEYS[scope]:
        for one in key.key.split(","):
            assert taken.setdefault(one, key.id) == key.id


@pytest.mark.parametrize("scope", SCREENS)
def test_a_screen_hides_no_key_that_works_everywhere(scope: str) -> None:
    panes = {"tab", "shift+tab"}  # a screen may have its own order of panes
    everywhere = {one for key in KEYS["app"] for one in key.key.split(",")} - panes
    assert {one for key in KEYS[scope] for one in key.key.split(",")} & everywhere == set()


def test_every_key_is_in_help_documentation_and_bindings(repository: Path) -> None:
    text, documented = help_text(["jobs", "log"], {}).plain, (repository / "docs" / "keys.md").read_text()
    assert documented == markdown(), "python -m negtui.keys > docs/keys.md"
    for key in ALL_KEYS:
        assert key.words in text
        assert key_words(key.key) in text
        assert f"`{key.id}`" in documented
        assert [binding.action for binding in bindings(key.scope) if binding.id == key.id] == [key.action]


def test_help_tells_the_keys_that_are_in_force() -> None:
    assert "ctrl+x" in help_text(["jobs"], {"jobs.cancel": "ctrl+x"}).plain
    assert help_text(["jobs"], {}).plain.index("Jobs (here)") < help_text(["jobs"], {}).plain.index("Everywhere")


def test_every_key_is_in_the_palette_and_every_shown_binding_is_a_key() -> None:
    async def scene() -> None:
        app = NegtuiApp(client().connect)
        async with app.run_test(size=(120, 40)) as pilot:
            for number, name in enumerate(SCREENS, start=1):
                await pilot.press("escape", str(number))
                await pilot.pause()
                screen = app.screen_in_front
                assert screen is not None
                assert name == screen.SCOPE
                assert sorted(key.id for key in Actions(screen).actions()) == sorted(by_id())
                named = {active.binding.id for active in _own_bindings(screen)}
                assert named <= set(by_id())
                for key in KEYS[name]:
                    assert _does(screen, key.action), f"{key.id}: {name} has no action {key.action}"
            for key in KEYS["app"]:
                assert _does(app, key.action), f"{key.id}: the app has no action {key.action}"

    asyncio.run(scene())


def _own_bindings(screen: NegtuiScreen) -> list[object]:
    """What the screen itself binds; widgets such as inputs bring their own for editing."""
    return [active for active in screen.active_bindings.values() if isinstance(active.node, (NegtuiScreen, NegtuiApp))]


def _does(node: Screen[object] | NegtuiApp | Widget, action: str) -> bool:
    namespace, _, name = action.partition("(")[0].rpartition(".")
    target = node.app if namespace == "app" else node
    return hasattr(target, f"action_{name}") or hasattr(target, f"_action_{name}")


def test_the_words_of_the_palette_tell_screens_apart() -> None:
    words = [action_words(key) for key in ALL_KEYS]
    assert len(set(words)) == len(words)


def test_keys_as_people_write_them() -> None:
    assert key_words("pageup,ctrl+u") == "PgUp, ctrl+u"
    assert key_words("question_mark,f1") == "?, f1"
    assert isinstance(bindings("app")[0], Binding)
