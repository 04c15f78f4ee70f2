from pathlib import Path
from typing import Any, cast

import pytest

from daemon.recipe import Interrupted, JobContext


def context(**parts: Any) -> JobContext:
    return JobContext(job_id="j", session="s", session_path=Path(), engine=cast(Any, None), **parts)


def test_check_stops_only_when_asked() -> None:
    context().check()
    with pytest.raises(Interrupted) as stopped:
        context(asked=lambda: "pause").check()
    assert stopped.value.how == "pause"


def test_phases_add_up_also_when_interrupted() -> None:
    here = context()
    with here.phase("train"):
        pass
    first = here.timings["train"]
    with pytest.raises(Interrupted), here.phase("train"):
        raise Interrupted("cancel")
    assert here.timings["train"] > first >= 0
