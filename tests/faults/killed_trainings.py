"""Trainings of the tiny SDXL under kill -9, each forked from one process that has imported torch: a program of `test_training_kills.py`.

    PYTHONPATH=.:tests/unit/daemon/training python tests/faults/killed_trainings.py FOLDER SEED NUM_KILLS

Draws options and a person's orders at random, trains undisturbed, then again under kills at random moments, until so many hit. For each
training it prints the hash of the undisturbed run's files, that of the killed one's, how often it was killed, and what was drawn.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tiny_sdxl import Orders, TinyEngine, files_sha256, make_context, make_job, make_parts, make_session

from daemon.protocol.events import EphemeralEvent, StepProgress
from daemon.protocol.orders import Checkpoint, LearningRate, Order, StopAndKeep
from daemon.protocol.specs import TrainJob

MAX_KILLS_OF_ONE = 8
NOT_OF_INVERSION = {"caption_dropout": 0.0, "preservation_weight": 0.0, "with_prior_preservation": False, "class_data_dir": None}


def draw_options(draw: random.Random) -> dict[str, Any]:
    """Options of a training at random, from all that has a state of its own or draws at random."""
    optimizer = draw.choice(
        [
            {"optimizer": "adamw", "ema_decay": draw.choice([0.0, 0.9])},
            {"optimizer": "adafactor", "ema_decay": draw.choice([0.0, 0.9])},
            {"optimizer": "prodigy", "learning_rate": 1.0},
            {"optimizer": "schedulefree", "lr_scheduler": "constant_with_warmup"},
        ]
    )
    adapter = draw.choice(
        [
            {"lora_dropout": draw.choice([0.0, 0.3]), "train_text_encoder": draw.random() < 0.3},
            {"use_dora": True, "target_modules": "attention+feed_forward+convolution"},
            {"peft_type": "loha"},
            {"peft_type": "lokr", "gradient_checkpointing": True},
            {"method": "textual_inversion", "initializer_token": "blurry", **NOT_OF_INVERSION},
        ]
    )
    prior = {"with_prior_preservation": True, "class_prompt": "a star", "class_data_dir": "classes"}
    watched = {
        "validation_steps": draw.choice([2, 3]),
        "validation_images": draw.choice([0, 2]),
        "early_stopping": draw.random() < 0.5,
        "early_stopping_patience": draw.choice([1, 2]),
        **draw.choice([{}, {"sample_steps": 4, "sample_prompts": ("a star",), "sample_num_inference_steps": 2}]),
    }
    return {
        "max_train_steps": 8,
        "checkpointing_steps": draw.choice([1, 3]),
        "train_batch_size": draw.choice([1, 2]),
        "gradient_accumulation_steps": draw.choice([1, 3]),
        "caption_dropout": draw.choice([0.0, 0.4]),
        "random_flip": draw.random() < 0.5,
        "center_crop": draw.random() < 0.5,
        "preservation_weight": draw.choice([0.0, 0.0, 0.5]),
        "snr_gamma": draw.choice([None, 5.0]),
        "noise_offset": draw.choice([0.0, 0.1]),
        "timestep_sampling": draw.choice(["uniform", "logit_normal"]),
        **draw.choice([{}, {}, {"aspect_ratio_buckets": True, "bucket_step": 8}]),
        **draw.choice([{}, {}, prior]),
        **draw.choice([{}, watched]),
        **optimizer,
        **adapter,
    }


def draw_orders(draw: random.Random) -> Orders:
    """What a person orders, by the step it comes after."""
    return draw.choice([{}, {3: (LearningRate(value=0.003),)}, {2: (Checkpoint(),), 5: (LearningRate(value=0.02), StopAndKeep())}])


def run_in_child(
    session_path: Path, parts: Any, job: TrainJob, on_tell: Callable[[], None], orders: Mapping[int, tuple[Order, ...]]
) -> None:
    """The body of a forked child: train to the end; `on_tell()` is called with every piece of progress."""
    from daemon.training.recipe import train

    steps, waiting = [0], dict(orders)

    def tell(event: EphemeralEvent) -> None:
        if isinstance(event, StepProgress) and event.phase == "train":
            steps.append(event.step)
        on_tell()

    context = make_context(session_path, TinyEngine(parts), tell=tell, orders=lambda: waiting.pop(steps[-1], ()))
    for _ in train(job, context):
        pass


def _write_dot(descriptor: int) -> None:
    os.write(descriptor, b".")


def kill_until_done(
    session_path: Path,
    parts: Any,
    job: TrainJob,
    draw: random.Random,
    max_kills: int,
    orders: Orders | None = None,
) -> int:
    """Start the training again and again, SIGKILL it at a random moment up to `max_kills` times; returns how many hit it alive."""
    num_kills = 0
    while True:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run_in_child(session_path, parts, job, functools.partial(_write_dot, writing), orders or {})
                code = 0
            except Exception:
                traceback.print_exc()
            os._exit(code)
        os.close(writing)
        if num_kills < max_kills:
            # Skewed: many die early, some late.
            for _ in range(int(draw.choice([12, 12, 50]) * draw.random()) + 1):
                if not os.read(reading, 1):
                    break
            time.sleep(draw.uniform(0, 0.03))
            os.kill(pid, signal.SIGKILL)
        else:
            while os.read(reading, 2**16):
                pass
        status = os.waitpid(pid, 0)[1]
        os.close(reading)
        if not os.WIFSIGNALED(status):
            if os.WEXITSTATUS(status):
                raise SystemExit("the training failed")
            if num_kills >= max_kills or (session_path / "adapters").is_dir():
                return num_kills
        num_kills += os.WIFSIGNALED(status)


def main() -> None:
    import torch

    torch.set_num_threads(1)
    import daemon.training.run  # noqa: F401

    folder, seed, num_kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    parts, draw = make_parts(), random.Random(seed)
    done = 0
    for number in range(10**6):
        options, orders = draw_options(draw), draw_orders(draw)
        paths = [make_session(folder / f"{number}-{name}", num_class_images=3) for name in ("undisturbed", "killed")]
        kill_until_done(paths[0], parts, make_job(**options), draw, 0, orders)
        hits = kill_until_done(paths[1], parts, make_job(**options), draw, min(MAX_KILLS_OF_ONE, num_kills - done), orders)
        done += hits
        print(*(files_sha256(path) for path in paths), hits, options, orders, flush=True)
        if done >= num_kills:
            return


if __name__ == "__main__":
    main()
