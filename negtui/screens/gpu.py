"""Screen 6: the devices (memory by resident part, utilisation, temperature, power) and the workers' health. `n/a` without a driver."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from daemon.protocol.commands import LoadModel, UnloadModel
from daemon.protocol.events import Gauges, Residents
from negtui.keys import bindings
from negtui.output import clean
from negtui.screens.base import NegtuiScreen
from negtui.view import View
from negtui.widgets.cut import cut
from negtui.widgets.spark import bar, spark

GIB = 2**30
NO_DRIVER = "n/a: no NVIDIA driver answers here. Models run on the CPU."
SHOWN = frozenset({"gauges", "workers", "residents", "jobs", "connection"})


class GpuScreen(NegtuiScreen):
    """Repaints a line only where its words change."""

    SCOPE = "gpu"
    TITLE = "GPU"
    CSS_PATH = "gpu.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("gpu")]

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(id="gpu"):
            yield Static(id="devices", markup=False)
            yield Static(id="workers", markup=False)
            yield Static(id="residents", markup=False)

    def on_mount(self) -> None:
        self.query_one("#gpu").focus()

    def show(self, view: View, changed: frozenset[str]) -> None:
        if not changed & SHOWN:
            return
        width = max(40, self.query_one("#devices").size.width or self.size.width - 4)
        parts = {
            "devices": devices_lines(view.gauges, width),
            "workers": workers_lines(view, width),
            "residents": residents_lines(view.residents, width),
        }
        for name, lines in parts.items():
            text = clean("\n".join([*lines, ""]))
            if text != self._shown.get(name):
                self._shown[name] = text
                self.query_one(f"#{name}", Static).update(Text(text))

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, str] = {}

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.show, self.view, SHOWN)

    def action_load(self) -> None:
        session = self.session_at_hand
        if session is None:
            self.negtui.say("Choose a session on screen 1 first: its model is what is loaded.", "warning")
            return
        self.negtui.run_ask(LoadModel(session=session), lambda answer: self.negtui.say(f"The model of {session} is being loaded."))

    def action_unload(self) -> None:
        async def unload() -> None:
            if await self.negtui.confirm("Unload every model from the idle workers?"):
                await self.negtui.ask(UnloadModel())

        self.run_worker(unload(), group="confirm", exclusive=True)


def devices_lines(gauges: dict[str, list[Gauges]], width: int) -> list[str]:
    """Per device its memory and, each with its last minutes, utilisation, temperature and power."""
    known = {device: readings for device, readings in gauges.items() if readings and device != "none"}
    if not known:
        return [NO_DRIVER if gauges else "Waiting for the first reading ..."]
    lines: list[str] = []
    room = max(10, width - 40)
    for device, readings in sorted(known.items()):
        last = readings[-1]
        share = (last.memory_used or 0) / last.memory_total if last.memory_total else None
        memory = f"{(last.memory_used or 0) / GIB:.1f} of {last.memory_total / GIB:.1f} GiB" if last.memory_total else "n/a"
        lines += [device, _row("memory", memory, bar(share, room))]
        used = [one.memory_used / GIB if one.memory_used is not None else None for one in readings]
        lines.append(_row("", "", spark(used, room, 0.0, (last.memory_total or GIB) / GIB)))
        utilisation = [one.utilisation for one in readings]
        lines.append(_row("utilisation", _unit(last.utilisation, "%"), spark(utilisation, room, 0.0, 100.0)))
        temperature = [one.temperature for one in readings]
        lines.append(_row("temperature", _unit(last.temperature, "C"), spark(temperature, room, 20.0, 100.0)))
        power = [one.power_watts for one in readings]
        lines.append(
            _row("power", _unit(last.power_watts, "W"), spark(power, room, 0.0, max([p for p in power if p is not None], default=1.0)))
        )
        lines.append("")
    return lines


def workers_lines(view: View, width: int) -> list[str]:
    """Each worker: healthy or not, what it works on, what it said last."""
    lines = ["Workers"]
    for name, worker in sorted(view.workers.items()):
        sign = {"lost": "!! ", "sick": "!! ", "busy": ">> ", "ready": "ok "}.get(worker.state, "   ")
        lines.append(cut(f"  {sign}{name}  {worker.state}{f': {worker.message}' if worker.message else ''}", width).rstrip())
    return lines if view.workers else [*lines, "  none started yet: the first job starts one"]


def residents_lines(residents: dict[str, Residents], width: int) -> list[str]:
    """What lies in each worker's memory, the largest first."""
    lines: list[str] = []
    for worker, told in sorted(residents.items()):
        total = sum(part.num_bytes for part in told.parts)
        heading = f"In the memory of {worker}: {total / GIB:.2f} GiB in {len(told.parts)} parts"
        if told.allocated_bytes is not None:
            heading += f"; {told.allocated_bytes / GIB:.2f} GiB allocated"
        if told.reserved_bytes is not None:
            heading += f", {told.reserved_bytes / GIB:.2f} GiB reserved"
        lines.append(heading)
        lines += [f"  {told.doing} ..."] if told.doing else []
        lines += [f"  !! {told.error}"] if told.error else []
        for part in sorted(told.parts, key=lambda one: (one.kind, -one.num_bytes)):
            share = part.num_bytes / total if total else 0.0
            where = f"{part.device} {part.dtype}".strip()
            name = cut(f"{part.kind} {part.name}", 26)
            lines.append(f"  {name} {_bytes(part.num_bytes):>10}  {cut(where, 14)} {bar(share, max(8, width - 62))}".rstrip())
        lines.append("")
    return lines


def _bytes(count: int) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"


def _unit(value: float | None, unit: str) -> str:
    return "n/a" if value is None else f"{value:.0f} {unit}"


def _row(name: str, value: str, drawn: str) -> str:
    return f"  {name:<12} {value:<20} {drawn}".rstrip()
