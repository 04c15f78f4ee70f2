from __future__ import annotations

from daemon.protocol.events import Preview
from negtui.messages import Noticed, PreviewArrived, ViewChanged


def test_messages_carry_what_they_were_given() -> None:
    preview = Preview(job_id="a", image_id="i", step=1, num_steps=2)
    assert ViewChanged(frozenset({"jobs"})).changed == {"jobs"}
    assert PreviewArrived(preview).preview is preview
    assert (Noticed("done").text, Noticed("done").severity) == ("done", "information")
