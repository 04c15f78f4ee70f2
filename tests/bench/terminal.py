"""What the terminal costs, beside its budgets and beside textual-image and textual-plotext: `python tests/bench/terminal.py`.

Bytes are exact. Times and shares of a processor are of this machine as busy as it is, and only printed. The others are measured
where `--others PYTHON` (else this Python) can import them; `--only WORD` measures the rows that have the word in their name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.metered_terminal import MeteredTerminal
from tests.bench.terminal_pictures import picture_rows
from tests.own_sshd import BESIDE, SSHD, Sshd, serving
from tests.sample_pictures import busy, typical
from tests.scripted_terminal import KITTY_TERMINAL, ScriptedTerminal, left_over
from tests.slow_link import SlowLink

REPOSITORY = Path(__file__).resolve().parents[2]
STAGE = Path(__file__).with_name("terminal_stage.py")
OTHERS = Path(__file__).with_name("terminal_rivals.py")
LINE = 250_000
"""Bytes a second of a line of 2 Mbit/s."""
SSH_ROUND_TRIP = 0.15
ROUND_TRIPS = (0.0, 0.05, 0.15, 0.3)
CHARTS_SIZE = {"columns": 200, "rows": 60}


@dataclass
class Figure:
    """A row of the table. `most`: the budget, as a number in the unit of `value`; a value above it is a miss."""

    what: str
    value: float | None
    most: float | None
    unit: str
    other: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "" if self.most is None else "met" if self.value <= self.most else "MISSED"


class Others:
    """textual-image and textual-plotext, by the Python that has them; every answer is `not installed` where none has."""

    def __init__(self, python: str) -> None:
        known = subprocess.run(
            [python, "-c", "import textual_image, textual_plotext"], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        self.python = python if known.returncode == 0 else ""
        self.bytes: dict[str, int] = {}
        self.milliseconds: list[float] = []

    def terminal(self, mode: str, *arguments: str, **given: object) -> MeteredTerminal:
        return MeteredTerminal([self.python, str(OTHERS), mode, *arguments], environment(), **given)  # type: ignore[arg-type]

    def said(self, name: str) -> str:
        if not self.python:
            return "not installed"
        return f"{self.bytes[name]:,} B" if name in self.bytes else ""

    def measure_pictures(self) -> None:
        """Bytes of the same acts on the same pictures, then keys while one goes out."""
        with tempfile.TemporaryDirectory() as folder:
            busy().save(Path(folder) / "a.png")
            typical().save(Path(folder) / "d.png")
            with closing(self.terminal("picture", folder, columns=80, rows=41)) as terminal:
                terminal.wait_for(b"line")
                terminal.wait_until_still(0.7)
                acts = (("first a", "a"), ("first d", "d"), ("return", "a"), ("again", "r"), ("confirm", "mm"), ("scroll", "s"))
                for name, keys in acts:
                    terminal.mark()
                    for key in keys:
                        terminal.act(key)
                    self.bytes[name] = terminal.num_bytes
            with closing(self.terminal("picture", folder, columns=80, rows=41)) as terminal:
                terminal.wait_for(b"line")
                terminal.wait_until_still(0.7)
                terminal.rate = LINE
                for key in "ada":
                    terminal.press(key)
                    time.sleep(0.3)
                    self.milliseconds.append(1000 * terminal.paint_seconds("c"))
                    terminal.wait_until_still(1.5)


def environment(**more: str) -> dict[str, str]:
    """A shell's on the far side of ssh."""
    kept = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "OMP_NUM_THREADS")
    }
    return kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "SSH_CONNECTION": "a 1 b 22", "TEXTUAL_ANIMATIONS": "none", **more}


def stage(mode: str, **given: object) -> MeteredTerminal:
    return MeteredTerminal([sys.executable, str(STAGE), mode], environment(), **given)  # type: ignore[arg-type]


