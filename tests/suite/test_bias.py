"""Labels and words by group."""

import pytest

from limner.errors import DataError
from limner.suite.bias import BiasTask, run
from limner.suite.selection import Selection


def test_groups_that_are_named_alike_do_not_differ(made, colours):
    found = run(made("classifier"), Selection(path=colours), BiasTask(group="domain", draws=50))
    values = found.values()
    assert values["largest_gap"] == 0
    assert values["p"] == 1
    assert values["labels_that_differ"] == 0
    assert [w["q"] > 0.5 for w in found.details["words"]["bright / dim"]]


def test_groups_that_are_named_apart_do_and_so_do_their_words(made, colours):
    found = run(made("classifier"), Selection(path=colours), BiasTask(group="label", draws=100))
    assert found.values()["largest_gap"] == 1
    assert found.values()["p"] == pytest.approx(1 / 101)
    assert found.values()["labels_that_differ"] == 2
    assert found.details["shares"]["red"]["red"][0] == 1
    words = {w["word"]: w["z"] for w in found.details["words"]["blue / red"]}
    assert words["red"] < 0 < words["blue"]


def test_one_group_is_refused(made, colours):
    with pytest.raises(DataError, match=r"1 group\(s\)"):
        run(made("classifier"), Selection(path=colours), BiasTask(group="split"))
