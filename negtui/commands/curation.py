"""`images`, `mark`, `plan`, `results`: pictures, what people decide on them, what more would take, what came of comparing."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from daemon.protocol.commands import (
    MAX_MARKED,
    ComparisonAnswer,
    Images,
    ListImages,
    Marked,
    MarkImages,
    Plan,
    PlanSynthesis,
    ReadComparison,
    ReadSession,
    SessionAnswer,
)
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImagesFolder
from daemon.protocol.specs import ImageRecord
from negtui import findings, wording
from negtui.commands.exits import OK
from negtui.commands.invocation import Daemon, Invocation, ask, session_name
from negtui.commands.sessions import settings_changes
from negtui.commands.show import fetch_of
from negtui.commands.sweeping import print_sweep
from negtui.output import Output, duration, quantity, table
from negtui.saving import save_results

ID_CHARACTERS = 12


async def images(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui images NAME`: one JSON object a picture."""
    output, name = invocation.output, session_name(arguments.name)
    async with invocation.daemon() as daemon:
        found = [record async for record in _pictures(daemon, name, _folder(arguments)) if _is_asked(record, arguments)]
    for record in found:
        output.object({"image": record})
    cells = [_cells(record) for record in found]
    headings = ("id", "status", "keyword", "weight", "guidance", "seed", "tags")
    for line in table(headings, cells, right=frozenset({4, 5})) if cells else ["There are no such pictures."]:
        output.result(line)
    output.line(f"{quantity(len(found), 'picture')}: {_counts(found)}." if found else "")
    return OK


