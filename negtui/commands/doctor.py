"""`negtui doctor`: what is here, whether it works, what to do where it does not. Looks, changes nothing, starts nothing."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import sys
from contextlib import aclosing
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageDraw

from daemon.config import places
from daemon.protocol import codec
from daemon.protocol.commands import Ping, Pong
from daemon.protocol.errors import NegError
from daemon.protocol.events import Gauges
from negtui.commands.exits import FAILED, OK
from negtui.commands.invocation import Daemon, Invocation, Unreachable, ask
from negtui.commands.show import draw
from negtui.config import config_path
from negtui.output import Output
from negtui.pixels.base import Choice
from negtui.pixels.choose import ask_tmux, prepare
from negtui.pixels.probe import Answers

GAUGE_SECONDS = 3.0
LITTLE_ROOM = 5 * 10**9
NO_ROOM = 5 * 10**8
PACKAGES = ("textual", "rich", "pillow", "pyzmq", "msgspec")
TMUX_LINES = ("set -g allow-passthrough on", "set -g focus-events on", "set -ga terminal-features ',*:RGB'")
"""What pictures by kitty's protocol need in ~/.tmux.conf."""
TEST_CELLS = (24, 8)


@dataclass(frozen=True)
class Check:
    """One finding: `ok`, `note` (works, could be better) or `bad`."""

    name: str
    state: Literal["ok", "note", "bad"]
    words: str
    hint: str = ""