def picture_figures(others: Others) -> Iterator[Figure]:
    if others.python:
        others.measure_pictures()
    rows = {(row.backend, row.what): row.num_bytes for row in asyncio.run(picture_rows())}

    def figure(what: str, backend: str, name: str, most: float | None, other: str = "") -> Figure:
        return Figure(what, rows[backend, name], most, "B", others.said(other))  # type: ignore[index]

    yield figure("paint a shown kitty picture again", "kitty", "again", 16_000, "again")
    yield figure("return to a kitty picture shown before", "kitty", "return", 16_000, "return")
    yield figure("first send of one 60x30 picture over SSH, busy (a)", "kitty", "first a", 360_000, "first a")
    yield figure("first send of one 60x30 picture over SSH, typical (d)", "kitty", "first d", 150_000, "first d")
    yield figure("2x3 grid of 20x10 thumbnails, first paint", "kitty", "grid", 120_000)
    yield figure("scroll by 20 rows with a picture on screen, kitty", "kitty", "scroll", 25_000, "scroll")
    yield figure("scroll by 20 rows with a picture on screen, half-blocks", "half", "scroll", 80_000)
    yield figure("a question over a picture, asked and answered", "kitty", "confirm", 3_000, "confirm")
    yield figure("first send of one 60x30 picture as sixel over SSH, busy (a)", "sixel", "first a", None)
    yield figure("first send of one 60x30 picture as half-blocks, busy (a)", "half", "first a", None)


def idle_figures(others: Others) -> Iterator[Figure]:
    with closing(stage("idle")) as terminal:
        _come_to_rest(terminal)
        terminal.mark()
        time.sleep(10.0)
        yield Figure("idle", terminal.num_bytes / 10, 0, "B/s")
        used = terminal.cpu_seconds()
        taken = _seconds_at_rest(terminal)
        used = terminal.cpu_seconds() - used
    yield Figure("key to paint, idle, 95th percentile", 1000 * percentile(taken), 35, "ms")
    yield Figure("the same: median", 1000 * statistics.median(taken), None, "ms")
    yield Figure("the same: processor time a key", 1000 * used / len(taken), None, "ms")


def busy_figures(others: Others) -> Iterator[Figure]:
    with closing(stage("pictures", columns=80, rows=41)) as terminal:
        _open_a_picture(terminal)
        terminal.rate = LINE
        taken = _seconds_among_pictures(terminal)
    other = f"{max(others.milliseconds):.0f} ms" if others.milliseconds else others.said("")
    yield Figure("key to paint while a picture goes out at 2 Mbit/s, 95th percentile", 1000 * percentile(taken), 400, "ms", other)


def ssh_figures(others: Others) -> Iterator[Figure]:
    """A real sshd behind a line of 2 Mbit/s and 150 ms there and back."""
    if SSHD is None:
        yield Figure("key to paint through sshd (openssh-server is not installed)", None, None, "ms")
        return
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        link = SlowLink(server.port, bits_per_second=8 * LINE, round_trip_seconds=SSH_ROUND_TRIP)
        with link.open() as port:
            with closing(_through_ssh(server, port, "idle")) as terminal:
                _come_to_rest(terminal)
                at_rest = _seconds_at_rest(terminal, 2 * SSH_ROUND_TRIP)
            with closing(_through_ssh(server, port, "pictures", columns=80, rows=41)) as terminal:
                _open_a_picture(terminal)
                among = _seconds_among_pictures(terminal, 2 * SSH_ROUND_TRIP)
    line = "through sshd, 2 Mbit/s and 150 ms"
    yield Figure(f"key to paint {line}, idle, 95th percentile", 1000 * percentile(at_rest), None, "ms")
    yield Figure("the same: median", 1000 * statistics.median(at_rest), None, "ms")
    yield Figure(f"key to paint {line}, while a picture goes out, 95th percentile", 1000 * percentile(among), None, "ms")
    yield Figure("the same: median", 1000 * statistics.median(among), None, "ms")


