from __future__ import annotations

import msgspec

from daemon.protocol.merging_spec import MergeSpec, ParentAdapter
from daemon.protocol.specs import MergeJob
from tests.fake_daemon import SPEC, FakeDaemon, call

BOTH = MergeSpec(adapters=(ParentAdapter(name="wrong"), ParentAdapter(name="subject", weight=0.7)), output_name="both")


def test_what_the_command_line_says_is_merged() -> None:
    daemon = FakeDaemon()
    code, out, err = call(daemon, "merge", "toy", "--adapters", "wrong=1.0", "subject=0.7", "--output", "both", "--detach")
    assert (code, err) == (0, "")
    assert daemon.submitted == [(MergeJob(session="toy", model=SPEC.model, merging=BOTH), ())]
    assert "merge toy/both" in out


def test_without_adapters_what_the_session_declares_is_merged_one_after_the_other() -> None:
    daemon = FakeDaemon()
    other = msgspec.structs.replace(BOTH, output_name="other")
    daemon.spec = msgspec.structs.replace(SPEC, merging=(BOTH, other))
    assert call(daemon, "merge", "toy", "--detach")[0] == 0
    assert [(spec.merging, after) for spec, after in daemon.submitted] == [(BOTH, ()), (other, ("job1",))]  # type: ignore[union-attr]


def test_what_cannot_be_merged_is_said() -> None:
    for arguments, words in (
        ((), "has no [merging]"),
        (("--combination", "svd"), "Which adapters"),
        (("--adapters", "wrong"), "This is no merge"),
        (("--adapters", "wrong", "subject", "--combination", "ties"), "needs a density"),
    ):
        daemon = FakeDaemon()
        code, _, err = call(daemon, "merge", "toy", *arguments)
        assert (code, daemon.submitted) == (2, [])
        assert words in err
