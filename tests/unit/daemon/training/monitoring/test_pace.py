from pathlib import Path

import torch

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.monitoring.pace import Pace, memory_reader, resident_bytes


def test_a_pace_is_there_from_the_second_step_on() -> None:
    pace = Pace("j", TrainingSpec(max_train_steps=3, train_batch_size=2, gradient_accumulation_steps=4), lambda: 7)
    told = []
    for step in (1, 2, 3):
        pace.start()
        told.append(pace.progress(step, {"loss": 0.25 * step, "leak": 1.0}))
    assert [(one.step, one.num_steps, one.phase, one.label, one.memory_bytes) for one in told] == [
        (1, 3, "train", "loss 0.2500", 7),
        (2, 3, "train", "loss 0.5000", 7),
        (3, 3, "train", "loss 0.7500", 7),
    ]
    assert (told[0].steps_per_second, told[0].eta_seconds, told[0].samples_per_second) == (None, None, None)
    assert told[1].samples_per_second == 8 * told[1].steps_per_second
    assert told[1].eta_seconds == 1 / told[1].steps_per_second
    assert told[2].eta_seconds == 0
    assert told[2].values == {"loss": 0.75, "leak": 1.0}


def test_memory_is_what_the_process_holds_on_a_cpu(tmp_path: Path) -> None:
    read = memory_reader(torch.device("cpu"))
    before = read()
    held = torch.ones(2**24)
    assert read() - before > held.nbytes / 2
    assert resident_bytes(tmp_path / "nothing") is None
    (tmp_path / "odd").write_text("odd")
    assert resident_bytes(tmp_path / "odd") is None
