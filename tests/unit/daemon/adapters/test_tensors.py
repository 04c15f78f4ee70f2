import safetensors
import safetensors.torch
import torch

from daemon.adapters.tensors import from_bytes, to_bytes

WEIGHTS = {"b.weight": torch.arange(6.0).view(2, 3), "a": torch.ones(3, dtype=torch.float16), "empty": torch.zeros(0, 4)}
METADATA = {f"key {number}": "ä\n" * number for number in range(12)}


def test_bytes_depend_on_content_only() -> None:
    backwards = dict(reversed(list(WEIGHTS.items())))
    found = {to_bytes(WEIGHTS, METADATA), to_bytes(backwards, dict(reversed(list(METADATA.items()))))}
    found |= {to_bytes({name: weight.clone() for name, weight in WEIGHTS.items()}, METADATA) for _ in range(8)}
    assert len(found) == 1
    # The library itself does not promise that.
    assert len({safetensors.torch.save(WEIGHTS, METADATA) for _ in range(20)}) > 1


def test_the_library_reads_them(tmp_path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(to_bytes(WEIGHTS, METADATA))
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == METADATA
        assert all(torch.equal(file.get_tensor(name), weight) for name, weight in WEIGHTS.items())
    assert {name: weight.dtype for name, weight in from_bytes(path.read_bytes()).items()} == {n: w.dtype for n, w in WEIGHTS.items()}


def test_views_and_gradients_are_no_trouble() -> None:
    weight = torch.arange(12.0).view(3, 4).requires_grad_()
    assert torch.equal(from_bytes(to_bytes({"t": weight.T}))["t"], weight.T)
