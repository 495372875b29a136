"""Which rows are measured on."""

import pytest

from limner.config import build
from limner.errors import ConfigError
from limner.suite.selection import Selection


def test_all_rows_of_the_newest_version_unless_said():
    assert Selection(path="t.lance") == Selection(path="t.lance", where="", count=0, version=None)


def test_a_negative_count_is_refused():
    with pytest.raises(ConfigError):
        build({"path": "t.lance", "count": -1}, Selection, "selection")
