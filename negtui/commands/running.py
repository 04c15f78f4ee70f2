"""`run`, `synthesise`, `train`, `compare`: submit or join the jobs of a session, follow them, tell what came of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from daemon.protocol.arms import PresetName
from daemon.protocol.commands import JobAnswer, Jobs, ListJobs, ReadSession, Resume, SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobRow
from daemon.protocol.specs import JobSpec, TrainJob, job_specs, kind_of
from negtui import wording
from negtui.commands.exits import OK
from negtui.commands.following import advice, exit_code, follow_jobs
from negtui.commands.invocation import Daemon, Invocation, ask, session_name
from negtui.commands.summary import print_summary, summarise

_SECTIONS = {"synthesize": "synthesis", "train": "training", "merge": "merging", "compare": "comparison"}


async def run(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui run NAME [--full]`"""
    return await _run(arguments, invocation, tuple(_SECTIONS))


async def synthesise(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui synthesise NAME`"""
    return await _run(arguments, invocation, ("synthesize",))


async def train(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui train NAME [--images FOLDER]`"""
    return await _run(arguments, invocation, ("train",))


async def compare(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui compare NAME [--full] [--preset P]`"""
    return await _run(arguments, invocation, ("compare",))


async def _run(arguments: argparse.Namespace, invocation: Invocation, kinds: tuple[str, ...]) -> int:
    def chosen(session: SessionAnswer) -> Mapping[str, JobSpec]:
        specs = wanted(session, kinds, getattr(arguments, "full", False), getattr(arguments, "preset", None))
        if getattr(arguments, "images", None) is None:
            return specs
        folder = _images_folder(arguments.images, is_remote=bool(invocation.settings.connect))
        return {key: _trained_on(spec, folder) for key, spec in specs.items()}

    return await run_jobs(arguments, invocation, chosen)


async def run_jobs(arguments: argparse.Namespace, invocation: Invocation, chosen: Callable[[SessionAnswer], Mapping[str, JobSpec]]) -> int:
    """Submit or join the jobs that `chosen` makes of the session `arguments.name`; follow them to their end and tell what came of them."""
    output = invocation.output
    async with invocation.daemon() as daemon:
        session = await ask(daemon, ReadSession(name=session_name(arguments.name)), SessionAnswer)
        for warning in session.warnings:
            output.note(f"warning: {warning}")
        rows = await submit_or_join(daemon, chosen(session))
        ids = [row.id for row in rows]
        if arguments.detach:
            output.object({"jobs": ids})
            for row in rows:
                output.result(f"{row.id}  {wording.title(row)}")
            output.line(f"To follow: negtui follow {' '.join(ids)}")
            return OK
        rows = await follow_jobs(daemon, ids, output)
        code = exit_code(rows)
        print_summary(await summarise(daemon, session, rows, code), output)
    for row in rows:
        if row.state != "done" and row.state != "queued":
            output.note(f"negtui: {wording.title(row)} {wording.state(row)}")
            output.note(f"  {advice(row)}")
    return code


async def submit_or_join(daemon: Daemon, specs: Mapping[str, JobSpec]) -> list[JobRow]:
    """The jobs of `specs`, each after the one before. One of the same spec that is under way already is joined, not queued twice."""
    session = next(iter(specs.values())).session
    known = (await ask(daemon, ListJobs(session=session, limit=10_000), Jobs)).jobs
    joined = under_way(specs, known)
    rows: list[JobRow] = []
    for kind, spec in specs.items():
        row = joined.get(kind)
        if row is None:
            row = (await daemon.submit(spec, after=tuple(row.id for row in rows[-1:]))).job
        elif row.state in ("paused", "blocked", "failed", "cancelled"):
            row = (await ask(daemon, Resume(job_id=row.id), JobAnswer)).job
        rows.append(row)
    return rows


def under_way(specs: Mapping[str, JobSpec], known: tuple[JobRow, ...]) -> dict[str, JobRow]:
    """Which of `known` (oldest first) already do what `specs` ask: jobs not ended, and those that they wait or waited for."""
    newest = {kind: row for kind, spec in specs.items() for row in known if row.spec == spec}
    needed: set[str] = set()
    joined: dict[str, JobRow] = {}
    for kind, row in reversed(newest.items()):
        if row.id in needed or row.state in ("queued", "running", "pausing", "paused", "blocked"):
            joined[kind] = row
            needed.update(row.after)
    return joined


def wanted(session: SessionAnswer, kinds: tuple[str, ...], full: bool = False, preset: PresetName | None = None) -> dict[str, JobSpec]:
    """The session's own jobs of these kinds. Raises `NegError` where it declares none."""
    specs = job_specs(session.name, session.spec, full, preset)
    chosen = {key: spec for key, spec in specs.items() if kind_of(key) in kinds}
    if not chosen:
        section = _SECTIONS[kinds[0]]
        raise NegError("invalid", f"{session.path}/session.toml has no [{section}].", "Add that section; `negtui new` shows how it looks.")
    return chosen


def _images_folder(named: str, is_remote: bool) -> str:
    """The folder as the daemon finds it: absolute, since its working directory is another. Raises `NegError` where there is none."""
    if is_remote:
        if not named.startswith(("/", "~")):
            raise NegError("invalid", f"{named} is not absolute.", "On another host's daemon, name the folder there from / on.")
        return named
    try:
        path = Path(named).expanduser().absolute()
    except RuntimeError:
        path = Path(named).absolute()
    if not path.is_dir():
        raise NegError("not_found", f"There is no folder {path}.", "Name a folder of PNG, JPEG or WebP images.")
    return str(path)


def _trained_on(spec: JobSpec, folder: str) -> JobSpec:
    if not isinstance(spec, TrainJob):
        return spec
    return msgspec.structs.replace(spec, training=msgspec.structs.replace(spec.training, instance_data_dir=folder))
