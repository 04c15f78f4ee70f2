"""The finished adapter of a training, and its record, in the session. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from daemon.adapters import placing
from daemon.adapters.placing import WEIGHTS_NAME, Place
from daemon.files import sha256_file, write_atomic
from daemon.models.embedding_files import EMBEDDING_FILE
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved
from daemon.protocol.training_spec import TrainingSpec, exported_steps
from daemon.training.adapters.card import model_card
from daemon.training.adapters.metadata import TrainingRecord
from daemon.training.plan import TrainingPlan

RECORD_NAME = "training.json"


def weights_name(spec: TrainingSpec) -> str:
    """The file of an adapter folder that is the result of such a training."""
    return EMBEDDING_FILE if spec.method == "textual_inversion" else WEIGHTS_NAME


def find_finished(plan: TrainingPlan, warn: Callable[[str], None]) -> AdapterSaved | None:
    """The adapter of this very run, if it is there; see `placing.find_finished`."""
    return placing.find_finished(_place(plan), warn)


def save_adapter(plan: TrainingPlan, files: Mapping[str, bytes], record: TrainingRecord) -> AdapterSaved:
    """Put weight files, model card and record under their name, all or none. Raises `NegError` `disk_full`."""
    return placing.save(_place(plan), files, model_card(plan, record), RECORD_NAME, record)


def keep_step(plan: TrainingPlan, step: int, files: Mapping[str, bytes]) -> None:
    """Put the adapter of a step where it waits for the finished one. Raises `NegError` `disk_full`."""
    name = weights_name(plan.spec)
    write_atomic(plan.exported_path / placing.step_folder(step) / name, files[name])


def kept_steps(plan: TrainingPlan) -> dict[str, bytes]:
    """Name in the adapter's folder -> content of the adapters of earlier steps that were kept."""
    names = [f"{placing.step_folder(step)}/{weights_name(plan.spec)}" for step in exported_steps(plan.spec)]
    return {name: path.read_bytes() for name in names if (path := plan.exported_path / name).is_file()}


def missing_steps(plan: TrainingPlan, last_step: int) -> list[int]:
    """Steps that the plan wants kept, up to the adapter's last one, and that are not in the adapter's folder."""
    name = weights_name(plan.spec)
    wanted = [step for step in exported_steps(plan.spec) if step <= last_step]
    return [step for step in wanted if not (plan.adapter_path / placing.step_folder(step) / name).is_file()]


def read_record(folder: Path) -> TrainingRecord | None:
    """An adapter folder's provenance, or None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / RECORD_NAME).read_bytes(), type=TrainingRecord)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def init_adapter_sha256(session_path: Path, spec: TrainingSpec) -> str | None:
    """Hash of the weights that a training starts from: a part of what decides its own. None where it starts from nothing."""
    if spec.init_adapter is None:
        return None
    path = session_path / "adapters" / spec.init_adapter / weights_name(spec)
    if not path.is_file():
        raise NegError(
            "not_found",
            f"There is no adapter {spec.init_adapter!r} in this session to start from.",
            "Train it first, or clear init_adapter.",
        )
    return sha256_file(path)


def _place(plan: TrainingPlan) -> Place:
    return Place(plan.job_id, plan.job.session, plan.session_path, plan.spec.output_name, plan.fingerprint, weights_name(plan.spec))
