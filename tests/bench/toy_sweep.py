"""Learning rate x rank x steps on the toy model: which negative LoRA beats baseline and placebo, with intervals, as a Markdown table.

    python tests/bench/toy_sweep.py [--num-prompts 240] [--workspace DIR] [--variant LR,RANK,STEPS ...]

Runs in a workspace of its own, through the daemon; interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon import sessions
from daemon.config import places
from daemon.protocol.commands import Submit, Submitted
from daemon.protocol.effects import Effect
from daemon.protocol.events import ComparisonSaved, JobStateChanged
from daemon.protocol.specs import AdapterUse, ArmSpec, CompareJob, JobSpec, SessionSpec, SynthesizeJob, TrainJob
from negtui.client import Client

SESSION = "sweep"
METRICS = ("flaw_probability", "adherence")


@dataclass(frozen=True)
class Variant:
    """One training to try."""

    learning_rate: float
    rank: int
    max_train_steps: int

    @property
    def name(self) -> str:
        return f"lr{self.learning_rate:g}-r{self.rank}-s{self.max_train_steps}"

    @classmethod
    def parse(cls, text: str) -> Variant:
        learning_rate, rank, steps = text.split(",")
        return cls(float(learning_rate), int(rank), int(steps))


DEFAULT = [
    Variant(5e-5, 4, 300),
    Variant(1e-4, 4, 300),
    Variant(3e-4, 4, 300),
    Variant(1e-4, 4, 100),
    Variant(1e-4, 4, 800),
    Variant(1e-4, 1, 300),
    Variant(1e-4, 16, 300),
]


async def sweep(workspace: Path, variants: list[Variant], num_prompts: int) -> ComparisonSaved:
    """Synthesise once, train every variant, compare them all on the same blocks."""
    spec = _session(workspace)
    async with Client.connect(workspace=workspace, seconds=30) as client:
        assert spec.synthesis is not None
        assert spec.training is not None
        assert spec.comparison is not None
        synthesis = await _submit(client, SynthesizeJob(session=SESSION, model=spec.model, synthesis=spec.synthesis))
        trainings = []
        for variant in variants:
            training = msgspec.structs.replace(
                spec.training,
                output_name=variant.name,
                learning_rate=variant.learning_rate,
                rank=variant.rank,
                max_train_steps=variant.max_train_steps,
            )
            job = TrainJob(session=SESSION, model=spec.model, training=training)
            trainings.append(await _submit(client, job, (synthesis,)))
        targets = tuple(
            ArmSpec(name=variant.name, adapters=(AdapterUse(name=variant.name),), negative_prompt="wrong") for variant in variants
        )
        arms = (ArmSpec(name="baseline"), ArmSpec(name="placebo", negative_prompt="wrong"), *targets)
        comparison = msgspec.structs.replace(spec.comparison, arms=arms, num_prompts=num_prompts, output_name="sweep")
        last = await _submit(client, CompareJob(session=SESSION, model=spec.model, comparison=comparison), tuple(trainings))
        return await _follow(client, last)


def _session(workspace: Path) -> SessionSpec:
    sessions_path = places(workspace).sessions_path
    sessions_path.mkdir(parents=True, exist_ok=True)
    if not (sessions_path / SESSION).exists():
        sessions.create(sessions_path, SESSION, "toy", {})
    return sessions.read(sessions_path, SESSION)


async def _submit(client: Client, spec: JobSpec, after: tuple[str, ...] = ()) -> str:
    answer = await client.request(Submit(key=secrets.token_hex(16), spec=spec, after=after))
    assert isinstance(answer, Submitted)
    return answer.job.id


async def _follow(client: Client, job_id: str) -> ComparisonSaved:
    saved: ComparisonSaved | None = None
    async for _, event in client.events(0):
        if isinstance(event, ComparisonSaved) and event.job_id == job_id:
            saved = event
        if isinstance(event, JobStateChanged):
            print(f"{event.job.spec.__struct_config__.tag} {event.job.id}: {event.job.state} {event.job.reason}", flush=True)
            if event.job.error is not None:
                raise SystemExit(f"{event.job.id}: {event.job.error.message}")
            if event.job.id == job_id and event.job.state == "done" and saved is not None:
                return saved
    raise AssertionError("events never end")


def table(effects: tuple[Effect, ...], variants: list[Variant]) -> str:
    """A row a variant: mean, and difference [95 % interval] to baseline and to placebo, for each metric."""
    found = {(effect.metric, effect.arm, effect.against): effect for effect in effects}
    head = ["learning rate", "rank", "steps"]
    head += [f"{metric} {what}" for metric in METRICS for what in ("mean", "- baseline", "- placebo")]
    rows = [head, ["---"] * len(head)]
    for arm in ("placebo", *(variant.name for variant in variants)):
        variant = next((variant for variant in variants if variant.name == arm), None)
        cells = [f"{variant.learning_rate:g}", str(variant.rank), str(variant.max_train_steps)] if variant else [arm, "", ""]
        for metric in METRICS:
            to_baseline, to_placebo = found.get((metric, arm, "baseline")), found.get((metric, arm, "placebo"))
            cells += [f"{to_baseline.mean:.3f}" if to_baseline else "", _difference(to_baseline), _difference(to_placebo)]
        rows.append(cells)
    baseline = {metric: found[metric, "placebo", "baseline"].mean_against for metric in METRICS}
    rows.insert(2, ["baseline", "", "", *(cell for metric in METRICS for cell in (f"{baseline[metric]:.3f}", "", ""))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _difference(effect: Effect | None) -> str:
    return f"{effect.difference:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]" if effect else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=Path.home() / ".cache" / "negtui" / "sweep")
    parser.add_argument("--num-prompts", type=int, default=0, help="blocks; 0: all of the session's prompts")
    parser.add_argument("--variant", type=Variant.parse, action="append", metavar="LR,RANK,STEPS")
    chosen = parser.parse_args()
    variants = chosen.variant or DEFAULT
    saved = asyncio.run(sweep(chosen.workspace, variants, chosen.num_prompts))
    print(f"\n{saved.effects[0].num_blocks} blocks\n\n{table(saved.effects, variants)}\n\n{saved.verdict}")


if __name__ == "__main__":
    main()
