"""Every key of the dashboard: the one table from which come bindings, footer, help, palette, documentation and the keymap.

A scope is a screen (`jobs`), a widget with keys of its own (`log`), or `app`. Free of Textual until bindings are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.binding import Binding

SCREENS = ("sessions", "dataset", "train", "compare", "jobs", "gpu")
"""In the order of their number keys."""


@dataclass(frozen=True)
class Key:
    """One binding. `key` may name several, separated by commas; `action` is Textual's, e.g. `cancel_job` or `app.quit`."""

    id: str
    """Stable: what the keymap of the configuration file names. Begins with the scope."""
    key: str
    action: str
    words: str
    """What it does, as help and the palette tell it."""
    footer: str = ""
    """The short form in the footer; empty: not there."""
    changes: bool = False
    """Whether it changes something of the daemon: refused by `--read-only`, and not in the footer there."""
    priority: bool = False

    @property
    def scope(self) -> str:
        return self.id.partition(".")[0]


def moves(scope: str) -> tuple[Key, ...]:
    """How to move in a list, the same everywhere."""
    return (
        Key(f"{scope}.up", "up,k", "up", "up"),
        Key(f"{scope}.down", "down,j", "down", "down"),
        Key(f"{scope}.page_up", "pageup,ctrl+u", "page_up", "a page up"),
        Key(f"{scope}.page_down", "pagedown,ctrl+d", "page_down", "a page down"),
        Key(f"{scope}.top", "g,home", "top", "to the first (g g is the same)"),
        Key(f"{scope}.bottom", "G,end", "bottom", "to the last; a log is then followed"),
    )


APP = (
    *(
        Key(f"app.{name}", str(number), f"app.go('{name}')", f"the {'GPU' if name == 'gpu' else name} screen")
        for number, name in enumerate(SCREENS, start=1)
    ),
    Key("app.help", "question_mark,f1", "app.help", "every key, those of this screen first", footer="help"),
    Key("app.palette", "ctrl+p,colon", "app.command_palette", "every action, by name"),
    Key("app.quit", "q", "app.quit", "leave; the daemon and its jobs go on", footer="quit, jobs go on"),
    Key("app.quit_anywhere", "ctrl+q,ctrl+c", "app.quit", "leave, also while typing; the daemon and its jobs go on", priority=True),
    Key("app.back", "escape", "app.back", "one level back; clears a filter; never leaves"),
    Key("app.next_pane", "tab", "app.focus_next", "the next pane"),
    Key("app.previous_pane", "shift+tab", "app.focus_previous", "the previous pane"),
    Key("app.images", "i", "app.next_images", "pictures: auto, kitty, sixel, half, off"),
    Key("app.redraw", "ctrl+l", "app.redraw", "draw everything anew and send the pictures again"),
    Key("app.command", "exclamation_mark", "app.command", "any command of negtui, in front of the dashboard", changes=True),
    Key("app.suspend", "ctrl+z", "app.suspend_process", "to the shell; fg comes back, and all goes on meanwhile"),
    Key("app.theme", "f2", "app.change_theme", "choose another theme"),
    Key("app.start_daemon", "f5", "app.start_daemon", "start the daemon where none runs", changes=True),
    Key("app.stop_daemon", "f8", "app.stop_daemon", "stop the daemon, after a question; its jobs go on at the next start", changes=True),
)

