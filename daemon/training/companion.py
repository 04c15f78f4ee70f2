"""A process that trains with a first one: it loads the same model and data, and takes the same steps on its share of the micro-steps.

It measures and writes nothing, and tells whether it is ready, or what it could not do.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
from pathlib import Path

import msgspec
import torch

from daemon.engine.models import create_engine
from daemon.files import write_atomic
from daemon.protocol.errors import NegError
from daemon.recipe import JobContext
from daemon.training import checkpoint
from daemon.training.accelerated import PeerLost, accelerated
from daemon.training.built import built
from daemon.training.companions import Part, Told, part_path, rendezvous_path, told_path
from daemon.training.loop import does_not_fit
from daemon.training.recipe import make_plan
from daemon.training.trainer import NotFinite

logger = logging.getLogger("daemon.training.companion")


def take_part(folder: Path, rank: int) -> None:
    """Load, tell that this process is ready, and take steps to the last. Raises `NegError`, and `PeerLost` where another is gone."""
    part = msgspec.json.decode(part_path(folder).read_bytes(), type=Part)
    session_path = Path(part.session_path)
    engine = create_engine(Path(part.cache_path))
    context = JobContext(job_id="companion", session=part.job.session, session_path=session_path, engine=engine)
    plan = make_plan(part.job, context)
    if plan.fingerprint != part.fingerprint:
        raise NegError("conflict", "The images or the model changed while the training began.", "Start it again.")
    with built(plan, context) as found:
        if part.step:
            state, _ = checkpoint.read_checkpoint(checkpoint.checkpoint_path(plan.checkpoints_path, part.step), plan.fingerprint)
            found.trainer.restore(state)
        _tell(folder, rank, Told())
        trainer = found.trainer
        with accelerated(trainer.device, trainer.dtype, rank, plan.spec.num_processes, rendezvous_path(folder)) as accelerator:
            trainer.join(accelerator)
            while trainer.step < plan.spec.max_train_steps:
                trainer.take_step()
            # Leaving first would cut the others off from what they have not read yet.
            threading.Event().wait()


def main(arguments: list[str]) -> int:
    """Take part in what lies in folder `arguments[0]` as rank `arguments[1]`; returns 0 where the first process finds the same, else 1.

    1: what is wrong was told, or stands in the log.
    """
    folder, rank = Path(arguments[0]), int(arguments[1])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s companion %(process)d %(levelname)s %(message)s")
    faulthandler.enable()
    try:
        take_part(folder, rank)
    except (PeerLost, NotFinite):
        # The first process finds the same, and tells of it.
        return 0
    except torch.OutOfMemoryError as error:
        _tell(folder, rank, Told(error=does_not_fit(str(error).split(".")[0]).detail))
    except NegError as error:
        _tell(folder, rank, Told(error=error.detail))
    except Exception:
        logger.exception("Process %d of the training failed.", rank + 1)
    return 1


def _tell(folder: Path, rank: int, told: Told) -> None:
    write_atomic(told_path(folder, rank), msgspec.json.encode(told), durable=False)
