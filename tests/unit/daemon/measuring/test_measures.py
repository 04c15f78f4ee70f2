"""Every picture is measured once by every version of a scorer, however often the comparison is run or torn."""

import importlib
from pathlib import Path

import pytest
from counting import CountingScorer
from painting import Desk, draw, request

from daemon import toy
from daemon.files import sha256_file, write_atomic
from daemon.measuring import measures
from daemon.measuring.measures import BATCH_SIZE, PLAIN, Scorer, Subject, find_scorers, measure, reader
from daemon.pictures import encode_png
from daemon.protocol.errors import NegError
from daemon.protocol.events import StepProgress
from daemon.protocol.specs import ComparisonSpec
from daemon.recipe import Interrupted


def scorers(*names: str) -> tuple[Scorer, ...]:
    return (PLAIN, *find_scorers(ComparisonSpec(scorers=names), Path("sessions/mine")))


def subjects(folder: Path, count: int = 3) -> list[Subject]:
    found = []
    for seed in range(count):
        path = folder / f"{seed}.png"
        path.write_bytes(encode_png(draw(request(seed=seed, width=16, height=16))))
        found.append(Subject(path, sha256_file(path), f"star {seed}"))
    return found


def test_a_rerun_measures_nothing_and_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CountingScorer().install(monkeypatch)
    pictures, cache = subjects(tmp_path), tmp_path / "measures.jsonl"
    first = measure(Desk(tmp_path).context, pictures, scorers("toy-probe"), cache)
    again = measure(Desk(tmp_path).context, pictures, scorers("toy-probe"), cache)
    assert first == again
    assert (scorer.num_measured, scorer.num_loads) == (3, 1)
    assert set(first[pictures[0].sha256]) >= {"sharpness", "contrast", "flaw_probability", "adherence"}


def test_pictures_are_read_one_by_one_by_scorers_that_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CountingScorer().install(monkeypatch)
    read = reader(find_scorers(ComparisonSpec(scorers=("toy-probe",)), tmp_path))
    assert scorer.num_loads == 0
    pictures = subjects(tmp_path, 2)
    found = {one.sha256: read(one.path, one.prompt) for one in pictures}
    assert (scorer.num_measured, scorer.num_loads) == (2, 1)
    scorers_alone = find_scorers(ComparisonSpec(scorers=("toy-probe",)), tmp_path)
    assert found == measure(Desk(tmp_path).context, pictures, scorers_alone, tmp_path / "measures.jsonl")
    assert reader(())(pictures[0].path, "star") == {}


def test_a_new_version_measures_again_and_a_new_picture_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, pictures = tmp_path / "measures.jsonl", subjects(tmp_path, 4)
    old = CountingScorer("v1").install(monkeypatch)
    measure(Desk(tmp_path).context, pictures[:3], scorers("toy-probe"), cache)
    measure(Desk(tmp_path).context, pictures, scorers("toy-probe"), cache)
    assert old.num_measured == 4
    new = CountingScorer("v2").install(monkeypatch)
    measure(Desk(tmp_path).context, pictures, scorers("toy-probe"), cache)
    assert new.num_measured == 4


def test_equal_files_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CountingScorer().install(monkeypatch)
    measure(Desk(tmp_path).context, subjects(tmp_path, 1) * 3, scorers("toy-probe"), tmp_path / "measures.jsonl")
    assert scorer.num_measured == 1


def test_a_torn_cache_costs_its_torn_line_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CountingScorer().install(monkeypatch)
    pictures, cache = subjects(tmp_path), tmp_path / "measures.jsonl"
    first = measure(Desk(tmp_path).context, pictures, scorers("toy-probe"), cache)
    cache.write_bytes(cache.read_bytes()[:-9])
    assert measure(Desk(tmp_path).context, pictures, scorers("toy-probe"), cache) == first
    assert scorer.num_measured == 4
    assert measure(Desk(tmp_path).context, pictures, scorers("toy-probe"), cache) == first
    assert scorer.num_measured == 4


def test_stopped_between_batches_it_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CountingScorer().install(monkeypatch)
    pictures, cache = subjects(tmp_path, 2 * BATCH_SIZE), tmp_path / "measures.jsonl"
    desk = Desk(tmp_path, stop_after=5)  # plain: at the start and before 2 batches; the scorer: at the start, before a batch
    with pytest.raises(Interrupted):
        measure(desk.context, pictures, scorers("toy-probe"), cache)
    assert scorer.num_measured == BATCH_SIZE
    measure(Desk(tmp_path).context, pictures, scorers("toy-probe"), cache)
    assert scorer.num_measured == 2 * BATCH_SIZE


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    measure(desk.context, subjects(tmp_path, 20), scorers(), tmp_path / "measures.jsonl")
    told = [(event.phase, event.step, event.num_steps) for event in desk.told if isinstance(event, StepProgress)]
    assert told == [("measure", BATCH_SIZE, 20), ("measure", 20, 20)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_not_finite_is_an_error_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    scorer = CountingScorer().install(monkeypatch)
    monkeypatch.setattr(scorer, "measure", lambda images, prompts: [{"flaw_probability": value}])
    with pytest.raises(NegError, match=r"toy-probe says that flaw_probability is .* in 0\.png") as refused:
        measure(Desk(tmp_path).context, subjects(tmp_path, 1), scorers("toy-probe"), tmp_path / "measures.jsonl")
    assert refused.value.detail.code == "corrupt"
    assert b"toy-probe" not in (tmp_path / "measures.jsonl").read_bytes()


def test_figures_are_rounded_to_six_digits(tmp_path: Path) -> None:
    (values,) = measure(Desk(tmp_path).context, subjects(tmp_path, 1), scorers(), tmp_path / "measures.jsonl").values()
    assert all(value == float(f"{value:.6g}") for value in values.values())


def test_the_probe_s_version_follows_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "PROBE_PATH", tmp_path)
    with pytest.raises(NegError) as caught:
        scorers("toy-probe")
    assert caught.value.detail.code == "not_found"
    versions = set()
    for weights in (b"one", b"two"):
        (tmp_path / "probe.safetensors").write_bytes(weights)
        versions.add(scorers("toy-probe")[1].version)
    assert len(versions) == 2


def test_a_scorer_of_files_follows_them_and_loads_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session_path, folder = tmp_path / "sessions/mine", tmp_path / "scorers/clip-score"
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"):
        write_atomic(folder / name, b"one")
    spec = ComparisonSpec(scorers=("clip-score",))
    (scorer,) = find_scorers(spec, session_path)
    assert (scorer.name, find_scorers(spec, session_path)[0].version) == ("clip-score", scorer.version)
    with pytest.raises(NegError, match="cannot be read"):
        scorer.load()
    write_atomic(folder / "model.safetensors", b"another")
    assert find_scorers(spec, session_path)[0].version != scorer.version
    (folder / "config.json").unlink()
    with pytest.raises(NegError, match=r"holds no config\.json"):
        find_scorers(spec, session_path)


@pytest.mark.parametrize("name", measures._LOADERS)
def test_every_scorer_s_loader_is_there(name: str) -> None:
    module, load = measures._LOADERS[name]
    assert callable(getattr(importlib.import_module(module), load))
