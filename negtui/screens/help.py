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
OTHER = " (here it does something else)"


class HelpScreen(ReadingScreen):
    """Over the screen whose keys it tells first."""

    def on_screen_resume(self) -> None:
        app = cast("NegtuiApp", self.app)
        front = app.screen_in_front
        here = [front.SCOPE] if front is not None else []
        taken: dict[str, str] = {}
        if front is not None:
            taken = {key: active.binding.id for key, active in front.active_bindings.items() if active.binding.id and active.enabled}
            here += sorted({id.partition(".")[0] for id in taken.values()} - {"app", *here})
        self.tell(help_text(here, app.keys_changed, taken))


def help_text(here: Iterable[str], changed: Mapping[str, str], taken: Mapping[str, str] | None = None) -> Text:
    """All keys: of the scopes in `here`, everywhere, of the other screens, of the widgets. `taken`: whose id a key works for here."""
    here = [scope for scope in here if scope in KEYS]
    order = dict.fromkeys([*here, "app", *SCREENS, *KEYS])
    text = Text()
    for scope in order:
        if KEYS[scope]:
            text.append(f"{TITLES[scope]}{' (here)' if scope in here else ''}\n", style="bold underline")
        for key in KEYS[scope]:
            keys = changed.get(key.id, key.key)
            is_other = scope == "app" and any((taken or {}).get(one, key.id) != key.id for one in keys.split(","))
            text.append(f"  {key_words(keys):<22} ", style="bold")
            text.append(f"{key.words}{OTHER if is_other else ''}\n")
        if KEYS[scope]:
            text.append("\n")
    text.append(CLOSING)
    return text
