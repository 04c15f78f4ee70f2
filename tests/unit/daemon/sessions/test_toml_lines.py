from __future__ import annotations

from daemon.sessions.toml_lines import toml_lines


def test_every_line_is_found() -> None:
    text = (
        'a.b = 1\n[t]\n"x.y" = """\n]\n"""\nz = [ { k = 1,\n m = [2,\n 3] },\n]\n'
        "[[u]]\n[[u]]\nv = '#' # [w]\n[u.n]\no = 1979-05-27T07:32:00Z\n"
    )
    assert toml_lines(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("t",): 2,
        ("t", "x.y"): 3,
        ("t", "z"): 6,
        ("t", "z", 0): 6,
        ("t", "z", 0, "k"): 6,
        ("t", "z", 0, "m"): 7,
        ("t", "z", 0, "m", 0): 7,
        ("t", "z", 0, "m", 1): 8,
        ("u",): 10,
        ("u", 0): 10,
        ("u", 1): 11,
        ("u", 1, "v"): 12,
        ("u", 1, "n"): 13,
        ("u", 1, "n", "o"): 14,
    }
