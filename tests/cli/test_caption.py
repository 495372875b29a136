import json

from limner.cli.terminal import ONLY_EMOJI


def test_one_picture_gives_one_line_on_stdout(limner, photos):
    result = limner("caption", photos / "p0.png")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert "p0.png" not in result.stdout


def test_a_folder_is_captioned_whole_and_broken_pictures_stop_nothing(limner, photos):
    result = limner("caption", photos)
    assert result.exit_code == 1
    captioned = [line.split(": ")[0] for line in result.stdout.splitlines()]
    assert captioned == [str(photos / f"p{i}.png") for i in range(4)]
    for name, reason in (("cut.png", "truncated"), ("empty.jpg", "empty"), ("words.png", "not_a_picture")):
        assert f"{name}: {reason}" in result.stderr
    assert "3 of 7 pictures" in result.stderr


def test_json_holds_captions_and_problems_in_the_order_asked(limner, photos):
    result = limner("caption", photos / "more" / "cut.png", photos / "p2.png", "--json")
    assert result.exit_code == 1
    cut, whole = json.loads(result.stdout)
    assert cut["captions"] == []
    assert cut["problem"]["reason"] == "truncated"
    assert whole["problem"] is None
    (caption,) = whole["captions"]
    assert caption["log_prob"] < 0


def test_several_captions_are_drawn_by_seed(limner, photos):
    call = ("caption", photos / "p0.png", "--num", 3, "--json")
    first, again, other = limner(*call), limner(*call), limner(*call, "--seed", 1)
    assert len(json.loads(first.stdout)[0]["captions"]) == 3
    assert first.stdout == again.stdout != other.stdout


def test_a_question_is_put_to_the_model_as_in_training(limner, photos, model_folder):
    from limner.checkpoint import load
    from limner.cli.caption import as_question

    tokenizer = load(model_folder).tokenizer
    (prompt, _), *_ = tokenizer.encode_questions(["What is it?"], [""])
    assert tokenizer.encode(as_question("What is it?"), max_tokens=64)[:-1] == prompt
    asked = limner("caption", photos / "p0.png", "--ask", "what is it?")
    assert asked.exit_code == 0
    assert asked.stdout != limner("caption", photos / "p0.png").stdout


def test_only_the_shipped_model_says_what_it_does_not_know(limner, photos, model_folder, monkeypatch):
    monkeypatch.setattr("limner.checkpoint.ASSETS", model_folder.parent)
    monkeypatch.setattr("limner.checkpoint.DEFAULT", model_folder.name)
    assert limner("caption", photos / "p0.png").stderr.count(ONLY_EMOJI) == 1
    monkeypatch.undo()
    assert ONLY_EMOJI not in limner("caption", photos / "p0.png", "--model", model_folder).stderr


def test_a_folder_without_pictures_is_refused(limner, tmp_path):
    result = limner("caption", tmp_path)
    assert result.exit_code == 2
    assert "no pictures in" in result.stderr


def test_a_model_that_is_not_there_is_refused(limner, photos, tmp_path):
    result = limner("caption", photos, "--model", tmp_path / "none")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
