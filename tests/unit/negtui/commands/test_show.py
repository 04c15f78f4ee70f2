from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from daemon.picture_text import picture_text
from daemon.pictures import encode_png, image_id
from daemon.protocol import codec
from daemon.protocol.commands import ReadEvents, StoredEvents
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, ImageRequest
from negtui.commands.show import inline
from negtui.pixels.base import Backend, Choice
from tests.fake_daemon import JOBS, FakeDaemon, call, image
from tests.fake_terminal import FakeTerminal, difference
from tests.sample_pictures import png, typical

ASKED = ImageRequest(
    base_sha256="ba5e" * 16,
    torch_dtype="float32",
    adapters=(AdapterRequest(sha256="ab" * 32, weight=1.0),),
    prompt="a wolf\nin \x1b[31mthe snow",
    seed=7,
    guidance_scale=5.0,
    num_inference_steps=4,
    width=64,
    height=64,
)


class WithFiles(FakeDaemon):
    """A fake daemon that also serves files, and the events of all jobs."""

    def _stored(self, command: ReadEvents) -> StoredEvents:
        found = list(enumerate(self.log, start=1))[command.since_seq : command.since_seq + 1]
        events = tuple(codec.encode(event) for _, event in found)
        return StoredEvents(seqs=tuple(seq for seq, _ in found), times=(0.0,) * len(found), events=events, head_seq=len(self.log))

    async def fetch(self, session: str, path: str) -> bytes:
        if (session, path) != ("toy", "dataset/abcd12.png"):
            raise NegError("not_found", f"{path} of {session} is not there.")
        return png(typical(512))


def saved(daemon: FakeDaemon, id: str, path: str = "dataset/abcd12.png") -> None:
    event = image(daemon.add(next(iter(JOBS.values()))), 0, False)
    daemon.log.append(msgspec.structs.replace(event, image=msgspec.structs.replace(event.image, id=id, path=path)))


@pytest.mark.parametrize(("backend", "far"), [("kitty", 1.0), ("sixel", 6.0), ("half", 30.0)])
def test_the_picture_stands_in_the_text_and_the_prompt_below_it(backend: Backend, far: float) -> None:
    terminal = FakeTerminal(60, 24)
    content = inline(typical(512), 40, 20, Choice(backend=backend))
    terminal.feed(b"before\n" + content + b"after")
    assert difference(terminal.picture(0, 1, 40, 20), typical(512).resize((400, 400), Image.Resampling.LANCZOS)) < far
    assert terminal.text.splitlines()[0] == "before"
    assert terminal.text.splitlines()[21] == "after"


def test_off_draws_nothing_and_shades_are_plain_text() -> None:
    assert inline(typical(512), 10, 5, Choice(backend="off")) == b""
    shades = inline(typical(512), 10, 5, Choice(backend="half", colours="none", ascii=True))
    assert b"\x1b" not in shades
    assert [len(line) for line in shades.decode().splitlines()] == [10] * 5


def test_a_file_is_shown_without_a_daemon(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(typical(512)))
    daemon = FakeDaemon()
    code, out, _ = call(daemon, "show", str(path))
    assert code == 0
    assert out.strip() == f"{path}  512 x 512"
    assert daemon.started is None
    code, out, _ = call(daemon, "show", str(path), "--images", "half", "--width", "10", "--ascii")
    assert [len(line) for line in out.splitlines()[:5]] == [10] * 5
    code, out, _ = call(daemon, "--json", "show", str(path))
    assert json.loads(out) == {"path": str(path), "width": 512, "height": 512}


def test_info_is_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(typical(64), picture_text(ASKED)))
    code, out, _ = call(FakeDaemon(), "show", str(path), "--info")
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines()[1:])
    assert lines["id"] == image_id(ASKED)
    assert lines["prompt"] == '"a wolf\\nin \\u001b[31mthe snow"'
    assert lines["adapters"] == f'[{{"sha256": "{"ab" * 32}", "weight": 1.0}}]'
    code, out, _ = call(FakeDaemon(), "--json", "show", str(path), "--info")
    assert json.loads(out)["says"]["seed"] == 7
    path.write_bytes(png(typical(64)))
    assert "says nothing" in call(FakeDaemon(), "show", str(path), "--info")[1]


def test_the_beginning_of_an_id_suffices() -> None:
    daemon = WithFiles()
    saved(daemon, "abcd12ef")
    code, out, _ = call(daemon, "--json", "show", "abcd1")
    assert code == 0
    assert json.loads(out)["prompt"] == "p"
    assert json.loads(out)["path"] == "dataset/abcd12.png"
    code, out, _ = call(daemon, "show", "abcd1")
    assert "p (seed 0, guidance 5)" in out
    code, out, _ = call(daemon, "show", "toy/dataset/abcd12.png", "--images", "half", "--width", "8", "--ascii")
    assert code == 0
    assert "512 x 512" in out


def test_a_picture_too_large_to_be_decoded_is_no_fault_of_negtui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    code, _, err = call(FakeDaemon(), "show", str(tmp_path / "large.png"))
    assert code == 2
    assert "is no picture that can be shown" in err


@pytest.mark.parametrize("cells", ["-5", "0", "wide"])
def test_a_size_that_cannot_be_is_refused(cells: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        call(FakeDaemon(), "show", "a.png", f"--width={cells}")
    assert f"{cells!r} is no number of cells, e.g. 60" in capsys.readouterr().err


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    daemon = WithFiles()
    saved(daemon, "abcd12ef")
    saved(daemon, "abcd99ef")
    (tmp_path / "text.png").write_text("hello")
    for asked, words in (
        ("nowhere.png", "There is no file nowhere.png"),
        ("ffff", "neither a file nor a picture"),
        ("abcd", "begins the ids of 2 pictures"),
        ("toy/dataset/other.png", "is not there"),
        (str(tmp_path / "text.png"), "is no picture that can be shown"),
    ):
        code, out, err = call(daemon, "show", asked)
        assert code == 2, asked
        assert words in err
        assert out == ""


def test_pictures_go_to_a_binary_stream_whole() -> None:
    from negtui.commands.show import draw

    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    draw(typical(512), stream, Choice(backend="half"), 10, 5)
    assert stream.buffer.getvalue().count(b"\n") == 5  # type: ignore[attr-defined]
