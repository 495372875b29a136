"""WebDataset tars: grouped as webdataset does, and whole, cut, damaged or not tars at all."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from limner.data.intake import Limits
from limner.data.sources.item import Guess, ImportOptions, Item
from limner.data.sources.tars import key_and_ending, recognise
from limner.errors import DataError

OPTIONS = ImportOptions()


def jpeg(grey: int = 90) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), grey).save(file, "JPEG")
    return file.getvalue()


JPEG = jpeg()


def write_tar(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def pairs(count: int, start: int = 0) -> list[tuple[str, bytes]]:
    rows = range(start, start + count)
    return [m for i in rows for m in ((f"{i:03d}.jpg", jpeg(i)), (f"{i:03d}.txt", f"caption {i}".encode()))]


def guessed(path: Path, options: ImportOptions = OPTIONS) -> Guess:
    guess = recognise(path, options)
    assert guess is not None
    return guess


def read(path: Path, options: ImportOptions = OPTIONS) -> list[Item]:
    return list(guessed(path, options).items())


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")])
def test_pictures_and_captions_of_a_tar(tmp_path: Path, name: str, mode: str) -> None:
    path = write_tar(tmp_path / name, pairs(5), mode)
    guess = guessed(path)
    items = list(guess.items())
    assert [(item.key, item.texts) for item in items] == [(f"{i:03d}", (f"caption {i}",)) for i in range(5)]
    assert [item.picture for item in items] == [jpeg(i) for i in range(5)]
    assert guess.examples == tuple(items[:3])
    assert guess.kind == "webdataset"
    assert guess.lines[0] == f"WebDataset: 1 shard, {name}"
    assert "members of a sample: jpg, txt" in guess.lines


def test_a_folder_of_shards_and_keys_that_repeat(tmp_path: Path) -> None:
    write_tar(tmp_path / "01.tar", pairs(2))
    write_tar(tmp_path / "00.tar", pairs(3))
    (tmp_path / "notes.md").write_text("x", encoding="utf-8")
    assert [item.key for item in read(tmp_path)] == ["000", "001", "002", "01.tar/000", "01.tar/001"]


def test_what_a_record_says(tmp_path: Path) -> None:
    record = {"key": "my/own", "texts": ["one", "two"], "split": "val", "source": "s", "licence": "CC0"}
    record |= {"boxes": [{"x0": 0, "y0": 1, "x1": 2, "y1": 3, "label": "dog"}]}
    record |= {"questions": [{"question": "what?", "answers": ["a dog"]}]}
    members = [("0.jpg", JPEG), ("0.txt", b"one"), ("0.json", json.dumps(record).encode())]
    members += [("1.jpg", JPEG), ("1.json", b'{"caption": "three", "label": 4}')]
    members += [("2.jpg", JPEG), ("2.cls", b"7\n"), ("3.jpg", JPEG), ("3.json", b'["four", "five"]')]
    members += [
        ("4.jpg", JPEG),
        ("4.json", b"{" * 9),
        ("5.jpg", JPEG),
        ("5.txt", "caf\xe9".encode("latin-1")),
    ]
    items = read(write_tar(tmp_path / "a.tar", members))
    assert items[0]._replace(origin="", picture=None) == Item(
        *("my/own", "", None, ("one", "two"), None, "val", "s", "CC0"),
        questions=(("what?", ("a dog",)),),
        boxes=((0.0, 1.0, 2.0, 3.0, "dog"),),
    )
    said = [(item.texts, item.label) for item in items[1:]]
    assert said == [
        (("three",), "4"),
        ((), "7"),
        (("four", "five"), None),
        (("",), None),
        (("café",), None),
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/b.c/d.jpg", ("a/b.c/d", "jpg")),
        ("x.seg.PNG", ("x", "seg.png")),
        ("../../etc/passwd.jpg", ("../../etc/passwd", "jpg")),
        ("/root/x.jpg", ("/root/x", "jpg")),
        ("./x.jpg", ("./x", "jpg")),
        ("no_ending", (None, "")),
        (".hidden.jpg", (None, "")),
        ("__meta__", (None, "")),
        ("__meta__/x.jpg", (None, "")),
    ],
)
def test_keys_are_only_names(name: str, found: tuple[str | None, str]) -> None:
    assert key_and_ending(name) == found


def test_names_that_climb_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    members = [("../../evil.jpg", JPEG), ("/abs/evil.jpg", JPEG), ("a" * 300 + ".jpg", JPEG)]
    items = read(write_tar(tmp_path / "in" / "a.tar", members))
    assert [item.key for item in items] == ["../../evil", "/abs/evil", "a" * 300]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "in"]


def test_links_folders_and_devices_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in [
            ("x.jpg", tarfile.SYMTYPE),
            ("y.jpg", tarfile.LNKTYPE),
            ("z.jpg", tarfile.CHRTYPE),
        ]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("w.jpg")
        member.size = len(JPEG)
        tar.addfile(member, io.BytesIO(JPEG))
    assert [item.key for item in read(path)] == ["w"]


def test_a_shard_that_breaks_off_anywhere_gives_what_it_has(tmp_path: Path) -> None:
    members = [member for i in range(4) for member in ((f"{i}.jpg", JPEG), (f"{i}.txt", b"words"))]
    whole = write_tar(tmp_path / "whole.tar", members).read_bytes()
    sample = 512 * (4 if len(JPEG) <= 512 else 5)  # two headers, a picture, a caption
    for length in range(1200, 4 * sample + 1, 97):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(whole[:length])
        items = read(cut)
        *good, last = items
        assert last.refused is not None
        assert last.refused.reason == "truncated"
        assert "cut.tar breaks off" in str(last.refused)
        assert all(item.refused is None and item.picture for item in good)
        assert len(good) in (length // sample - 1, length // sample)


def test_a_damaged_header_is_no_silent_end(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "a.tar", pairs(4)).read_bytes())
    data[2048 * 2 + 5] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    items = read(tmp_path / "a.tar")
    assert [item.refused is None for item in items] == [True, False]
    assert "bad checksum" in str(items[-1].refused)


def test_a_cut_gzip_is_refused_too(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", pairs(40), "w:gz")
    path.write_bytes(path.read_bytes()[:-400])
    items = read(path)
    assert items[-1].refused is not None
    assert len(items) > 1


@pytest.mark.parametrize(
    "start", [b"<!DOCTYPE html><html>404</html>", b"PAR1\0\0\0", b"\x1f\x8bnot gzip", b"x" * 600]
)
def test_files_that_are_no_tars(tmp_path: Path, start: bytes) -> None:
    write_tar(tmp_path / "00.tar", pairs(2))
    (tmp_path / "01.tar").write_bytes(start)
    with pytest.raises(
        DataError, match=r"(?s)1 of 2 shards are no tars: 01.tar begins with .*try: +download"
    ):
        recognise(tmp_path, OPTIONS)


def test_empty_shards(tmp_path: Path) -> None:
    write_tar(tmp_path / "00.tar", pairs(1))
    write_tar(tmp_path / "01.tar", [])
    (tmp_path / "02.tar").write_bytes(b"")
    guess = guessed(tmp_path)
    assert "empty: 1 shards, such as 02.tar" in guess.lines
    items = list(guess.items())
    assert [item.key for item in items] == ["000", "02.tar"]
    assert items[1].refused is not None
    (tmp_path / "02.tar").rename(tmp_path / "03.tgz")
    with pytest.raises(DataError, match="is empty"):
        recognise(tmp_path / "03.tgz", OPTIONS)
    with pytest.raises(DataError, match="no pictures in the first 0 samples"):
        recognise(tmp_path / "01.tar", OPTIONS)


def test_samples_without_a_picture_and_repeated_members(tmp_path: Path) -> None:
    members = [("a.jpg", JPEG), ("a.jpg", jpeg(5)), ("b.txt", b"words"), ("c.seg.png", b"x"), ("c.jpg", JPEG)]
    items = read(write_tar(tmp_path / "a.tar", members))
    assert [item.key for item in items] == ["a", "a", "b", "c"]
    assert items[2].refused is not None
    assert items[2].refused.reason == "missing"
    assert items[3].picture == JPEG
    write_tar(tmp_path / "b.tar", [("a.wav", b"x"), ("b.wav", b"y")])
    with pytest.raises(DataError, match=r"(?s)no pictures in the first 2 samples.*its members end in wav"):
        recognise(tmp_path / "b.tar", OPTIONS)


def test_a_member_beyond_the_limit_is_never_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("a.jpg", bytes(5000)), ("b.jpg", JPEG)])
    items = read(path, ImportOptions(limits=Limits(max_bytes=4000)))
    assert [item.refused and item.refused.reason for item in items] == ["too_large", None]


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path = write_tar(tmp_path / "a.tar", [("a.jpg", JPEG)])
    path.write_bytes(
        path.read_bytes()[: 1024 if len(JPEG) <= 512 else 1536] + head.tobuf(tarfile.GNU_FORMAT) + bytes(4096)
    )
    (item,) = read(path)
    assert "a header of 8,589,934,592 bytes" in str(item.refused)


def test_other_files_are_another_kind(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    for path in (tmp_path, tmp_path / "a.zip", tmp_path / "none.tar"):
        assert recognise(path, OPTIONS) is None


def test_a_tar_among_pictures_is_no_shard(tmp_path: Path) -> None:
    write_tar(tmp_path / "backup.tar", pairs(1))
    (tmp_path / "a.jpg").write_bytes(JPEG)
    assert recognise(tmp_path, OPTIONS) is None


def test_a_remote_tar(tmp_path: Path) -> None:
    upath = pytest.importorskip("upath")
    folder = upath.UPath("memory://limner-tars/set")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "00.tar").write_bytes(write_tar(tmp_path / "00.tar", pairs(3)).read_bytes())
    guess = recognise(folder, OPTIONS)
    assert guess is not None
    assert [item.texts for item in guess.items()] == [(f"caption {i}",) for i in range(3)]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tars_of_webdataset_are_read_as_it_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    for name in ("a.tar", "b.tar.gz"):
        path = tmp_path / name
        with webdataset.TarWriter(str(path)) as writer:
            for i in range(20):
                sample = {"__key__": f"v1.{i % 3}/s{i:03d}", "jpg": jpeg(i), "seg.png": b"mask"}
                writer.write(sample | {"txt": f"ünïcode {i}", "json": {"n": i}, "cls": i % 4})
        theirs = list(webdataset.WebDataset(str(path), shardshuffle=False))
        ours = read(path)
        assert [item.key for item in ours] == [sample["__key__"] for sample in theirs]
        assert [item.picture for item in ours] == [sample["jpg"] for sample in theirs]
        assert [item.texts[0].encode() for item in ours] == [sample["txt"] for sample in theirs]
        assert [str(item.label).encode() for item in ours] == [sample["cls"] for sample in theirs]
