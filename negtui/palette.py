"""The palette (`ctrl+p`, `:`): every action of the table of keys by its words. Those of other screens go there first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen
from textual.widget import Widget

from negtui.keys import KEYS, SCREENS, TITLES, Key, key_words

if TYPE_CHECKING:
    from negtui.app import NegtuiApp

MOVES = frozenset({"up", "down", "page_up", "page_down", "top", "bottom", "left", "right"})
"""Found when they are looked for, but not among the first suggestions."""


class Actions(Provider):
    """What can be done: on this screen, everywhere, on other screens, in widgets with keys of their own."""

    async def discover(self) -> Hits:
        for key in self.actions():
            if key.action not in MOVES:
                yield DiscoveryHit(action_words(key), partial(self.run, key), help=self._key_words(key))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self.actions():
            score = matcher.match(action_words(key))
            if score > 0:
                yield Hit(
                    score, matcher.highlight(action_words(key)), partial(self.run, key), text=action_words(key), help=self._key_words(key)
                )

    def actions(self) -> Iterator[Key]:
        """Every key's action, those of the screen in front first."""
        front = self._negtui.screen_in_front
        here = front.SCOPE if front is not None else "app"
        for scope in dict.fromkeys((here, "app", *KEYS)):
            yield from KEYS[scope]

    async def run(self, key: Key) -> None:
        """Do what the key does, wherever that is done."""
        app = self._negtui
        if key.scope in SCREENS and (app.screen_in_front is None or key.scope != app.screen_in_front.SCOPE):
            await app.switch_screen(key.scope)
        front = app.screen_in_front
        is_of_front = front is not None and key.scope == front.SCOPE
        target = app if key.scope == "app" else front if is_of_front else widget_of(app.screen, key)
        if target is None:
            app.say(f"There is nothing to do this to here ({TITLES[key.scope].lower()}).", "warning")
        else:
            await app.run_action(key.action, default_namespace=target)

    @property
    def _negtui(self) -> NegtuiApp:
        return cast("NegtuiApp", self.app)

    def _key_words(self, key: Key) -> str:
        return f"key {key_words(self._negtui.keys_changed.get(key.id, key.key))}"


def action_words(key: Key) -> str:
    """`Jobs: cancel the job`"""
    return key.words if key.scope == "app" else f"{TITLES[key.scope]}: {key.words}"


def widget_of(screen: Screen[object], key: Key) -> Widget | None:
    """The widget of a screen that has this key: the focused one, or the first that is shown."""
    focused = [screen.focused] if screen.focused is not None else []
    return next((widget for widget in (*focused, *screen.query(Widget)) if widget.display and _has(widget, key)), None)


def _has(widget: Widget, key: Key) -> bool:
    made = (one for kind in type(widget).__mro__ for one in vars(kind).get("BINDINGS", ()))
    return any(isinstance(one, Binding) and one.id == key.id for one in made)
