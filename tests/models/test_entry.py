from limner.models import MODELS


def test_no_alias_is_a_name_or_stands_for_two_models():
    aliases = [alias for line in MODELS.values() for alias in line.aliases]
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(MODELS)
