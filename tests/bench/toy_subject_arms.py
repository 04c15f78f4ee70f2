"""The author's wish on the toy: a negative LoRA beside a subject's. Is the subject kept, and are there fewer flaws?

    python tests/bench/toy_subject_arms.py [--blocks 200] [--session DIR]

In a session of its own `wrong` is trained as sessions/toy has it, and the cross of `subject_lora.py` as a subject ("a zwx on a white
background"); then the preset `subject` paints "a zwx on a ... background" on every ground. A picture shows the subject where its outline
is read as a cross, without a network; flaws are the probe's opinion. Differences are to the arm `subject`, paired by block, with 95 %
intervals that draw whole prompts. Interrupted, it goes on where it was, in the same --session.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import msgspec
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from subject_lora import COMMON, OTHER_PROMPT, SUBJECT, Reader, cross

from daemon import sessions
from daemon.comparison.recipe import compare
from daemon.comparison.stats import paired_bootstrap
from daemon.engine.models import LocalEngine, create_engine
from daemon.measuring.scorers.toy_probe import load_probe
from daemon.protocol.events import ImageSaved
from daemon.protocol.specs import CompareJob, PromptSpec, SessionSpec, TrainJob, job_specs
from daemon.recipe import JobContext
from daemon.synthesis.recipe import synthesize
from daemon.toy import PROBE_PATH
from daemon.toy.scenes import BACKGROUNDS, COLOURS
from daemon.training.recipe import train

NAME = "subject"
ADAPTER = "zwx"
Cells = dict[str, list[tuple[float, float]]]
"""By arm, in the blocks' order: whether the subject is shown, and the flaw probability."""


def make_session(sessions_path: Path, num_blocks: int) -> SessionSpec:
    """The toy's session, with blocks of the subject on every ground, and its pictures in `crosses/`."""
    if not (sessions_path / NAME).exists():
        sessions_path.mkdir(parents=True, exist_ok=True)
        sessions.create(sessions_path, NAME, "toy", {})
    folder = sessions_path / NAME / "crosses"
    folder.mkdir(exist_ok=True)
    for index, colour in enumerate(COLOURS):
        if math.dist(COLOURS[colour], BACKGROUNDS["white"]) > 95:
            cross(100 + index, colour, "white").save(folder / f"{index}.png")
    spec = sessions.read(sessions_path, NAME)
    assert spec.comparison is not None
    comparison = msgspec.structs.replace(
        spec.comparison,
        subject=ADAPTER,
        prompts=tuple(PromptSpec(prompt=OTHER_PROMPT.format(ground)) for ground in BACKGROUNDS),
        prompts_file=None,
        num_prompts=0,
        seeds=tuple(range(math.ceil(num_blocks / len(BACKGROUNDS)))),
        scorers=(),
        diagnose_blocks=0,
    )
    return msgspec.structs.replace(spec, comparison=comparison)


def run(spec: SessionSpec, sessions_path: Path, engine: LocalEngine) -> list[ImageSaved]:
    """Synthesise, train both adapters, paint the arms; the pictures by arm and block."""
    context = JobContext(job_id="bench", session=NAME, session_path=sessions_path / NAME, engine=engine)
    jobs = job_specs(NAME, spec, preset="subject")
    subject = msgspec.structs.replace(COMMON, output_name=ADAPTER, instance_data_dir="crosses")
    for what, events in (
        ("synthesise", synthesize(jobs["synthesize"], context)),
        ("train wrong", train(jobs["train"], context)),
        ("train the subject", train(TrainJob(session=NAME, model=spec.model, training=subject), context)),
    ):
        print(what, file=sys.stderr, flush=True)
        for _ in events:
            pass
    print("compare", file=sys.stderr, flush=True)
    assert isinstance(jobs["compare"], CompareJob)
    return [event for event in compare(jobs["compare"], context) if isinstance(event, ImageSaved)]


def read(images: list[ImageSaved], session_path: Path) -> Cells:
    reader, probe = Reader(), load_probe(PROBE_PATH)
    found: Cells = {}
    for event in sorted(images, key=lambda event: event.index):
        with Image.open(session_path / event.image.path) as opened:
            image = opened.convert("RGB")
        flaws = probe([image], [event.image.request.prompt])[0]["flaw_probability"]
        found.setdefault(str(event.image.arm), []).append((float(reader.read(image)[0] == SUBJECT), flaws))
    return found


def table(cells: Cells, num_seeds: int) -> str:
    """A Markdown row an arm: mean, and difference to `subject` with its interval."""
    clusters = [block // num_seeds for block in range(len(cells["subject"]))]
    lines = ["| arm | subject shown | - subject | flaw probability | - subject |", "|---|---|---|---|---|"]
    for arm in cells:
        row = [arm]
        for place in (0, 1):
            own, other = ([cell[place] for cell in cells[name]] for name in (arm, "subject"))
            interval = paired_bootstrap([one - two for one, two in zip(own, other, strict=True)], clusters)
            difference = "" if arm == "subject" else f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
            row += [f"{sum(own) / len(own):.3f}", difference]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=200, help="rounded up to whole seeds on every ground")
    parser.add_argument("--session", type=Path, default=Path.home() / ".cache" / "negtui" / "subject-arms", metavar="DIR")
    given = parser.parse_args()
    sessions_path = given.session / "sessions"
    spec = make_session(sessions_path, given.blocks)
    engine = create_engine(given.session / "cache")
    images = run(spec, sessions_path, engine)
    engine.close()
    assert spec.comparison is not None
    cells = read(images, sessions_path / NAME)
    print(f"{len(cells['subject'])} blocks, {len(BACKGROUNDS)} prompts\n\n{table(cells, len(spec.comparison.seeds))}")


if __name__ == "__main__":
    main()