async def doctor(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui doctor`"""
    output = invocation.output
    choice, answers = await asyncio.to_thread(prepare, arguments.images, ascii=arguments.ascii)
    versions = _versions()
    checks = [Check("versions", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))]
    found: dict[str, Any] = {"versions": versions}
    checks += await _daemon_checks(invocation, found)
    checks += terminal_checks(choice, answers, dict(os.environ), ask_tmux() if "TMUX" in os.environ else "")
    checks += _place_checks(invocation, found)
    found |= {"terminal": _terminal(choice, answers), "tmux_lines": TMUX_LINES, "checks": [asdict(check) for check in checks]}
    is_well = all(check.state != "bad" for check in checks)
    output.object({**found, "ok": is_well})
    if not output.as_json:
        _print(checks, output)
        _print_test_picture(choice, output, arguments)
        output.result("Nothing is wrong." if is_well else "Something is wrong: see the lines with !!.")
    return OK if is_well else FAILED


def terminal_checks(choice: Choice, answers: Answers, environment: dict[str, str], tmux: str) -> list[Check]:
    """What the terminal is and answered, how pictures are drawn on it and why, and what would make it better. Pure."""
    term = ", ".join(f"{name} {environment[name]}" for name in ("TERM", "COLORTERM", "TERM_PROGRAM") if environment.get(name))
    where = " in tmux" * choice.in_tmux + " over SSH" * choice.over_ssh
    checks = [Check("terminal", "ok", f"{answers.version or 'nameless'}{where}; {term or 'TERM is not set'}; {choice.colours} colours")]
    if not answers.answered:
        checks.append(Check("probe", "note", "the terminal was not asked, or did not answer", "Run it on a terminal, not in a pipe."))
    else:
        times = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in sorted(answers.seconds.items(), key=lambda item: item[1]))
        cell = f"{choice.cell.width} x {choice.cell.height} pixels a cell{'' if answers.cell else ' (assumed)'}"
        kitty, sixel = "yes" if answers.kitty else "no", "yes" if answers.sixel else "no"
        checks.append(Check("probe", "ok", f"{times}; {cell}; kitty {kitty}, sixel {sixel}"))
    better = choice.backend in ("kitty", "sixel")
    hint = "" if better else "kitty, Ghostty (kitty's protocol), foot, WezTerm, xterm -ti vt340 (sixel) draw real pixels."
    if choice.in_tmux and choice.backend != "kitty":
        hint = f"In ~/.tmux.conf: {'; '.join(TMUX_LINES)}; then tmux kill-server, and a terminal that draws kitty's pictures."
    checks.append(Check("pictures", "ok" if better else "note", f"{choice.backend}: {choice.why}; i changes it", hint))
    if choice.in_tmux:
        checks.append(Check("tmux", "ok", f"tells {' | '.join(tmux.split(chr(9))) or 'nothing'}"))
    return checks


def sample_picture() -> Image.Image:
    """Stripes of the primary colours, a ramp and a circle: what is wrong is seen at once."""
    image = Image.new("RGB", (240, 160))
    pen = ImageDraw.Draw(image)
    for x in range(240):
        pen.line((x, 0, x, 110), fill=(x, 128, 239 - x))
        pen.line((x, 110, x, 160), fill=(x, x, x))
    for number, colour in enumerate(("#ff0000", "#00ff00", "#0000ff", "#ffffff")):
        pen.rectangle((8 + 28 * number, 8, 31 + 28 * number, 31), fill=colour)
    pen.ellipse((140, 20, 220, 100), outline="#ffff00", width=5)
    return image


async def _daemon_checks(invocation: Invocation, found: dict[str, Any]) -> list[Check]:
    try:
        async with invocation.daemon(start=False) as daemon:
            pong = await ask(daemon, Ping(), Pong)
            gauges = await _gauges(daemon, pong.head_seq)
            welcome = daemon.welcome
    except Unreachable as error:
        found["daemon"] = None
        return [Check("daemon", "note", error.detail.message, "It is started when needed; negtui daemon start starts it now.")]
    except NegError as error:
        found["daemon"] = {"error": error.detail.message}
        return [Check("daemon", "bad", error.detail.message, error.detail.hint)]
    found["daemon"] = welcome
    found["gauges"] = gauges
    words = f"version {welcome.version}, protocol {welcome.protocol} (this client: {codec.MAJOR}), pid {welcome.pid}"
    state: Literal["ok", "bad"] = "ok" if welcome.protocol == codec.MAJOR else "bad"
    workers = ", ".join(f"{name} {state}" for name, state in sorted(pong.workers.items())) or "none started yet"
    sick = any(worker in ("sick", "lost") for worker in pong.workers.values())
    return [
        Check("daemon", state, words, "" if state == "ok" else "Use the same negtui version on both sides."),
        Check("workers", "note" if sick else "ok", workers, "The daemon's log says why." if sick else ""),
        *_gpu_checks(gauges),
    ]


def _gpu_checks(gauges: list[Gauges]) -> list[Check]:
    devices = [gauge for gauge in gauges if gauge.device != "none"]
    if not gauges:
        return [Check("gpu", "note", f"the daemon told no readings within {GAUGE_SECONDS:.0f} s")]
    if not devices:
        return [Check("gpu", "note", "no NVIDIA driver where the daemon runs", "The toy model needs none, SDXL does: nvidia-smi there.")]
    return [Check("gpu", "ok", f"{gauge.device}: {_reading(gauge)}") for gauge in devices]


def _reading(gauge: Gauges) -> str:
    used, total = gauge.memory_used, gauge.memory_total
    memory = "memory n/a" if used is None or total is None else f"{used / 2**30:.1f} of {total / 2**30:.1f} GiB"
    rest = ((gauge.utilisation, "%"), (gauge.temperature, "°C"), (gauge.power_watts, "W"))
    return ", ".join([memory, *(f"{'n/a' if value is None else f'{value:.0f}'} {unit}" for value, unit in rest)])


async def _gauges(daemon: Daemon, head_seq: int) -> list[Gauges]:
    """The newest reading of each device, once they come round again."""
    found: dict[str, Gauges] = {}

    async def listen() -> None:
        stream: Any = daemon.events(head_seq)
        async with aclosing(stream) as told:
            async for one in told:
                if isinstance(one.event, Gauges):
                    if one.event.device in found:
                        return
                    found[one.event.device] = one.event

    try:
        async with asyncio.timeout(GAUGE_SECONDS):
            await listen()
    except TimeoutError:
        pass
    return [found[name] for name in sorted(found)]


def _place_checks(invocation: Invocation, found: dict[str, Any]) -> list[Check]:
    """Free disk and paths, of this machine."""
    here = places(invocation.settings.workspace)
    paths = {
        "workspace": here.workspace,
        "sessions": here.sessions_path,
        "state": here.state_path,
        "log": here.log_path,
        "sockets": here.runtime_path,
        "config": config_path(),
    }
    found["paths"] = {name: str(path) for name, path in paths.items()}
    free = shutil.disk_usage(_existing(here.workspace)).free
    found["free_bytes"] = free
    state: Literal["ok", "note", "bad"] = "bad" if free < NO_ROOM else "note" if free < LITTLE_ROOM else "ok"
    hint = "" if state == "ok" else "Jobs are blocked when the disk is full; make room."
    checks = [Check("disk", state, f"{free / 10**9:.1f} GB free at {here.workspace}", hint)]
    checks += [Check(name, "ok", str(path)) for name, path in paths.items()]
    return checks


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("negtui", *PACKAGES):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "(not installed)"
    return {**versions, "python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}


def _terminal(choice: Choice, answers: Answers) -> dict[str, Any]:
    told = {name: value for name, value in asdict(answers).items() if name != "bytes"}
    return {"choice": asdict(choice), "answers": told}


def _print(checks: list[Check], output: Output) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        sign = {"ok": "ok", "note": "--", "bad": "!!"}[check.state]
        output.result(f"{sign} {check.name.ljust(width)}  {check.words}")
        if check.hint:
            output.result(f"   {' ' * width}  {check.hint}")


def _print_test_picture(choice: Choice, output: Output, arguments: argparse.Namespace) -> None:
    if choice.backend == "off" or output.quiet or not (output.stdout is sys.stdout and output.stdout.isatty()):
        return
    output.line()
    draw(sample_picture(), output.stdout, choice, *TEST_CELLS)
    output.line(f"A test picture by {choice.backend}: a ramp, four squares and a yellow circle that is round.")