# Each screen's keys are its own tuple, edited by who writes the screen. Ids never change once shipped.
SESSIONS: tuple[Key, ...] = (
    Key("sessions.choose", "enter", "choose", "work on the session under the cursor", footer="choose"),
    Key("sessions.run", "r", "run_all", "run its three acts: synthesise, train, compare", footer="run all", changes=True),
    Key("sessions.run_full", "R", "run_full", "run its three acts, comparing on every prompt", changes=True),
    Key("sessions.new", "n", "new", "a new session from a template", footer="new", changes=True),
    Key("sessions.edit", "e", "edit", "edit its session.toml in $EDITOR", footer="edit", changes=True),
    Key("sessions.set", "s", "set", "change any of its settings, as section.field=value", footer="set", changes=True),
    Key("sessions.check", "v", "check", "check its session.toml, its model and the room there is"),
    Key("sessions.duplicate", "c", "duplicate", "a copy of its session.toml and prompts under another name", footer="copy", changes=True),
    Key("sessions.delete", "D", "delete", "delete the session and all its files; its name must be typed", footer="delete", changes=True),
    Key("sessions.merge", "m", "merge", "make one adapter of several of the session", changes=True),
    Key("sessions.export", "x", "export", "pack it into a file on this machine, for another host"),
    Key("sessions.import", "X", "take", "take a packed session, verified file by file", changes=True),
    Key("sessions.filter", "slash", "filter", "show only the sessions with these words", footer="filter"),
    Key("sessions.copy", "y", "copy_path", "copy the path of its folder"),
)
DATASET: tuple[Key, ...] = (
    Key("dataset.keep", "a", "mark('keep')", "keep the picture, or those selected", footer="keep", changes=True),
    Key("dataset.reject", "x", "mark('reject')", "reject the picture, or those selected", footer="reject", changes=True),
    Key("dataset.undecide", "c", "mark('undecided')", "take the decision back: undecided", changes=True),
    Key("dataset.tag", "t", "tag", "put tags on the picture, or on those selected; -word takes one off", footer="tag", changes=True),
    Key("dataset.undo", "u", "undo", "undo the last mark", footer="undo", changes=True),
    Key("dataset.redo", "U", "redo", "do the undone mark again", changes=True),
    Key("dataset.select", "space", "select", "select the picture: marks then apply to all selected"),
    Key("dataset.select_all", "asterisk", "select_all", "select every picture shown"),
    Key("dataset.previous", "left,h", "move(-1)", "the picture before"),
    Key("dataset.next", "right,l", "move(1)", "the next picture"),
    Key("dataset.open", "enter,f", "open", "the picture full screen", footer="full"),
    Key("dataset.keyword", "w", "next_filter('keyword')", "only one keyword: the next one", footer="keyword"),
    Key("dataset.guidance", "v", "next_filter('guidance_scale')", "only one guidance scale: the next one"),
    Key("dataset.status", "m", "next_filter('status')", "only one status: undecided, keep, reject, all"),
    Key("dataset.tagged", "number_sign", "next_filter('tag')", "only one tag: the next one"),
    Key("dataset.score", "s", "next_filter('score')", "only one third by score: the least bad, the middle, the worst"),
    Key("dataset.class_images", "C", "class_images", "the session's class images (prior preservation) instead of its dataset, and back"),
    Key("dataset.filter", "slash", "filter", "only pictures with these words in prompt, keyword or tags"),
    Key("dataset.order", "o", "order", "as painted, not bad enough first (where pictures bear a score), newest first"),
    Key("dataset.duplicates", "d", "duplicates", "near-duplicates side by side; again: the next group", footer="duplicates"),
    Key("dataset.balance", "b", "balance", "how many of each keyword are kept and rejected"),
    Key("dataset.plan", "e", "plan", "plan the synthesis: keywords, weights, guidance, seeds", footer="plan"),
    Key("dataset.start", "r", "start", "start the synthesis", footer="start", changes=True),
    Key("dataset.copy", "y", "copy", "copy the picture's prompt with its seed"),
)
TRAIN: tuple[Key, ...] = (
    Key("train.start", "r", "start", "start the training, or let it go on", footer="start", changes=True),
    Key("train.resume", "R", "resume", "let the run that is shown go on with its own options", changes=True),
    Key("train.pause", "p", "pause", "pause the training at its next step", footer="pause", changes=True),
    Key("train.stop", "K", "stop_and_keep", "end the training now and keep the adapter as it is", footer="stop, keep", changes=True),
    Key("train.sample", "m", "sample", "paint sample pictures now", footer="sample", changes=True),
    Key("train.checkpoint", "c", "checkpoint", "write a checkpoint now", footer="checkpoint", changes=True),
    Key("train.learning_rate", "t", "learning_rate", "another learning rate from the next step on", changes=True),
    Key("train.cancel", "X", "cancel", "cancel the training; its checkpoints stay", changes=True),
    Key("train.older_run", "left_square_bracket", "other_run(-1)", "the run before"),
    Key("train.newer_run", "right_square_bracket", "other_run(1)", "the run after"),
    Key("train.overlay", "v", "overlay", "lay older runs of the session under the curves: none, one, three", footer="overlay"),
    Key("train.link", "L", "link", "samples follow the cursor of the charts, and all their tiles one step"),
    Key("train.next_pane", "tab", "pane(1)", "the next pane: options, curves, samples, log"),
    Key("train.previous_pane", "shift+tab", "pane(-1)", "the pane before"),
)
COMPARE: tuple[Key, ...] = (
    Key("compare.open", "enter,f", "open", "the block full screen, its arms side by side", footer="open"),
    Key("compare.flick", "space", "flick", "the next arm in the same place", footer="flick"),
    Key("compare.side", "v", "side", "arms side by side, or one in place"),
    Key("compare.difference", "d", "difference", "the difference to the pinned arm", footer="difference"),
    Key("compare.pin", "p", "pin", "pin the arm as the reference of differences"),
    Key("compare.zoom", "z", "zoom(1)", "zoom to pixels: closer", footer="zoom"),
    Key("compare.zoom_out", "Z", "zoom(-1)", "zoom to pixels: back"),
    Key("compare.left", "left,h", "move(-1, 0)", "the arm to the left; zoomed: look left"),
    Key("compare.right", "right,l", "move(1, 0)", "the arm to the right; zoomed: look right"),
    Key("compare.up", "up,k", "move(0, -1)", "the block above; zoomed: look up"),
    Key("compare.down", "down,j", "move(0, 1)", "the block below; zoomed: look down"),
    Key("compare.page_up", "pageup,ctrl+u", "page(-1)", "a page of blocks up"),
    Key("compare.page_down", "pagedown,ctrl+d", "page(1)", "a page of blocks down"),
    Key("compare.first", "home,g", "end(-1)", "the first block"),
    Key("compare.last", "end,G", "end(1)", "the last block"),
    Key("compare.next", "right_square_bracket", "other(1)", "the next comparison of the session"),
    Key("compare.previous", "left_square_bracket", "other(-1)", "the comparison before"),
    Key("compare.effects", "e", "effects", "the claims, the metrics and their intervals, the guidance", footer="metrics"),
    Key("compare.figures_down", "J", "figures(1)", "the metrics further down"),
    Key("compare.figures_up", "K", "figures(-1)", "the metrics further up"),
    Key("compare.filter", "slash", "filter", "only blocks with these words in their prompt"),
    Key("compare.copy", "y", "copy", "copy the picture's prompt, negative prompt, seed and arm"),
    Key("compare.report", "o", "report", "say and copy where report and contact sheet lie", footer="report"),
    Key("compare.save", "O", "save", "save report, contact sheets and tables into a folder on this machine", footer="save"),
    Key("compare.sweeps", "w", "sweeps", "the tables of the session's sweeps"),
    Key("compare.vote", "V", "vote", "blind votes: which picture is better?", footer="vote"),
    Key("compare.start", "r", "start(False)", "start the comparison", footer="start", changes=True),
    Key("compare.start_full", "R", "start(True)", "start the comparison on every prompt", changes=True),
)
VOTE: tuple[Key, ...] = (
    Key("vote.left", "left,h", "choose('left')", "the picture on the left is better", changes=True),
    Key("vote.middle", "down,j", "choose('middle')", "of three: the one in the middle", changes=True),
    Key("vote.right", "right,l", "choose('right')", "the picture on the right is better", changes=True),
    Key("vote.first", "1", "choose('1')", "the first picture from the left is better", footer="first", changes=True),
    Key("vote.second", "2", "choose('2')", "the second picture from the left is better", footer="second", changes=True),
    Key("vote.third", "3", "choose('3')", "the third picture from the left is better", changes=True),
    Key("vote.tie", "t,equals_sign", "vote('tie')", "none is better than the other", footer="tie", changes=True),
    Key("vote.both_bad", "b", "vote('both_bad')", "all are bad", footer="both bad", changes=True),
    Key("vote.skip", "s", "vote('skip')", "no opinion; counts as nothing", footer="skip", changes=True),
    Key("vote.undo", "u,backspace", "undo", "take the last answer back", footer="undo", changes=True),
    Key("vote.zoom", "z", "zoom(1)", "zoom to pixels, all pictures together: closer"),
    Key("vote.zoom_out", "Z", "zoom(-1)", "zoom to pixels, all pictures together: back"),
    Key("vote.look_left", "H", "look(-1, 0)", "zoomed: look left"),
    Key("vote.look_down", "J", "look(0, 1)", "zoomed: look down"),
    Key("vote.look_up", "K", "look(0, -1)", "zoomed: look up"),
    Key("vote.look_right", "L", "look(1, 0)", "zoomed: look right"),
    Key("vote.close", "c", "close", "close the round: its votes count, names are told", footer="close", changes=True),
    Key("vote.new", "n", "new", "a new round of votes", footer="new round", changes=True),
    Key("vote.page_up", "pageup,ctrl+u", "scroll(-10)", "the results: up"),
    Key("vote.page_down", "pagedown,ctrl+d", "scroll(10)", "the results: down"),
)
JOBS: tuple[Key, ...] = (
    *moves("jobs"),
    Key("jobs.mark", "space", "mark", "mark the job; what is done then is done to all marked ones"),
    Key("jobs.pause", "p", "pause", "stop the job at its next step, to go on later", "pause", changes=True),
    Key("jobs.resume", "r", "resume", "let it go on: paused, blocked; or try again: failed, cancelled", "resume or retry", changes=True),
    Key("jobs.cancel", "X", "cancel", "cancel the job, after a question; what it has made stays", "cancel", changes=True),
    Key("jobs.earlier", "K,shift+up", "earlier", "before the one above it in the queue", "earlier", changes=True),
    Key("jobs.later", "J,shift+down", "later", "behind the one below it in the queue", "later", changes=True),
    Key("jobs.raise", "plus", "priority(1)", "a higher priority", changes=True),
    Key("jobs.lower", "minus", "priority(-1)", "a lower priority", changes=True),
    Key("jobs.log", "enter,f", "log", "its log over the whole screen, and back", "log"),
    Key("jobs.filter", "slash", "filter", "show only what holds these letters", "filter"),
    Key("jobs.open", "o", "only_open", "only jobs that are not over, or all"),
    Key("jobs.copy", "y", "copy", "copy the job's id"),
)
GPU: tuple[Key, ...] = (
    Key("gpu.load", "o", "load", "load the chosen session's model into the idle workers", "load", changes=True),
    Key("gpu.unload", "U", "unload", "have the idle workers give their memory back, after a question", "unload", changes=True),
)

