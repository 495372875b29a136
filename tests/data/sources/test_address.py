"""Addresses: braces, wildcards, several at once, elsewhere."""

import sys
from pathlib import Path

import pytest
import upath

from limner.data.sources.address import is_remote, places_of
from limner.errors import DataError


def test_braces_and_double_colons_keep_their_order(tmp_path: Path) -> None:
    found = places_of(f"{tmp_path}/b-{{09..11}}.tar::{tmp_path}/a.tar")
    assert [place.name for place in found] == ["b-09.tar", "b-10.tar", "b-11.tar", "a.tar"]


def test_wildcards_are_looked_up_by_name(tmp_path: Path) -> None:
    for name in ("x/2.csv", "x/1.csv", "y/3.csv", "y/4.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [place.name for place in places_of(f"{tmp_path}/*/?.csv")] == ["1.csv", "2.csv", "3.csv"]
    with pytest.raises(DataError, match="nothing is there"):
        places_of(f"{tmp_path}/*.tar")


@pytest.mark.parametrize("name", ["a{1}.csv", "a::b.csv", "what?.csv", "[1].csv", "{open"])
def test_a_file_of_such_a_name_is_that_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert places_of(str(tmp_path / name)) == [tmp_path / name]


def test_braces_that_do_not_close(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="do not close"):
        places_of(f"{tmp_path}/a{{1..3")


def test_remote_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    home = upath.UPath("memory://limner-address")
    home.mkdir(parents=True, exist_ok=True)
    for name in ("a-0.tar", "a-1.tar"):
        (home / name).write_bytes(b"x")
    for asked in ("memory://limner-address/a-{0..1}.tar", "memory://limner-address/*.tar"):
        found = places_of(asked)
        assert [place.name for place in found] == ["a-0.tar", "a-1.tar"]
        assert all(map(is_remote, found))
    assert not is_remote(places_of("file:///etc")[0])
    with pytest.raises(DataError, match="nosuch:// cannot be read"):
        places_of("nosuch://bucket/x.tar")
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(DataError, match="is elsewhere") as caught:
        places_of("s3://bucket/x.tar")
    assert "limner[remote]" in str(caught.value)
