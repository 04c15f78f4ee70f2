"""Every key and what it does, from the table of keys as the keymap changed it; those that work here come first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from rich.text import Text

from negtui.keys import KEYS, SCREENS, TITLES, key_words
from negtui.screens.reading import ReadingScreen

if TYPE_CHECKING:
    from negtui.app import NegtuiApp

CLOSING = (
    "Leaving never stops the daemon or a job. Keys are changed in the configuration file: [keys], by the ids of docs/keys.md;"
    " negtui config path prints where it is."
)


class HelpScreen(ReadingScreen):
    """Over the screen whose keys it tells first."""

    def on_screen_resume(self) -> None:
        app = cast("NegtuiApp", self.app)
        front = app.screen_in_front
        here = [front.SCOPE] if front is not None else []
        if front is not None:
            here += sorted({(active.binding.id or "").partition(".")[0] for active in front.active_bindings.values()} - {"app", "", *here})
        self.tell(help_text(here, app.keys_changed))


def help_text(here: Iterable[str], changed: Mapping[str, str]) -> Text:
    """All keys: of the scopes in `here`, everywhere, of the other screens, of the widgets."""
    here = [scope for scope in here if scope in KEYS]
    order = dict.fromkeys([*here, "app", *SCREENS, *KEYS])
    text = Text()
    for scope in order:
        if KEYS[scope]:
            text.append(f"{TITLES[scope]}{' (here)' if scope in here else ''}\n", style="bold underline")
        for key in KEYS[scope]:
            text.append(f"  {key_words(changed.get(key.id, key.key)):<22} ", style="bold")
            text.append(f"{key.words}\n")
        if KEYS[scope]:
            text.append("\n")
    text.append(CLOSING)
    return text
