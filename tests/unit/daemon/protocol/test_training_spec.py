"""Bounds of the options, and the tables of docs/training.md: run as a program, this file writes them again."""

import ast
import inspect
import sys
from pathlib import Path

import msgspec
import pytest

from daemon.protocol import training_spec
from daemon.protocol.training_spec import TrainingSpec
from daemon.sessions.allowed import in_words, type_at

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "training.md"
BEGIN, END = "<!-- options: begin -->\n", "<!-- options: end -->\n"


def meanings() -> dict[str, tuple[str, str]]:
    """The chapter (the comment above it) and the docstring of every option, in the order of the file."""
    source = inspect.getsource(training_spec)
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    lines, chapter, found = source.splitlines(), "The result", {}
    last_line = body[0].lineno
    for node, after in zip(body, [*body[1:], None], strict=True):
        for line in lines[last_line : node.lineno - 1]:
            chapter = line.strip("# .") if line.strip().startswith("#") else chapter
        last_line = node.end_lineno or node.lineno
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            found[node.target.id] = (chapter, " ".join(str(after.value.value).split()) if said else "")
    return found


def options_table() -> str:
    """Every option with its default, what it may be and what it means, one table a chapter, as Markdown."""
    chapters: dict[str, list[str]] = {}
    defaults = msgspec.to_builtins(TrainingSpec())
    for name, (chapter, meaning) in meanings().items():
        kind = type_at(("training", name))
        assert kind is not None
        allowed = in_words(kind).replace("|", r"\|")
        default = "none" if defaults[name] is None else msgspec.json.encode(defaults[name]).decode().replace("|", r"\|")
        row = f"| `{name}` | `{default}` | {allowed} | {meaning.replace('|', chr(92) + '|')} |"
        chapters.setdefault(chapter, ["| option | default | may be | meaning |", "|---|---|---|---|"]).append(row)
    return "\n".join(f"### {chapter}\n\n" + "\n".join(rows) + "\n" for chapter, rows in chapters.items())


def test_every_option_says_what_it_means() -> None:
    said = meanings()
    assert list(said) == [field.name for field in msgspec.structs.fields(TrainingSpec)]
    assert [name for name, (_, meaning) in said.items() if not meaning.endswith((".", ")"))] == []


def test_the_table_in_the_documentation_is_that_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert found.strip() == options_table().strip(), f"run: python {Path(__file__).name} to write it again"


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 0},
        {"lora_dropout": 1.5},
        {"ema_decay": 1.0},
        {"adam_beta1": 1.0},
        {"min_timestep": -1},
        {"max_timestep": 1001},
        {"optimizer": "sgd"},
        {"lr_scheduler": "piecewise_constant"},
        {"lr_num_cycles": 0},
        {"lr_power": 0.0},
        {"text_encoder_lr": 0.0},
        {"placeholder_token": "wrong"},
        {"init_adapter": "../other"},
        {"report_to": ["wandb"]},
        {"bucket_step": 12},
        {"validation_images": -1},
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(change, TrainingSpec)


def test_the_defaults_are_the_recipe_of_the_reference() -> None:
    spec = TrainingSpec()
    assert (spec.optimizer, spec.learning_rate, spec.lr_scheduler, spec.max_train_steps) == ("adamw", 1e-4, "constant", 500)
    assert (spec.adam_beta1, spec.adam_beta2, spec.adam_epsilon, spec.adam_weight_decay) == (0.9, 0.999, 1e-8, 1e-4)
    assert (spec.rank, spec.train_batch_size, spec.gradient_accumulation_steps, spec.max_grad_norm) == (4, 1, 4, 1.0)
    assert (spec.ema_decay, spec.snr_gamma, spec.use_dora, spec.early_stopping) == (0.0, None, False, False)


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + "\n" + options_table() + "\n" + END + rest.partition(END)[2], encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT} is written.\n")
