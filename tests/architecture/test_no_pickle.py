"""No pickle in any disguise, anywhere in the tree."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = re.compile(
    r"^\s*(?:from|import)\s+(?:pickle|dill|cloudpickle|joblib|shelve|marshal|multiprocessing)\b"
    r"|\brecv_pyobj\b|\bsend_pyobj\b|(?<!safetensors\.)\btorch\.(?:load|save)\(|\byaml\.load\(|\ballow_pickle\s*=\s*True",
    re.MULTILINE,
)


def test_the_pattern_finds_what_it_forbids() -> None:
    assert FORBIDDEN.search("x = 1\nimport pickle\n")
    assert FORBIDDEN.search("state = torch.load(path)")
    assert not FORBIDDEN.search("# pickled checkpoints are refused")
    assert not FORBIDDEN.search("weights = safetensors.torch.load(content)")


def test_no_source_file_pickles() -> None:
    files = [*ROOT.glob("negtui/**/*.py"), *ROOT.glob("daemon/**/*.py")]
    assert len(files) > 10
    assert [str(path) for path in files if FORBIDDEN.search(path.read_text())] == []
