"""What every test stands on: no network, a private cache folder, one torch thread, a fixed seed."""

import io
import os
import socket
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import pytest
import torch
from torch import Tensor

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anything but this machine is an error."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        local = self.family == getattr(socket, "AF_UNIX", None) or (
            isinstance(address, tuple) and str(address[0]) in {"127.0.0.1", "::1", "localhost"}
        )
        if not local:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limner-cache")


@pytest.fixture(autouse=True)
def _private_cache(_cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rasters and imported tables go to a folder of this test session."""
    monkeypatch.setenv("LIMNER_CACHE", str(_cache_folder))


def _filled(key: str, shape: tuple[int, ...]) -> Tensor:
    """The values that golden/README.md gives a tensor of the released BLIP code."""
    if key.endswith("position_ids"):
        return torch.arange(shape[-1])[None]
    if key == "temp" or "queue" in key:
        return torch.full(shape, 0.07)
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    norm = len(shape) == 1 and key.endswith("weight")
    return torch.from_numpy((1 + 0.1 * noise if norm else 0.05 * noise).astype(np.float32))


@pytest.fixture
def released_blip() -> Callable[[str], tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """A function of a golden file's name: a checkpoint as BLIP's code saves it, and what that code tells."""

    def load(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        arrays = np.load(Path(__file__).parent / "models" / "golden" / f"{name}.npz")
        state = {
            str(key): _filled(str(twin), tuple(int(n) for n in str(shape).split(",") if n))
            for key, twin, shape in zip(arrays["keys"], arrays["twins"], arrays["shapes"], strict=True)
        }
        told = {
            key: torch.from_numpy(arrays[key]) for key in arrays if key not in ("keys", "twins", "shapes")
        }
        for side, seed in (("pixels", 2), ("right", 3)):
            noise = np.random.RandomState(seed).standard_normal((3, 3, 48, 48))
            told[side] = torch.from_numpy(noise.astype(np.float32))
        return state, told

    return load


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def make_cleaned(tmp_path: Path) -> Callable[..., Any]:
    """Make a table as CapFilt leaves it, made-up scores: 24 rows, two decodings, junk, a bad picture."""
    import pyarrow as pa
    from PIL import Image

    from limner.capfilt.decision import DECIDED, MEASURED, decide
    from limner.capfilt.settings import CapFiltSettings
    from limner.data.table import Table

    def measured(number: int, rng: np.random.Generator, two: bool) -> tuple[list[str], dict[str, Any]]:
        texts = [f"a red ball number {number % 7}", "nan"][: 1 + number % 2]
        if number == 5:
            nothing = {name: [None] * len(texts) for name in ("junk_web", "itm_web", "itc_web")}
            return texts, {name: [] for name in MEASURED.names} | nothing | {"picture": "picture:truncated"}
        count = 2 if two else 1
        scores = np.float32(rng.random((2, len(texts) + count)) ** 0.5).tolist()
        junk = [None, "junk:placeholder"][: len(texts)]
        web = {
            f"{n}_web": [None if j else s for s, j in zip(one, junk, strict=False)]
            for n, one in zip(("itm", "itc"), scores, strict=True)
        }
        written = {f"{n}_synthetic": one[len(texts) :] for n, one in zip(("itm", "itc"), scores, strict=True)}
        return texts, {
            "picture": None,
            "junk_web": junk,
            "synthetic": [f"a blue ball of {number % 5}", f"a green <cat> and {number}"][:count],
            "decoding_synthetic": ["nucleus", "beam"][:count],
            "log_prob_synthetic": [-2.0, -1.0][:count],
            "junk_synthetic": [None] * count,
            **web,
            **written,
        }

    def make(two: bool = True, **columns: Any) -> Table:
        rng, place = np.random.default_rng(0), tmp_path / "cleaned.lance"
        settings = CapFiltSettings(also={"method": "beam"} if two else None)
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(buffer, "PNG")
        rows = [(f"row{i}", *measured(i, rng, two)) for i in range(24)]
        made = pa.table(
            {
                "key": [key for key, _, _ in rows],
                "image": pa.array([buffer.getvalue()] * len(rows), pa.large_binary()),
                "texts": [texts for _, texts, _ in rows],
                **columns,
            }
        )
        origin = {
            "identity": "i",
            "captioner": "c1",
            "filter": "f1",
            "settings": settings.model_dump_json(),
            "cut": '{"threshold": 0.5, "rule": "score"}',
            "limner": "0",
            "time": datetime(2026, 1, 2, tzinfo=UTC),
        }
        decided = [decide(row, texts, 0.5) for _, texts, row in rows]
        added = pa.Table.from_pylist(decided, schema=DECIDED).append_column(
            "capfilt", pa.array([origin] * len(rows))
        )
        return Table.write(place, made.to_batches(), made.schema).add_columns(added, "by hand")

    return make
