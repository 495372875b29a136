from limner.record import Recorder


def test_the_page_of_a_run_is_made_again(limner, tmp_path):
    Recorder(tmp_path / "records.jsonl").write("train", step=1, loss=2.0, terms={"lm": 2.0})
    result = limner("report", tmp_path)
    assert result.exit_code == 0
    page = tmp_path / "report.html"
    assert result.stdout == f"{page}\n"
    assert "Training curve of loss" in page.read_text(encoding="utf-8")
    page.unlink()
    limner("report", tmp_path)
    assert page.exists()


def test_a_table_that_is_not_there_is_refused(limner, tmp_path):
    Recorder(tmp_path / "records.jsonl").write("end", step=1)
    result = limner("report", tmp_path, "--table", tmp_path / "none.lance")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
