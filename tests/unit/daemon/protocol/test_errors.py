from daemon.protocol.errors import NegError


def test_an_error_keeps_its_words_over_the_wire() -> None:
    error = NegError("disk_full", "No room.", "Free some.", retryable=True)
    assert str(error) == "No room. Free some."
    assert NegError.from_detail(error.detail).detail == error.detail
