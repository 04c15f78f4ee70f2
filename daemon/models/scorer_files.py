"""The optional scorers: what each reads, under which licence, where its files come from, and which of them lie here. Free of torch.

Files are the user's own: nothing is downloaded. Pickled weights (.pt, .pth, .bin) are refused: reading them can run code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.models.sources import PICKLED_SUFFIXES, weight_files
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ComparisonSpec, ScorerPaths

SCORERS_FOLDER = "scorers"
"""In the workspace, beside `sessions/`: where a scorer's folder lies unless the session says otherwise."""
TOKENIZER = ("tokenizer.json", "vocab.json+merges.txt")


@dataclass(frozen=True)
class ScorerSource:
    """A scorer's licence, where its files come from, and what its folder must hold."""

    name: str
    licence: str
    source: str
    needed: tuple[tuple[str, ...], ...]
    """Each one of: a file's name, or names joined by `+`."""
    weights: str | None = None
    """Its weights' file; None: `model.safetensors`, whole or in shards."""
    hint: str = ""

    @property
    def field(self) -> str:
        """Its name in `comparison.scorer_paths`."""
        return self.name.replace("-", "_").replace(".", "_")


_CLIP = (("config.json",), ("preprocessor_config.json",))
SCORER_SOURCES = {
    one.name: one
    for one in (
        ScorerSource("clip-score", "MIT", "openai/clip-vit-large-patch14, or any CLIP that transformers reads", (*_CLIP, TOKENIZER)),
        ScorerSource(
            "pickscore",
            "MIT",
            "yuvalkirstain/PickScore_v1; what it lacks beside the weights is in laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
            (*_CLIP, TOKENIZER),
        ),
        ScorerSource(
            "hpsv2.1",
            "Apache-2.0",
            "xswu/HPSv2 (HPS_v2.1_compressed.pt), and laion/CLIP-ViT-H-14-laion2B-s32B-b79K for the other files",
            (("open_clip_config.json",), ("preprocessor_config.json",), TOKENIZER),
            "HPS_v2.1_compressed.safetensors",
        ),
        ScorerSource(
            "imagereward",
            "Apache-2.0",
            "THUDM/ImageReward (ImageReward.pt, med_config.json), and google-bert/bert-base-uncased for the tokenizer",
            (("med_config.json",), ("tokenizer.json", "vocab.txt")),
            "ImageReward.safetensors",
        ),
        ScorerSource(
            "aesthetic",
            "Apache-2.0 (the head), MIT (CLIP)",
            "christophschuhmann/improved-aesthetic-predictor (sac+logos+ava1-l14-linearMSE.pth), and openai/clip-vit-large-patch14",
            (*_CLIP, ("aesthetic_head.safetensors",)),
        ),
    )
}


@dataclass(frozen=True)
class ScorerFiles:
    """A scorer's folder, whole, and those of its files that decide what it says."""

    folder: Path
    decisive: tuple[Path, ...]


def find_scorer_files(name: str, paths: ScorerPaths, session_path: Path) -> ScorerFiles:
    """The folder that `comparison.scorer_paths` names, else `scorers/NAME` of the workspace. Raises `NegError` `not_found` in words."""
    source = SCORER_SOURCES[name]
    told = getattr(paths, source.field)
    folder = session_path.parent.parent / SCORERS_FOLDER / name if told is None else session_path / Path(told).expanduser()
    if not folder.is_dir():
        where = "comparison.scorer_paths" if told is not None else "its usual place"
        raise _missing(source, f"there is no folder {folder} ({where})")
    chosen = [_chosen(source, folder, options) for options in source.needed]
    return ScorerFiles(folder, (*_weights(source, folder), *(path for paths in chosen for path in paths)))


def check_scorers(comparison: ComparisonSpec, session_path: Path) -> None:
    """Raises `NegError` where the files of a scorer that is asked for are not here."""
    for name in comparison.scorers:
        if name in SCORER_SOURCES:
            find_scorer_files(name, comparison.scorer_paths, session_path)


def _chosen(source: ScorerSource, folder: Path, options: Sequence[str]) -> list[Path]:
    """The files of the first option that is there."""
    for option in options:
        paths = [folder / part for part in option.split("+")]
        if all(path.is_file() for path in paths):
            return paths
    pickled = [path for path in _pickled(folder) if path.stem in {option.partition(".")[0] for option in options}]
    if pickled:
        raise _refused(source, pickled[0], folder / options[0])
    raise _missing(source, f"{folder} holds no {' or '.join(option.replace('+', ' with ') for option in options)}")


def _weights(source: ScorerSource, folder: Path) -> tuple[Path, ...]:
    if source.weights is None:
        try:
            return weight_files(folder, "float32")
        except NegError:
            pickled = _pickled(folder)
            if pickled:
                raise _refused(source, pickled[0], folder / "model.safetensors") from None
            raise _missing(source, f"{folder} holds no model.safetensors") from None
    path = folder / source.weights
    if path.is_file():
        return (path,)
    pickled = _pickled(folder)
    if pickled:
        raise _refused(source, pickled[0], path)
    raise _missing(source, f"{folder} holds no {source.weights}")


def _pickled(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in PICKLED_SUFFIXES)


def _missing(source: ScorerSource, what: str) -> NegError:
    return NegError(
        "not_found",
        f"The scorer {source.name} has no files here: {what}.",
        f"Get them ({source.licence}) from {source.source}, or remove it from comparison.scorers. docs/measures.md says what is needed.",
    )


def _refused(source: ScorerSource, path: Path, wanted: Path) -> NegError:
    return NegError(
        "invalid",
        f"The scorer {source.name}: {path} is a pickle, which can run code when it is read, and is refused.",
        f"Convert it to {wanted.name} where you trust it; docs/measures.md has the lines.",
    )
