"""Unit tests mirror the source: a source file without a test file fails here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_LOGIC = {"__init__.py"}


def test_every_source_file_has_its_test() -> None:
    sources = [path.relative_to(ROOT) for top in ("negtui", "daemon") for path in (ROOT / top).rglob("*.py")]
    missing = [
        str(source)
        for source in sources
        if source.name not in WITHOUT_LOGIC and not (ROOT / "tests" / "unit" / source.parent / f"test_{source.name}").is_file()
    ]
    assert missing == []
