"""What a user may name as weights, with a hub and a server of this machine."""

import hashlib
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from huggingface_hub.utils import disable_progress_bars
from safetensors.torch import save

from limner.convert import hub, public
from limner.convert.hub import choose_weights, published_hash, resolve
from limner.convert.public import PublicFile
from limner.convert.weights import read_weights
from limner.errors import CheckpointError

OLD, NEW = "a" * 40, "b" * 40
PLAIN = {"model.safetensors": save({"w": torch.ones(2)}), "config.json": b'{"model_type": "vit"}'}
REPOSITORIES: dict[str, dict[str, dict[str, bytes]]] = {
    "org/both": {
        NEW: {
            **PLAIN,
            "pytorch_model.bin": b"pickle",
            "tokenizer.json": b"{}",
            "README.md": b"#",
            "a/b.txt": b"",
        },
        OLD: {**PLAIN, "config.json": b'{"model_type": "old"}'},
    },
    "org/pickle": {NEW: {"pytorch_model.bin": b"pickle", "training_args.bin": b"x", "optimizer.pt": b"x"}},
    "org/shards": {
        NEW: {
            "model.safetensors.index.json": json.dumps(
                {
                    "weight_map": {
                        "a": "model-00001-of-00002.safetensors",
                        "b": "model-00002-of-00002.safetensors",
                    }
                }
            ).encode(),
            "model-00001-of-00002.safetensors": save({"a": torch.ones(1)}),
            "model-00002-of-00002.safetensors": save({"b": torch.ones(2)}),
        }
    },
    "org/deep": {NEW: {"sub/weights.npz": b"x", "sub/config.json": b"{}", "config.json": b"{}"}},
    "org/none": {NEW: {"README.md": b"#"}},
    "org/bad-index": {NEW: {"model.safetensors.index.json": b"[]"}},
    "org/out-of-it": {NEW: {"model.safetensors.index.json": b'{"weight_map": {"a": "../../x"}}'}},
    "org/number": {NEW: {"model.safetensors.index.json": b'{"weight_map": {"a": 3}}'}},
}