async def mark(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui mark NAME ID...`"""
    name, folder = session_name(arguments.name), _folder(arguments)
    if arguments.status is None and not arguments.tag and not arguments.untag:
        raise NegError("invalid", "Nothing to mark the pictures with.", "Say --keep, --reject, --undecided, --tag T or --untag T.")
    async with invocation.daemon() as daemon:
        known = [record.id async for record in _pictures(daemon, name, folder)]
        ids = [_whole_id(prefix, known) for prefix in arguments.ids]
        answers = [
            await ask(
                daemon,
                MarkImages(
                    session=name,
                    folder=folder,
                    ids=tuple(ids[begin : begin + MAX_MARKED]),
                    status=arguments.status,
                    add_tags=tuple(arguments.tag),
                    remove_tags=tuple(arguments.untag),
                ),
                Marked,
            )
            for begin in range(0, len(ids), MAX_MARKED)
        ]
    for answer in answers:
        invocation.output.object({"marked": answer})
        for one in answer.marks:
            invocation.output.line(f"{one.id[:ID_CHARACTERS]}  {one.status}  {' '.join(one.tags)}".rstrip())
    return OK


async def plan(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui plan NAME`"""
    command = PlanSynthesis(name=session_name(arguments.name), changes=settings_changes(arguments.set))
    async with invocation.daemon() as daemon:
        found = await ask(daemon, command, Plan)
    invocation.output.object({"plan": found})
    there = f", {found.num_present} are there already" if found.num_present else ""
    invocation.output.result(f"{quantity(found.num_images, 'picture')}{there}.")
    if found.seconds is None or found.seconds_per_image is None:
        invocation.output.result("Time: unknown; no picture of this model was painted here yet.")
    else:
        pace = f"{duration(found.seconds_per_image)} a picture, measured on {found.num_measured}"
        invocation.output.result(f"Time: about {duration(found.seconds)} ({pace}).")
    invocation.output.result(f"Disk: about {found.num_bytes / 2**20:.1f} MiB; {found.free_bytes / 2**30:.1f} GiB are free.")
    return OK


async def results(arguments: argparse.Namespace, invocation: Invocation) -> int:
    """`negtui results NAME [--comparison C] [--all] [--save FOLDER] | [--sweep S]`: with --json an object a page of blocks."""
    output, name = invocation.output, session_name(arguments.name)
    async with invocation.daemon() as daemon:
        if arguments.sweep:
            return await print_sweep(daemon, name, arguments.sweep, output)
        chosen = arguments.comparison or await declared_comparison(daemon, name)
        if arguments.save is not None:
            page = await ask(daemon, ReadComparison(session=name, name=chosen, limit=1), ComparisonAnswer)
            saved = await save_results(fetch_of(daemon), page, Path(arguments.save))
            output.object({"saved": [str(path) for path in saved]})
            output.line(f"Saved {quantity(len(saved), 'file')}. Report: {saved[0]}")
            return OK
        begin, pages = 0, 0
        while True:
            page = await ask(daemon, ReadComparison(session=name, name=chosen, after_block=begin), ComparisonAnswer)
            output.object({"comparison": page})
            if not pages and not output.as_json:
                _print_results(page, output, arguments.all)
                return OK
            begin, pages = begin + len(page.blocks), pages + 1
            if begin >= page.num_blocks or not page.blocks:
                return OK


def _print_results(page: ComparisonAnswer, output: Output, every: bool) -> None:
    """Means, claims and why, the differences that say something, the verdict; `every`: all differences, and the guidance by step."""
    output.result(f"{page.session}: {page.name!r} over {quantity(page.num_blocks, 'block')} (prompt x seed)")
    shown = page.effects if every else findings.telling(page.effects)
    parts = [findings.means_table({arm.name: arm.means for arm in page.arms})]
    if page.claims:
        parts.append(findings.claims_table(page.claims, readings=True))
    parts.append(wording.effects_table(shown))
    if len(shown) < len(page.effects):
        parts[-1].append(f"  {len(page.effects) - len(shown)} differences of the look are not clear; --all shows them.")
    if page.diagnosis is not None:
        short = [f"Guidance of {quantity(len(page.diagnosis.blocks), 'block')}, step by step: --all, or in the report."]
        parts.append(findings.diagnosis_lines(page.diagnosis) if every else short)
    for part in parts:
        for line in (*part, ""):
            output.result(line)
    output.result(f"Verdict   {page.verdict}")


async def declared_comparison(daemon: Daemon, name: str) -> str:
    """The comparison that `session.toml` declares."""
    spec = (await ask(daemon, ReadSession(name=name), SessionAnswer)).spec
    if spec.comparison is None:
        raise NegError("invalid", f"{name} has no [comparison].", "Name one: --comparison NAME.")
    return spec.comparison.output_name


async def _pictures(daemon: Daemon, session: str, folder: ImagesFolder) -> AsyncGenerator[ImageRecord, None]:
    after = ""
    while True:
        page = await ask(daemon, ListImages(session=session, folder=folder, after=after), Images)
        for record in page.images:
            yield record
        if page.is_last or not page.images:
            return
        after = page.images[-1].id


def _is_asked(record: ImageRecord, arguments: argparse.Namespace) -> bool:
    return (
        arguments.status in (None, record.status)
        and arguments.keyword in (None, record.keyword)
        and set(arguments.tag).issubset(record.tags)
    )


def _whole_id(prefix: str, known: Sequence[str]) -> str:
    found = [id for id in known if id == prefix] or [id for id in known if id.startswith(prefix)]
    if not found:
        raise NegError("not_found", f"There is no picture {prefix!r}.", "`negtui images NAME` lists them.")
    if len(found) > 1:
        raise NegError("invalid", f"{prefix!r} begins the ids of {len(found)} pictures.", "Write more of the id.")
    return found[0]


def _folder(arguments: argparse.Namespace) -> ImagesFolder:
    return "class_images" if arguments.class_images else "dataset"


def _cells(record: ImageRecord) -> tuple[str, ...]:
    request = record.request
    weight = "" if record.weight is None else str(record.weight)
    settings = (record.keyword or "", weight, f"{request.guidance_scale:g}", str(request.seed))
    return (record.id[:ID_CHARACTERS], record.status, *settings, " ".join(record.tags))


def _counts(records: Sequence[ImageRecord]) -> str:
    states = [record.status for record in records]
    words = {"keep": "kept", "reject": "rejected", "undecided": "undecided"}
    return ", ".join(f"{states.count(state)} {word}" for state, word in words.items() if state in states)