# Widgets with keys of their own.
GRID: tuple[Key, ...] = (
    Key("grid.left", "left,h", "move(-1)", "the picture before"),
    Key("grid.right", "right,l", "move(1)", "the picture after"),
    Key("grid.up", "up,k", "row(-1)", "a row up"),
    Key("grid.down", "down,j", "row(1)", "a row down"),
    Key("grid.page_up", "pageup,ctrl+u", "page(-1)", "the page before"),
    Key("grid.page_down", "pagedown,ctrl+d", "page(1)", "the page after"),
    Key("grid.top", "g,home", "top", "to the first picture"),
    Key("grid.bottom", "G,end", "bottom", "to the last picture"),
    Key("grid.choose", "enter,f", "choose", "open the picture", footer="open"),
)
CHART: tuple[Key, ...] = (
    Key("chart.left", "left,h", "move(-1)", "the cursor one column to the left"),
    Key("chart.right", "right,l", "move(1)", "the cursor one column to the right"),
    Key("chart.far_left", "ctrl+u,pageup", "move(-10)", "the cursor ten columns to the left"),
    Key("chart.far_right", "ctrl+d,pagedown", "move(10)", "the cursor ten columns to the right"),
    Key("chart.first", "home,g", "end(-1)", "the cursor to the first step"),
    Key("chart.last", "end,G", "end(1)", "the cursor to the newest step"),
    Key("chart.up", "up,k", "choose(-1)", "the chart before"),
    Key("chart.down", "down,j", "choose(1)", "the next chart"),
    Key("chart.closer", "plus,equals_sign", "zoom(1)", "zoom in around the cursor", footer="zoom"),
    Key("chart.farther", "minus", "zoom(-1)", "zoom out"),
    Key("chart.whole", "0", "zoom(0)", "all steps"),
    Key("chart.log", "o", "log", "the chosen chart logarithmic, or not", footer="log"),
    Key("chart.smooth", "s", "smooth", "the chosen chart smoother: 0, 0.6, 0.9, 0.99", footer="smooth"),
    Key("chart.full", "enter,f", "full", "the chosen chart alone", footer="full"),
)
FORM: tuple[Key, ...] = (
    Key("form.up", "up,k", "move(-1)", "the option above"),
    Key("form.down", "down,j", "move(1)", "the option below"),
    Key("form.page_up", "pageup,ctrl+u", "move(-10)", "ten options up"),
    Key("form.page_down", "pagedown,ctrl+d", "move(10)", "ten options down"),
    Key("form.first", "home,g", "end(-1)", "the first option"),
    Key("form.last", "end,G", "end(1)", "the last option"),
    Key("form.edit", "enter", "edit", "write another value; switches and choices go on to the next", footer="edit", changes=True),
    Key("form.next", "right,l,space", "turn(1)", "a switch or choice: the next value", changes=True),
    Key("form.previous", "left,h", "turn(-1)", "a switch or choice: the value before", changes=True),
    Key("form.default", "d,backspace", "default", "back to the default", footer="default", changes=True),
    Key("form.undo", "u", "undo", "undo the last change", footer="undo", changes=True),
    Key("form.filter", "slash", "filter", "only options with these words", footer="find"),
    Key("form.changed", "n", "next_changed", "the next option that is not at its default"),
)
SAMPLES: tuple[Key, ...] = (
    Key("samples.left", "left,h", "step(-1)", "the samples of the step before"),
    Key("samples.right", "right,l", "step(1)", "the samples of the next step"),
    Key("samples.first", "home,g", "end(-1)", "the first samples"),
    Key("samples.last", "end,G", "end(1)", "the newest samples; new ones are then shown as they come"),
    Key("samples.up", "up,k", "choose(-1)", "the tile before"),
    Key("samples.down", "down,j", "choose(1)", "the next tile"),
    Key("samples.open", "enter,f", "full", "the tile alone", footer="full"),
    Key("samples.copy", "y", "copy", "copy the tile's prompt with its seed"),
)
FIELDS: tuple[Key, ...] = (
    Key("fields.close", "escape", "close", "close without doing it", footer="close"),
    Key("fields.up", "up", "step(-1)", "the line above"),
    Key("fields.down", "down", "step(1)", "the line below"),
)
PLAN: tuple[Key, ...] = (
    Key("plan.start", "ctrl+s", "start", "save the plan and start the synthesis", footer="start", changes=True),
    Key("plan.close", "escape", "close", "back to the pictures; what is not saved is forgotten", footer="back"),
    Key("plan.up", "up", "step(-1)", "the line above"),
    Key("plan.down", "down", "step(1)", "the line below"),
)
TABLE: tuple[Key, ...] = (
    Key("table.down", "down,j", "cursor_down", "one row down"),
    Key("table.up", "up,k", "cursor_up", "one row up"),
    Key("table.first", "g,home", "scroll_top", "the first row"),
    Key("table.last", "G,end", "scroll_bottom", "the last row"),
    Key("table.page_up", "pageup,ctrl+u", "page_up", "a page up"),
    Key("table.page_down", "pagedown,ctrl+d", "page_down", "a page down"),
)
LOG: tuple[Key, ...] = (
    *moves("log"),
    Key("log.filter", "slash", "filter", "show only lines that hold these letters", "filter"),
    Key("log.next", "n", "found(1)", "the next line that is a warning or an error", "next warning"),
    Key("log.previous", "N", "found(-1)", "the warning or error before"),
    Key("log.level", "w", "level", "all lines, warnings and errors, errors only"),
    Key("log.full", "enter,f", "full", "over the whole screen, and back", "full"),
)
CONFIRM: tuple[Key, ...] = ()
HELP: tuple[Key, ...] = (
    Key("help.close", "escape,q,question_mark,f1", "close", "back to the screen; so too from the tables of sweeps", "back"),
    *moves("help"),
)

