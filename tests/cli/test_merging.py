from limner.capfilt.bulk import BulkSettings
from limner.capfilt.measure import Job
from limner.capfilt.pipeline import run
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import load
from limner.cli.merging import compare_captions, compare_measured
from limner.data.table import Table


def test_less_than_none_is_refused_by_both_verbs(limner, photos, tmp_path):
    for verb, path in (("caption", photos), ("capfilt", tmp_path / "pairs.lance")):
        refused = limner(verb, path, "--merge", -1)
        assert refused.exit_code == 2
        assert refused.stderr.splitlines() == [
            "error: --merge -1",
            "  wanted: 0 for none, or tokens that go in each block",
            "  try:    --merge 1",
        ]


def test_captions_are_compared_where_a_picture_opens(model_folder, photos, capsys):
    bundle, cut = load(model_folder), photos / "more" / "cut.png"
    compare_captions(bundle, bundle, BulkSettings(), [photos / "p0.png", cut])
    assert "merging: of 1 pictures 1 captions are the same" in capsys.readouterr().err
    compare_captions(bundle, bundle, BulkSettings(), [cut])
    assert capsys.readouterr().err == ""


def test_a_table_is_compared_on_unless_it_holds_all(limner, model_folder, photos, tmp_path, capsys):
    path, bundle = tmp_path / "pairs.lance", load(model_folder)
    limner("import", photos, "--out", path, "--max-bad", 1)
    job = Job(Table.open(path), bundle, bundle, CapFiltSettings(merge=1))
    capsys.readouterr()
    compare_measured(job, force=False)
    captions, texts = capsys.readouterr().err.splitlines()
    assert captions.startswith("merging: of 4 pictures")
    assert texts.startswith("merging: of 1 web texts")
    done = job._replace(table=run(*job).table)
    compare_measured(done, force=False)
    assert capsys.readouterr().err == ""
    compare_measured(done, force=True)
    assert capsys.readouterr().err.count("merging:") == 2
