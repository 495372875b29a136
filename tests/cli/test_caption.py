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
    pieces = [token["piece"] for token in caption["tokens"]]
    assert len(pieces) == 20 or pieces[-1] == "[SEP]"
    assert "[SEP]" not in pieces[:-1]
    assert abs(sum(token["log_prob"] for token in caption["tokens"]) - caption["log_prob"]) < 1e-3


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


def sidecars(folder, kind="txt"):
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"*.{kind}"))}


def test_a_file_beside_each_picture_that_has_none(limner, photos):
    printed = dict(line.split(": ", 1) for line in limner("caption", photos).stdout.splitlines())
    result = limner("caption", photos, "--write", "txt", "--prefix", "ohwx, ", "--suffix", "!", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["skipped"] == 1
    assert [one["problem"]["reason"] for one in told["refused"]] == ["truncated", "empty", "not_a_picture"]
    found = sidecars(photos)
    assert found.pop("p1.txt") == "a red ball on a blue ground"  # a person's, left alone
    assert found == {f"p{i}.txt": f"ohwx, {printed[str(photos / f'p{i}.png')]}!\n" for i in (0, 2, 3)}
    assert list((photos / "more").glob("*.txt")) == []


def test_a_second_run_does_what_is_missing_and_overwrite_all(limner, photos):
    limner("caption", photos, "--write", "txt")
    before = sidecars(photos)
    (photos / "p2.txt").unlink()
    again = limner("caption", photos, "--write", "txt")
    assert "1 files written, 3 pictures had one already" in again.stdout
    assert sidecars(photos) == before
    limner("caption", photos, "--write", "txt", "--overwrite")
    assert sidecars(photos)["p1.txt"] != before["p1.txt"]


def test_json_beside_pictures_holds_several_captions(limner, photos):
    limner("caption", photos / "p0.png", "--write", "json", "--num", 2)
    assert len(json.loads((photos / "p0.json").read_text())) == 2


def test_ctrl_c_keeps_what_is_written_and_the_same_command_goes_on(limner, photos, monkeypatch):
    from limner.capfilt import bulk

    write, calls = bulk.write_sidecar, []

    def stopping(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(*given)

    monkeypatch.setattr(bulk, "write_sidecar", stopping)
    stopped = limner("caption", photos, "--write", "txt")
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    assert list(sidecars(photos)) == ["p0.txt", "p1.txt"]
    assert "2 files written, 2 pictures" in limner("caption", photos, "--write", "txt").stdout


def test_few_bad_pictures_may_be_allowed(limner, photos):
    assert limner("caption", photos, "--max-bad", 0.5).exit_code == 0
    assert limner("caption", photos, "--max-bad", 0.3).exit_code == 1


def test_a_pattern_is_expanded_and_a_picture_named_twice_is_one(limner, photos):
    result = limner("caption", photos / "p[01].png", photos / "p0.png", "--json")
    assert [one["picture"] for one in json.loads(result.stdout)] == [
        str(photos / f"p{i}.png") for i in (0, 1)
    ]
    assert "no pictures in" in limner("caption", photos / "q*.png").stderr


def test_words_are_forbidden_required_and_gone_on_from(limner, photos):
    calls = [(), ("--require", "owl"), ("--forbid", "a"), ("--prompt", "two fish"), ("--method", "greedy")]
    said = [limner("caption", photos / "p0.png", *options).stdout for options in calls]
    assert "owl" in said[1]
    assert "a" not in said[2].split()
    assert limner("caption", photos / "p0.png", "--require", "snow☃").exit_code == 2
    both = limner("caption", photos / "p0.png", "--ask", "what?", "--prompt", "a")
    assert both.exit_code == 2
    assert "--ask and --prompt together" in both.stderr


def test_beam_search_gives_several(limner, photos):
    result = limner("caption", photos / "p0.png", "--method", "beam", "--num", 4, "--json")
    told = [one["log_prob"] for one in json.loads(result.stdout)[0]["captions"]]
    assert len(told) == 4
    assert limner("caption", photos / "p0.png", "--method", "greedy", "--num", 2).exit_code == 2


def test_merging_says_first_how_far_it_agrees(limner, photos):
    result = limner("caption", photos / "p[0-3].png", "--merge", 1)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 4
    assert "merging: of 4 pictures" in result.stderr
    refused = limner("caption", photos, "--merge", 3)
    assert refused.exit_code == 2
    assert "--merge 2, or --merge 0 for none" in refused.stderr


def test_a_table_gets_a_column(limner, photos, tmp_path):
    from limner.data.table import Table

    path = tmp_path / "pairs.lance"
    assert limner("import", photos, "--out", path, "--max-bad", 1).exit_code in (0, 1)
    result = limner("caption", path, "--column", "said", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["captioned"], told["refused"], told["fresh"]) == (0, 4, {}, 4)
    assert len(Table.open(path).column("said")) == 4
    assert "as it was" in limner("caption", path, "--column", "said").stdout
    other = limner("caption", path, "--column", "said", "--prefix", "x")
    assert other.exit_code == 2
    assert "--overwrite" in other.stderr
    assert "--write txt of a table" in limner("caption", path, "--write", "txt").stderr
    astray = limner("caption", photos, "--column", "said")
    assert (astray.exit_code, astray.stdout) == (2, "")
    assert "--column said of pictures" in astray.stderr
    assert "is a table, beside other paths" in limner("caption", path, photos).stderr