KEYS: dict[str, tuple[Key, ...]] = {
    "app": APP,
    "sessions": SESSIONS,
    "dataset": DATASET,
    "train": TRAIN,
    "compare": COMPARE,
    "vote": VOTE,
    "jobs": JOBS,
    "gpu": GPU,
    "grid": GRID,
    "chart": CHART,
    "form": FORM,
    "samples": SAMPLES,
    "fields": FIELDS,
    "plan": PLAN,
    "table": TABLE,
    "log": LOG,
    "confirm": CONFIRM,
    "help": HELP,
}
TITLES = {
    "app": "Everywhere",
    "sessions": "Sessions",
    "dataset": "Dataset",
    "train": "Train",
    "compare": "Compare",
    "vote": "Vote",
    "jobs": "Jobs",
    "gpu": "GPU",
    "grid": "Picture grid",
    "chart": "Charts",
    "form": "Forms",
    "samples": "Samples",
    "fields": "Lines to fill in",
    "plan": "Plan of a synthesis",
    "table": "Tables",
    "log": "Log",
    "confirm": "Questions",
    "help": "Help",
}


def bindings(scope: str) -> list[Binding]:
    """Textual's bindings of one scope, for `BINDINGS` of its screen or widget."""
    from textual.binding import Binding

    return [
        Binding(key.key, key.action, key.footer or key.words, id=key.id, show=bool(key.footer), priority=key.priority, tooltip=key.words)
        for key in KEYS[scope]
    ]


