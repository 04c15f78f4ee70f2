from daemon.adapters.card import code, files, front_matter, join, lora_use, table


def test_prompts_cannot_break_the_front_matter() -> None:
    lines = front_matter("someone/model", 'a "wolf": # no', is_lora=True).splitlines()
    assert (lines[0], lines[-1]) == ("---", "---")
    assert 'instance_prompt: "a \\"wolf\\": # no"' in lines
    assert "base_model: someone/model" in lines
    assert "- lora" in lines


def test_a_place_on_this_machine_is_no_base_model() -> None:
    text = front_matter("/secret/model", "wrong", is_lora=False)
    assert "/secret" not in text
    assert "- textual_inversion" in text


def test_the_use_names_the_files_and_the_words() -> None:
    text = lora_use("mine", "wrong", strength_clip=1, remark=" Mind this.")
    for expected in (
        "mine_kohya.safetensors",
        "<lora:mine_kohya:1>",
        "load_lora_weights",
        "negative_prompt='wrong'",
        "strength_clip 1",
        " Mind this.",
    ):
        assert expected in text


def test_bars_do_not_end_cells() -> None:
    assert table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |"
    assert "| `a` | `1` |" in files({"a": "1"}, "That is all.")
    assert join(" a ", code("sh", "ls\n")) == "a\n\n```sh\nls\n```\n"
