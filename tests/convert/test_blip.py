from limner.convert.blip import DIALECTS
from limner.models import ARCHITECTURES


def test_each_layout_of_each_kind_stands_once() -> None:
    lines = [(dialect.name, dialect.architecture) for dialect in DIALECTS]
    kinds = ("blip", "blip_vqa", "blip_nlvr2")
    assert sorted(lines) == sorted((name, kind) for name in ("salesforce", "hf") for kind in kinds)
    assert set(kinds) < ARCHITECTURES.keys()