class Hub(ThreadingHTTPServer):
    """The few addresses of a hub that its client asks for; `asked` lists the files that were sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.asked: list[str] = []
        self.requests = 0


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests += 1
        path = self.path.partition("?")[0]
        info = re.fullmatch(r"/api/models/(org/[\w-]+)/revision/(\w+)", path)
        file = re.fullmatch(r"/(org/[\w-]+)/resolve/(\w+)/(.+)", path)
        found = info or file
        commits = REPOSITORIES.get(found[1], {}) if found else {}
        commit = {"main": NEW, "v1": OLD}.get(found[2], found[2]) if found else ""
        if commit not in commits:
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound" if commits else "RepoNotFound"})
        if info:
            siblings = [{"rfilename": name} for name in commits[commit]]
            body = {
                "id": info[1],
                "sha": commit,
                "siblings": siblings,
                "private": False,
                "tags": [],
                "downloads": 0,
            }
            return self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})
        assert file is not None
        if file[3] not in commits[commit]:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        data = commits[commit][file[3]]
        if self.command == "GET":
            self.server.asked.append(file[3])
        tag = hashlib.sha256(data).hexdigest()
        return self.answer(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": commit})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as server:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("no_proxy", "*")
        address = f"http://127.0.0.1:{server.server_port}"
        for name, value in (("ENDPOINT", address), ("HF_HUB_OFFLINE", False), ("HF_HUB_DISABLE_XET", True)):
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        disable_progress_bars()
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def refused(name: str, **options: Any) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        resolve(name, **options)
    assert caught.value.wanted
    assert caught.value.hint
    return caught.value


def test_safetensors_come_and_pickles_do_not(served, tmp_path):
    path = resolve("hub:org/both", cache=tmp_path)
    assert path.name == "model.safetensors"
    assert sorted(served.asked) == ["config.json", "model.safetensors", "tokenizer.json"]
    weights = read_weights(path)
    assert weights.sides == {"config.json": {"model_type": "vit"}}
    assert weights.sha256 == hashlib.sha256(PLAIN["model.safetensors"]).hexdigest()


def test_a_second_run_fetches_nothing_and_an_offline_one_asks_nothing(served, tmp_path, monkeypatch):
    path = resolve("hub:org/both", cache=tmp_path)
    served.asked.clear()
    assert resolve("hub:org/both", cache=tmp_path) == path
    assert served.asked == []
    monkeypatch.setenv("LIMNER_OFFLINE", "1")
    before = served.requests
    assert resolve("hub:org/both", cache=tmp_path) == path
    assert resolve("hub:org/both@main", cache=tmp_path) == path
    assert resolve(f"hub:org/both@{NEW}", cache=tmp_path) == path
    assert resolve("hub:org/both:tokenizer.json", cache=tmp_path) == path.with_name("tokenizer.json")
    assert served.requests == before


def test_offline_says_what_to_do(served, tmp_path, monkeypatch):
    for name in ("LIMNER_OFFLINE", "HF_HUB_OFFLINE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "1")
            error = refused("hub:org/both@v1", cache=tmp_path)
            assert "forbids" in error.given
            assert "hf download org/both --revision v1" in error.hint
    assert served.requests == 0


@pytest.mark.parametrize("revision", ["v1", OLD])
def test_a_revision_is_taken(served, tmp_path, revision):
    path = resolve(f"hub:org/both@{revision}", cache=tmp_path)
    assert read_weights(path).sides == {"config.json": {"model_type": "old"}}
    assert OLD in str(path)


def test_a_pickle_comes_when_there_is_nothing_else(served, tmp_path):
    assert resolve("hub:org/pickle", cache=tmp_path).name == "pytorch_model.bin"
    assert served.asked == ["pytorch_model.bin"]


def test_all_parts_of_a_sharded_checkpoint_come(served, tmp_path):
    weights = read_weights(resolve("hub:org/shards", cache=tmp_path))
    assert {key: len(tensor) for key, tensor in weights.tensors.items()} == {"a": 1, "b": 2}


def test_one_file_is_named(served, tmp_path):
    path = resolve("hub:org/deep@main:sub/weights.npz", cache=tmp_path)
    assert path.read_bytes() == b"x"
    assert served.asked == ["sub/weights.npz", "sub/config.json"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("hub:org/absent", "cannot be had"),
        ("hub:org/both@nowhere", "cannot be had"),
        ("hub:org/both:absent.safetensors", "cannot be had"),
        ("hub:org/none", "holds no weights"),
        ("hub:org/bad-index", "no index"),
        ("hub:org/out-of-it", "no index"),
        ("hub:org/number", "no index"),
        ("hub:", "names no hub repository"),
        ("hub:a/b/c", "names no hub repository"),
        ("hub:org/both:../x", "names no hub repository"),
        ("hub:org/both@../../x", "names no hub repository"),
        ("hub:..", "names no hub repository"),
        ("hub:../x", "names no hub repository"),
    ],
)
def test_what_the_hub_does_not_have(served, tmp_path, name, what):
    assert what in refused(name, cache=tmp_path).given


def test_an_empty_folder_is_called_empty(tmp_path):
    assert refused(str(tmp_path)).given == f"{tmp_path} holds no files"


def test_without_a_network_the_cache_serves(served, tmp_path, monkeypatch):
    path = resolve("hub:org/both", cache=tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert resolve("hub:org/both", cache=tmp_path) == path
    assert "cannot be reached" in refused("hub:org/pickle", cache=tmp_path).given


def test_files_and_folders(tmp_path):
    file = tmp_path / "a.pth"
    file.write_bytes(b"x")
    assert resolve(file) == file
    assert resolve(str(file)) == file
    assert resolve(tmp_path) == file
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert resolve(str(tmp_path)).name == "model.safetensors"
    assert "does not exist" in refused(str(tmp_path / "absent.pt")).given
    assert "hub:org/both" in refused("org/both").hint


INDEX, BINARY_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["pytorch_model.bin", "model.safetensors", "flax.npz"], "model.safetensors"),
        ([INDEX, "model-00001-of-00002.safetensors", "pytorch_model.bin"], INDEX),
        (["open_clip_pytorch_model.bin", "open_clip_model.safetensors"], "open_clip_model.safetensors"),
        (["any.safetensors", "any.bin"], "any.safetensors"),
        (["ViT-B_16.npz", "x.pt"], "ViT-B_16.npz"),
        (["pytorch_model.bin", "other.pth"], "pytorch_model.bin"),
        ([BINARY_INDEX, "pytorch_model-00001-of-00002.bin"], BINARY_INDEX),
        (["only.ckpt", "optimizer.pt", "rng_state.pth", "training_args.bin"], "only.ckpt"),
    ],
)
def test_the_safest_kind_is_chosen(names, chosen):
    assert choose_weights(names, "x") == chosen
    assert choose_weights(names[::-1], "x") == chosen


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a.safetensors", "b.safetensors", "c.bin"], "2 weight files: a.safetensors, b.safetensors"),
        (["a.bin", "b.pt"], "2 weight files"),
        (["optimizer.pt", "readme"], "no weights"),
        ([], "x holds no files"),
    ],
)
def test_nothing_is_guessed_among_several(names, what):
    with pytest.raises(CheckpointError, match=what) as caught:
        choose_weights(names, "x")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("url", "digest"),
    [
        (f"https://x.net/clip/models/{'0a' * 32}/ViT-B-32.pt", "0a" * 32),
        ("https://x.net/resnet20-12fca82f.th", "12fca82f"),
        ("https://x.net/resnet50-0676ba61.pth?download=1", "0676ba61"),
        (f"https://x.net/a.pt#sha256={'AB' * 32}", "ab" * 32),
        ("https://x.net/resnet20-12fca82f.th#sha256=deadbeef", "deadbeef"),
        ("https://x.net/model_base_14M.pth", ""),
        ("https://x.net/model-20220101.pth", "20220101"),
    ],
)
def test_the_hash_in_an_address(url, digest):
    assert published_hash(url) == digest


def test_addresses_and_known_names_are_downloaded_and_checked(tmp_path, monkeypatch):
    seen: list[tuple[str, str, str]] = []

    def brings(url: str, target: Path, sha256: str = "", **_: Any) -> Path:
        seen.append((url, target.name, sha256))
        assert target.parent.parent == tmp_path
        return target

    monkeypatch.setattr(hub, "download", brings)
    folders = {
        resolve(name, cache=tmp_path).parent
        for name in (
            "https://x.net/a%20b/w-12fca82f.th",
            "https://x.net/c/w.pt#sha256=" + "0" * 64,
            "openai:RN50",
        )
    }
    assert len(folders) == 3  # JSON of one is never beside another
    assert seen[0] == ("https://x.net/a%20b/w-12fca82f.th", "w-12fca82f.th", "12fca82f")
    assert seen[1] == ("https://x.net/c/w.pt", "w.pt", "0" * 64)
    assert seen[2] == (public.PUBLIC["openai:RN50"].url, "RN50.pt", public.PUBLIC["openai:RN50"].sha256)


@pytest.mark.parametrize(
    "url", ["https://x.net/", "https://x.net", "https://x.net/.hidden", "https://x.net/a%2Fb"]
)
def test_an_address_names_a_file(url):
    assert "does not end in the name of a file" in refused(url).given


def test_a_known_file_that_is_nearly_named():
    assert "akamaster:resnet20" in refused("akamaster:resnet21").hint


def test_a_known_file_comes_from_its_server(served, tmp_path, monkeypatch):
    """From the name to the tensors, over a real connection, once; the second run asks nothing."""
    data = PLAIN["model.safetensors"]
    url = f"http://127.0.0.1:{served.server_port}/org/both/resolve/{NEW}/model.safetensors"
    row = PublicFile("test:model", url, hashlib.sha256(data).hexdigest(), "resnet18")
    monkeypatch.setitem(public.PUBLIC, "test:model", row)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path))
    path = resolve("test:model")
    assert read_weights(path).tensors["w"].tolist() == [1, 1]
    assert path.parent.parent == tmp_path / "weights"
    monkeypatch.setenv("LIMNER_OFFLINE", "1")
    assert resolve("test:model") == path
    assert len(served.asked) == 1
