import pytest
import torch
from torch import nn

from limner.checkpoint import load_train_state, train_state_folders
from limner.record import read_records
from limner.train.loop import train
from limner.train.work import Work

CPU = torch.device("cpu")


def test_a_linear_layer_is_counted_as_its_definition_says():
    """Forward and the weight's gradient: 2·n·in·out each; the input needs none."""
    work, layer, x = Work(CPU), nn.Linear(6, 5, bias=False), torch.randn(4, 6)
    with work.counted(4):
        layer(x).sum().backward()
    assert work.flops_per_sample == 2 * 2 * 6 * 5
    with work.counted(4):  # once is enough
        nn.Linear(6, 50)(x)
    assert work.flops_per_sample == 2 * 2 * 6 * 5
    assert work.rates(1e9) == {"tflops": pytest.approx(0.12)}


def test_mfu_is_the_part_of_a_known_peak(monkeypatch):
    work = Work(torch.device("cuda"))
    work.flops_per_sample = 1e12
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 2.5e9)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    assert work.rates(156.0) == {"tflops": 156.0, "peak_memory_gb": 2.5, "mfu": 0.5}
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "something new")
    assert work.rates(156.0) == {"tflops": 156.0, "peak_memory_gb": 2.5}


@pytest.mark.parametrize("kind", ["resnet", "vit", "masked_patch", "clip", "blip"])
def test_counting_changes_no_bit(kind, make_task, tmp_path):
    for count in (True, False):
        train(make_task(kind, steps=3, log_every=1, machine={"count_work": count}), tmp_path / str(count))
    one, other = (
        load_train_state(train_state_folders(tmp_path / str(count) / "checkpoints")[-1])
        for count in (True, False)
    )
    for stem, tensors in one.tensors.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, other.tensors[stem][name]), (stem, name)
    records = list(read_records(tmp_path / "True" / "records.jsonl", "train"))
    each = one.facts["flops_per_sample"]
    assert each > 0
    for record in records:
        assert record["tflops"] == pytest.approx(each * record["samples_per_s"] / 1e12)
        assert "mfu" not in record


def test_a_resumed_run_goes_by_what_was_counted(make_task, tmp_path, monkeypatch):
    train(make_task("vit", steps=2), tmp_path)
    monkeypatch.setattr("limner.train.work.FlopCounterMode", None)  # calling it would fail
    result = train(make_task("vit", steps=4, checkpoint_every=2), tmp_path, resume=True)
    assert result.step == 4
    assert list(read_records(tmp_path / "records.jsonl", "train"))[-1]["tflops"] > 0


def test_compiled_blocks_are_counted_too():
    """The stance that the counter sets leaves a compiled block's work in sight."""
    layer, x = nn.Linear(6, 5, bias=False), torch.randn(4, 6)
    layer.compile(backend="eager")
    work = Work(CPU)
    with work.counted(4):
        layer(x).sum().backward()
    assert work.flops_per_sample == 2 * 2 * 6 * 5