def by_id() -> dict[str, Key]:
    """All keys by their ids."""
    return {key.id: key for keys in KEYS.values() for key in keys}


_SHOWN = {
    "question_mark": "?", "slash": "/", "colon": ":", "plus": "+", "minus": "-", "space": "space", "escape": "esc", "pageup": "PgUp",
    "pagedown": "PgDn", "home": "Home", "end": "End", "up": "Up", "down": "Down", "left": "Left", "right": "Right", "comma": ",",
    "full_stop": ".", "left_square_bracket": "[", "right_square_bracket": "]", "less_than_sign": "<", "greater_than_sign": ">",
    "equals_sign": "=", "asterisk": "*", "underscore": "_", "vertical_line": "|", "number_sign": "#", "dollar_sign": "$",
    "percent_sign": "%", "ampersand": "&", "at": "@", "exclamation_mark": "!", "semicolon": ";", "apostrophe": "'", "tilde": "~",
    "circumflex_accent": "^", "grave_accent": "`", "backslash": "\\", "quotation_mark": '"',
    "left_parenthesis": "(", "right_parenthesis": ")", "left_curly_bracket": "{", "right_curly_bracket": "}",
}  # fmt: skip


def key_words(keys: str) -> str:
    """`pageup,ctrl+u` as a person writes it: `PgUp, ctrl+u`."""
    return ", ".join("+".join(_SHOWN.get(part, part) for part in key.strip().split("+")) for key in keys.split(",") if key.strip())


def markdown() -> str:
    """`docs/keys.md`: every key, its id and what it does."""
    lines = [
        "# Keys",
        "",
        "Made from `negtui/keys.py` by `python -m negtui.keys > docs/keys.md`. The same table makes the bindings, the footer, the help",
        "(`?`) and the palette (`ctrl+p`). Another key for an id is set in the configuration file (`negtui config path`):",
        "",
        "```toml",
        "[keys]",
        '"jobs.cancel" = "ctrl+x"',
        "```",
        "",
        "Several keys for one id are separated by commas. `negtui config validate` finds unknown ids and keys taken twice.",
    ]
    for scope, keys in KEYS.items():
        if keys:
            lines += ["", f"## {TITLES[scope]}", "", "| key | id | |", "|---|---|---|"]
            lines += [f"| {_cell(key_words(key.key))} | `{key.id}` | {_cell(key.words)} |" for key in keys]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(markdown(), end="")
