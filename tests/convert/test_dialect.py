from limner.convert.dialect import Description, Dialect
from limner.models import MODELS


def test_a_dialect_that_only_reads_says_so():
    entry = MODELS["resnet18"]
    found = Description(entry.config, entry.image_spec, "classification")
    dialect = Dialect("x", "resnet", lambda w: True, lambda w: found, lambda c: None)  # type: ignore[arg-type,return-value]
    assert dialect.companions is None
    assert dialect.checks(entry.config) is None
