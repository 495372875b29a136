"""The loader: the same batches whatever reads them, and on from any of them."""

import io
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from limner.data.loader import Batch, Loader, LoaderState, Pairs, Sample, TableRows, collate, given_tokens
from limner.data.table import SCHEMA, Table
from limner.data.tokenizers import WordPiece
from limner.errors import DataError
from limner.shapes import ImageSpec


class Numbers:
    """Rows whose pixels are their number; odd ones have a question."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        return [self._sample(i, epoch) for i in indices]

    def _sample(self, i: int, epoch: int) -> Sample:
        question, answer = ("how many owls?", str(i)) if i % 2 else ("", "")
        image = np.full((8, 8, 3), i, np.uint8)
        return Sample(f"k{i}", image, "an owl " * (1 + i % 3) + str(epoch), question, answer, i)


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return WordPiece.from_texts(["an owl 0123456789", "how many owls?"], 200)


def equal(one: Batch, two: Batch) -> bool:
    tensors = zip(one[1:], two[1:], strict=True)
    return one.keys == two.keys and all(torch.equal(a, b) and a.dtype == b.dtype for a, b in tensors)  # type: ignore[arg-type]


def test_a_batch_holds_what_its_samples_say(tokenizer: WordPiece) -> None:
    samples = Numbers(6).samples([3, 2, 5], 0)
    batch = collate(samples, tokenizer, max_tokens=16)
    assert batch.keys == ["k3", "k2", "k5"]
    assert batch.images.shape == (3, 3, 8, 8)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous()
    assert batch.images[:, 0, 0, 0].tolist() == batch.image_ids.tolist() == [3, 2, 5]
    texts = [tokenizer.decode(ids) for ids in batch.caption_ids]
    assert texts == [sample.caption for sample in samples]
    assert batch.caption_mask.sum(1).tolist() == [len(tokenizer.encode(s.caption)) for s in samples]


def test_questions_end_where_the_prompt_length_says(tokenizer: WordPiece) -> None:
    batch = collate(Numbers(6).samples([3, 2, 5], 0), tokenizer, max_tokens=16)
    assert batch.qa_mask.sum(1).tolist()[1] == 0
    assert batch.qa_prompt_lengths.tolist()[1] == 0
    for row, answer in ((0, "3"), (2, "5")):
        length = int(batch.qa_prompt_lengths[row])
        ids = batch.qa_ids[row][batch.qa_mask[row]]
        assert tokenizer.decode(ids[:length]) == "how many owls?"
        assert tokenizer.tokens[int(ids[length - 1])] == "?"
        assert tokenizer.decode(ids[length:]) == answer
        assert int(ids[-1]) == tokenizer.sep_id


def test_a_batch_without_questions_has_no_question_columns(tokenizer: WordPiece) -> None:
    batch = collate(Numbers(6).samples([0, 2], 0), tokenizer, max_tokens=16)
    assert batch.qa_ids.shape == batch.qa_mask.shape == (2, 0)


def test_an_epoch_reads_every_row_once_and_drops_the_rest(tokenizer: WordPiece) -> None:
    loader = Loader(Numbers(22), Pairs(tokenizer), batch_size=5, seed=1)
    assert loader.steps_per_epoch == 4
    batches = list(islice(loader.batches(), 9))
    first, second = ([key for batch, _ in batches[i : i + 4] for key in batch.keys] for i in (0, 4))
    assert len(set(first)) == len(set(second)) == 20
    assert first != second
    assert [(s.epoch, s.step) for _, s in batches] == [
        *[(0, 1), (0, 2), (0, 3), (1, 0)],
        *[(1, 1), (1, 2), (1, 3), (2, 0), (2, 1)],
    ]


def test_the_epoch_reaches_the_rows(tokenizer: WordPiece) -> None:
    loader = Loader(Numbers(4), Pairs(tokenizer), batch_size=4, seed=1)
    texts = [tokenizer.decode(batch.caption_ids[0])[-1] for batch, _ in islice(loader.batches(), 3)]
    assert texts == ["0", "1", "2"]


def test_resume_goes_on_at_the_next_sample(tokenizer: WordPiece) -> None:
    straight = list(islice(Loader(Numbers(22), Pairs(tokenizer), 5, seed=1).batches(), 12))
    for taken in range(11):
        _, state = straight[taken]
        saved = LoaderState.model_validate_json(state.model_dump_json())
        resumed = list(islice(Loader(Numbers(22), Pairs(tokenizer), 5, seed=1).batches(saved), 11 - taken))
        for (batch, after), (expected, expected_after) in zip(resumed, straight[taken + 1 :], strict=True):
            assert equal(batch, expected)
            assert after == expected_after


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_same_global_batches(tokenizer: WordPiece, world_size: int) -> None:
    whole = islice(Loader(Numbers(40), Pairs(tokenizer), 6, seed=2).batches(), 12)
    parts = [
        islice(
            Loader(
                Numbers(40), Pairs(tokenizer), 6 // world_size, seed=2, rank=rank, world_size=world_size
            ).batches(),
            12,
        )
        for rank in range(world_size)
    ]
    for (batch, state), *shares in zip(whole, *parts, strict=True):
        assert [key for share, _ in shares for key in share.keys] == batch.keys
        assert all(after == state for _, after in shares)


def test_ranks_may_change_between_runs(tokenizer: WordPiece) -> None:
    straight = [b.keys for b, _ in islice(Loader(Numbers(40), Pairs(tokenizer), 4, seed=2).batches(), 15)]
    seen, state = [], None
    for world_size in (1, 2, 1):
        loaders = [
            Loader(Numbers(40), Pairs(tokenizer), 4 // world_size, seed=2, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        for shares in islice(zip(*(loader.batches(state) for loader in loaders), strict=True), 5):
            seen.append([key for batch, _ in shares for key in batch.keys])
            last = shares[0][1]
        state = last
    assert seen == straight


def test_impossible_loaders_are_refused(tokenizer: WordPiece) -> None:
    with pytest.raises(DataError, match="do not fill one batch"):
        Loader(Numbers(7), Pairs(tokenizer), batch_size=4, seed=0, world_size=2)
    with pytest.raises(DataError, match="rank 2 of 2"):
        Loader(Numbers(7), Pairs(tokenizer), batch_size=2, seed=0, rank=2, world_size=2)
    with pytest.raises(DataError, match="seed 4"):
        next(Loader(Numbers(7), Pairs(tokenizer), 2, seed=0).batches(LoaderState(seed=4)))


def test_a_state_of_another_order_is_refused(tokenizer: WordPiece) -> None:
    state = list(islice(Loader(Numbers(40), Pairs(tokenizer), 4, seed=2).batches(), 3))[-1][1]
    cases = [
        (Loader(Numbers(40), Pairs(tokenizer), 4, seed=2, world_size=2), state, "batches of 4 given .* of 8"),
        (
            Loader(Numbers(41), Pairs(tokenizer), 4, seed=2),
            state,
            "epochs of 40 samples given to rows with 41",
        ),
        (
            Loader(Numbers(40), Pairs(tokenizer), 4, seed=2),
            LoaderState(seed=2, step=3),
            "how large its batches",
        ),
    ]
    for loader, given, message in cases:
        with pytest.raises(DataError, match=message):
            next(loader.batches(given))


def test_any_collate_makes_the_batches() -> None:
    loader = Loader(Numbers(8), keys_of, 4, seed=1)
    assert sorted(next(loader.batches())[0] + list(islice(loader.batches(), 2))[1][0]) == [
        f"k{i}" for i in range(8)
    ]


def test_buckets_resume_and_hold_like_lengths() -> None:
    def make() -> Loader[list[str]]:
        return Loader(Texts(400), captions_of, 8, seed=3, bucket_batches=10)

    straight = list(islice(make().batches(), 70))
    assert len({text for batch, _ in straight[:50] for text in batch}) == 400
    for taken in (0, 7, 9, 30, 48, 49, 60):
        batch, _ = next(make().batches(straight[taken][1]))
        assert batch == straight[taken + 1][0]
    spread = [max(map(len, batch)) - min(map(len, batch)) for batch, _ in straight]
    assert np.mean(spread) < 12


class Texts(Numbers):
    """Rows whose captions have many lengths."""

    def _sample(self, i: int, epoch: int) -> Sample:
        return Sample(f"k{i}", np.zeros((1, 1, 3), np.uint8), f"{i} " + "w" * (i * 37 % 100))

    def lengths(self, indices: Sequence[int], epoch: int) -> np.ndarray:
        return np.array([len(self._sample(int(i), epoch).caption) for i in indices])


def keys_of(samples: Sequence[Sample]) -> list[str]:
    return [sample.key for sample in samples]


def captions_of(samples: Sequence[Sample]) -> list[str]:
    return [sample.caption for sample in samples]


# ---- killed and resumed

ROWS, GLOBAL_BATCH, STEPS = 90, 4, 60  # nearly three epochs


def load(folder: Path, ranks: int, workers: int, kind: str) -> None:
    """What a run does: log each global batch, then save the state; go on from what was saved."""
    saved = folder / "state.json"
    state = LoaderState.model_validate_json(saved.read_text()) if saved.exists() else None
    loaders = [
        Loader(
            Numbers(ROWS), keys_of, GLOBAL_BATCH // ranks, seed=9, rank=rank, world_size=ranks,
            workers=kind, num_workers=workers,  # type: ignore[arg-type]
        )
        for rank in range(ranks)
    ]  # fmt: skip
    with (folder / "log.txt").open("a") as log:
        for shares in zip(*(loader.batches(state) for loader in loaders), strict=True):
            after = shares[0][1]
            log.write(f"{after.epoch} {after.step}: {' '.join(key for keys, _ in shares for key in keys)}\n")
            log.flush()
            time.sleep(0.003)
            saved.with_suffix(".new").write_text(after.model_dump_json())
            saved.with_suffix(".new").replace(saved)


def logged(folder: Path) -> list[str]:
    """Global batches in the order they were read; one that was read again must be the same."""
    log = folder / "log.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    kept = dict.fromkeys(line for line in lines if len(line.split()) == 2 + GLOBAL_BATCH)
    assert len({line.split(":")[0] for line in kept}) == len(kept)
    return list(kept)


def wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 300
    while len(logged(folder)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.004)


def undisturbed() -> list[str]:
    found = islice(Loader(Numbers(ROWS), keys_of, GLOBAL_BATCH, seed=9).batches(), STEPS)
    return [f"{after.epoch} {after.step}: {' '.join(keys)}" for keys, after in found]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_killed_at_any_moment_it_reads_the_very_same_batches(tmp_path: Path) -> None:
    rng, kills = random.Random(4), 0
    while len(logged(tmp_path)) < STEPS:
        ranks, workers = (1, 2, 1)[kills % 3], (0, 2, 1, 0)[kills % 4]
        child = started(tmp_path, ranks, workers, "threads")
        wait_for(tmp_path, min(STEPS, len(logged(tmp_path)) + rng.randint(1, 12)))
        time.sleep(rng.random() * 0.006)
        killed(child)
        kills += 1
    assert logged(tmp_path)[:STEPS] == undisturbed()


@pytest.mark.slow
def test_killed_with_worker_processes_it_reads_the_very_same_batches(tmp_path: Path) -> None:
    for ranks, workers in ((1, 1), (2, 1), (1, 2), (1, 0)):
        child = started(tmp_path, ranks, workers, "processes")
        wait_for(tmp_path, min(STEPS, len(logged(tmp_path)) + 15))
        killed(child)
    assert logged(tmp_path)[:STEPS] == undisturbed()


def started(folder: Path, ranks: int, workers: int, kind: str) -> "subprocess.Popen[bytes]":
    """A process of its own that loads from where the log ends."""
    code = f"from test_loader import *; load(Path({str(folder)!r}), {ranks}, {workers}, {kind!r})"
    return subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, start_new_session=True)


def killed(child: "subprocess.Popen[bytes]") -> None:
    """Kill a process with its workers, at whatever it does."""
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@pytest.fixture(scope="module")
def table_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def png(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.full((9, 12, 3), value, np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    rows = [
        {
            "key": f"k{i}",
            "image": png(i),
            "texts": [f"an owl {i}", f"owl {i}"],
            "questions": [{"question": "how many?", "answers": ["1", "2"]}],
        }
        for i in range(30)
    ]
    path = tmp_path_factory.mktemp("table") / "pairs.lance"
    return Table.write(path, [pa.RecordBatch.from_pylist(rows, schema=SCHEMA)]).path


@pytest.mark.parametrize("augment", ["jitter", "clip"])
def test_threads_change_no_batch(tokenizer: WordPiece, table_path: Path, augment: str) -> None:
    rows = TableRows(table_path, ImageSpec(size=8), seed=5, augment=augment)
    here = Loader(rows, Pairs(tokenizer), 4, seed=5).batches()
    spread = Loader(rows, Pairs(tokenizer), 4, seed=5, workers="threads", num_workers=3).batches()
    for (batch, after), (expected, expected_after) in zip(islice(spread, 20), here, strict=False):
        assert equal(batch, expected)
        assert after == expected_after


def test_workers_change_no_batch_and_end_when_the_iterator_does(
    tokenizer: WordPiece, table_path: Path
) -> None:
    rows = TableRows(table_path, ImageSpec(size=8), seed=5, augment="jitter")
    here = Loader(rows, Pairs(tokenizer), 4, seed=5)
    state = list(islice(here.batches(), 3))[-1][1]
    spread = Loader(rows, Pairs(tokenizer), 4, seed=5, num_workers=2, prefetch_factor=2).batches(state)
    for (batch, after), (expected, expected_after) in zip(
        islice(spread, 10), here.batches(state), strict=False
    ):
        assert equal(batch, expected)
        assert after == expected_after
    assert len(multiprocessing.active_children()) == 2
    spread.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_ctrl_c_ends_main_process_and_workers(tokenizer: WordPiece, table_path: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys\n"
        "from limner.data.loader import *\n"
        "from limner.data.tokenizers import WordPiece\n"
        "from limner.shapes import ImageSpec\n"
        "if __name__ == '__main__':\n"
        f"    rows = TableRows({str(table_path)!r}, ImageSpec(size=8), 0)\n"
        "    tokenizer = WordPiece.from_texts(['an owl'], 100)\n"
        "    for batch, _ in Loader(rows, Pairs(tokenizer), 4, 0, num_workers=1).batches():\n"
        "        os.killpg(os.getpgid(0), signal.SIGINT)\n",
        encoding="utf-8",
    )
    ended = subprocess.run(
        [sys.executable, str(script)],
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode != 0
    assert ended.stderr.count("KeyboardInterrupt") == 1
    assert "terminate called" not in ended.stderr


def test_a_prompt_stands_before_every_caption():
    samples = Numbers(3).samples([0, 2], 0)
    tokenizer = WordPiece.from_texts(["a picture of", *(sample.caption for sample in samples)], 200)
    plain, prompted = (Pairs(tokenizer, 16, prompt)(samples) for prompt in ("", "a picture of "))
    given = given_tokens(tokenizer, "a picture of ")
    assert given_tokens(tokenizer) == 1
    for row, whole in zip(plain.caption_ids.tolist(), prompted.caption_ids.tolist(), strict=True):
        assert whole[:given] == tokenizer.encode("a picture of", 64)[:-1]
        assert [i for i in whole[given:] if i] == [i for i in row[1:] if i]
