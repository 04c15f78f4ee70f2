import pytest

from daemon.protocol.errors import NegError
from negtui.ssh import Target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ssh://host", Target("host")),
        ("ssh://host/", Target("host")),
        ("ssh://me@host.example:2222/srv/work", Target("host.example", "me", 2222, "/srv/work")),
        ("ssh://host/~/my%20work/", Target("host", None, None, "~/my work")),
        ("ssh://[::1]:22", Target("::1", None, 22)),
    ],
)
def test_addresses(url: str, target: Target) -> None:
    assert Target.parse(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "http://host",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://-l@host",
        "ssh://host:99999",
        "ssh://me:secret@host",
        "ssh://a b",
        "ssh://h;id",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(NegError, match="not an address") as refused:
        Target.parse(url)
    assert "ssh://" in refused.value.detail.hint


def test_the_command_has_the_options_first_and_the_host_behind_a_barrier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_SSH_OPTIONS", "-F 'my config'")
    assert Target("host", "me", 22).command("-T") == ["ssh", "-F", "my config", "-p", "22", "-T", "--", "me@host"]
