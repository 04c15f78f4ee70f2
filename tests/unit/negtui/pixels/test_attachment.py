from __future__ import annotations

from negtui.pixels.attachment import Attachment


def test_only_another_client_of_tmux_is_another() -> None:
    told = iter(["12 100", "12 100", "", "12 100", "14 230", "14 230"])
    attachment = Attachment(lambda: next(told))
    assert [attachment.is_another() for _ in range(6)] == [False, False, False, False, True, False]
