"""What "auto" becomes, and what is said of emulated numbers."""

import pytest
import torch

from limner.train import precision
from limner.train.precision import cpu_has_bf16, fast_precision, slow_precision

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False])
def has_bf16(request, monkeypatch) -> bool:
    capabilities = {"avx512_bf16": False, "amx_bf16": request.param}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    return request.param


def test_auto_is_what_the_cpu_has_instructions_for(has_bf16: bool):
    assert cpu_has_bf16() == has_bf16
    assert fast_precision(CPU) == ("bf16" if has_bf16 else "fp32")


def test_emulated_numbers_are_told(has_bf16: bool):
    assert slow_precision("fp32", CPU) == ""
    assert ("--set train.precision=fp32" in slow_precision("bf16", CPU)) == (not has_bf16)
    assert "fp16 is emulated" in slow_precision("fp16", CPU)
    assert slow_precision("bf16", torch.device("cuda")) == ""


def test_a_gpu_is_asked(monkeypatch):
    for native, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, n=native: n)
        assert fast_precision(torch.device("cuda")) == expected


def test_an_older_torch_says_less(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    assert cpu_has_bf16()
    monkeypatch.setattr(precision.platform, "machine", lambda: "riscv64")
    assert not cpu_has_bf16()