def _through_ssh(server: Sshd, port: int, mode: str, **given: object) -> MeteredTerminal:
    own = environment()
    words = ["env", *(f"{name}={own[name]}" for name in ("TERM", "COLORTERM", "TEXTUAL_ANIMATIONS")), sys.executable, str(STAGE), mode]
    argv = ["ssh", "-t", "-F", str(server.config_path), *BESIDE, "-p", str(port), "127.0.0.1", shlex.join(words)]
    return MeteredTerminal(argv, own, **given)  # type: ignore[arg-type]


def _come_to_rest(terminal: MeteredTerminal) -> None:
    terminal.wait_for(b"toy")
    terminal.wait_until_still(0.7)


def _seconds_at_rest(terminal: MeteredTerminal, rest_seconds: float = 0.0) -> list[float]:
    """`rest_seconds`: what the rest of a paint takes to come, lest it be taken for the next key's."""
    taken = []
    for number in range(90):
        taken.append(terminal.paint_seconds("jjjkkk"[number % 6]))
        time.sleep(rest_seconds)
    return taken


def _open_a_picture(terminal: MeteredTerminal) -> None:
    terminal.wait_for(b"24 pictures")
    terminal.wait_until_still(1.5)
    terminal.press("f")
    terminal.wait_until_still(1.5)


def _seconds_among_pictures(terminal: MeteredTerminal, rest_seconds: float = 0.1) -> list[float]:
    """A picture after the other is opened; keys are pressed while it goes out."""
    taken = []
    for _ in range(15):
        terminal.press("l")
        time.sleep(0.5)
        for _ in range(2):
            taken.append(terminal.paint_seconds(" "))
            time.sleep(rest_seconds)
        terminal.wait_until_still(1.0)
    return taken


def chart_figures(others: Others) -> Iterator[Figure]:
    ours = _load(stage("charts", **CHARTS_SIZE), b"held_out_loss")
    other = _load(others.terminal("charts", **CHARTS_SIZE), b"it/s") if others.python else None
    said = [others.said("")] * 2 if other is None else [f"{other[0]:,.0f} B/s", f"{other[1]:.0f} %"]
    yield Figure("four charts at 4 Hz, numbers at 2 Hz: bytes", ours[0], 10_000, "B/s", said[0])
    yield Figure("four charts at 4 Hz, numbers at 2 Hz: processor", ours[1], 10, "%", said[1])


def _load(terminal: MeteredTerminal, text: bytes, seconds: float = 20.0) -> tuple[float, float]:
    """(bytes a second, per cent of a processor) of a program that goes on by itself."""
    with closing(terminal):
        terminal.wait_for(text)
        time.sleep(5.0)
        terminal.mark()
        begun, used = time.monotonic(), terminal.cpu_seconds()
        time.sleep(seconds)
        passed = time.monotonic() - begun
        return terminal.num_bytes / passed, 100 * (terminal.cpu_seconds() - used) / passed


def start_figures(others: Others) -> Iterator[Figure]:
    """`negtui` itself, on a daemon of its own with one session."""
    help_command = [sys.executable, "-c", "import sys; from negtui.cli import main; sys.exit(main(['--help']))"]
    bare = [sys.executable, "-c", "pass"]
    taken = [(_seconds(help_command), _seconds(bare)) for _ in range(15)]
    yield Figure("negtui --help, above the bare interpreter", statistics.median(one[0] - other[0] for one, other in taken), 0.15, "s")
    yield Figure("the same: processor time", statistics.median(one[1] - other[1] for one, other in taken), None, "s")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "negtui.cli", "--workspace", folder]
        here = environment(PYTHONPATH=str(REPOSITORY))
        for words in (["daemon", "start"], ["new", "first", "--template", "toy"]):
            subprocess.run([*command, *words], env=here, check=True, stdout=subprocess.DEVNULL)
        paints = []
        for _ in range(7):
            with closing(MeteredTerminal(command, here)) as terminal:
                paints.append((terminal.wait_for(b"first"), terminal.cpu_seconds()))
        subprocess.run([*command, "daemon", "stop"], env=here, check=True, stdout=subprocess.DEVNULL)
    yield Figure("first useful paint: the sessions, on a daemon that runs", statistics.median(one[0] for one in paints), 1.0, "s")
    yield Figure("the same: processor time", statistics.median(one[1] for one in paints), None, "s")


def _seconds(arguments: list[str]) -> tuple[float, float]:
    """(seconds, processor seconds) of a command."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(arguments, env=environment(PYTHONPATH=str(REPOSITORY)), stdout=subprocess.DEVNULL, check=True)
    passed, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory_figures(others: Others) -> Iterator[Figure]:
    with closing(stage("hour", columns=120, rows=40)) as terminal:
        terminal.wait_for(b"the_hour_is_over", 400.0)
        terminal.wait_until_still(2.0)
        yield Figure("resident memory after an hour of training, told in seconds", terminal.resident_bytes() / 2**20, 90, "MiB")


def probe_figures(others: Others) -> Iterator[Figure]:
    """At each round trip: is the terminal taken for what it is, and is nothing of its answers left to be read as keys?"""
    from negtui.pixels.choose import choose
    from negtui.pixels.probe import probe

    wrong = []
    for round_trip in ROUND_TRIPS:
        with ScriptedTerminal(KITTY_TERMINAL, round_trip).running() as terminal:
            answers = probe(terminal.descriptor, terminal.descriptor)
            left = left_over(terminal.descriptor, 0.6)
        if choose(answers, environment(), "auto").backend != "kitty" or left:
            wrong.append(round_trip)
    said = []
    for round_trip in ROUND_TRIPS if others.python else ():
        with closing(others.terminal("probe", round_trip=round_trip)) as there:
            there.wait_for(b" END")
            chosen, _, left_count = there.received.rpartition(b"CHOSE ")[2].decode().split()[:3]
        if chosen != "tgp" or left_count != "0":
            said.append(f"{1000 * round_trip:.0f} ms: {chosen}, {left_count} bytes left as keys")
    other = others.said("") if not others.python else "; ".join(said) or "none"
    trips = ", ".join(f"{1000 * one:.0f}" for one in ROUND_TRIPS)
    yield Figure(f"backend wrong or keys leaked, of round trips of {trips} ms", len(wrong), 0, "cases", other)


def percentile(values: list[float], share: float = 0.95) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


GROUPS: dict[str, Callable[[Others], Iterator[Figure]]] = {
    "pictures": picture_figures,
    "idle": idle_figures,
    "busy": busy_figures,
    "ssh": ssh_figures,
    "charts": chart_figures,
    "start": start_figures,
    "memory": memory_figures,
    "probe": probe_figures,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--others", metavar="PYTHON", default=sys.executable, help="the Python that has textual-image and textual-plotext")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="only these groups of rows")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    others = Others(arguments.others)
    figures = []
    if not arguments.json:
        print("| what | budget | negtui | | textual-image 0.12, textual-plotext |\n|---|---|---|---|---|")
    for group in arguments.only:
        for figure in GROUPS[group](others):
            figures.append(figure)
            if not arguments.json:
                print(markdown(figure), flush=True)
    if arguments.json:
        print(json.dumps([asdict(figure) for figure in figures]))
    return int(any(figure.verdict == "MISSED" and figure.unit.startswith("B") for figure in figures))


def markdown(figure: Figure) -> str:
    """A row of the table."""
    most = "" if figure.most is None else f"{figure.most:,g} {figure.unit}"
    digits = 2 if figure.unit == "s" else 0
    value = "" if figure.value is None else f"{figure.value:,.{digits}f} {figure.unit}"
    return f"| {figure.what} | {most} | {value} | {figure.verdict} | {figure.other} |"


if __name__ == "__main__":
    sys.exit(main())
