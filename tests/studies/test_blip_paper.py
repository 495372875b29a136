from limner.models.blip import DECODER_OWN
from limner.studies.blip_paper import ARMS, CLAIMS, PAPER, RAW


def test_every_arm_has_the_numbers_of_the_paper_and_a_claim():
    assert [*PAPER] == [*ARMS]
    assert {arm for claim in CLAIMS for arm in (claim.better, claim.worse)} == {*ARMS}
    assert all(0 < value < 2 for numbers in PAPER.values() for value in numbers.values())


def test_the_paper_holds_its_own_claims():
    for claim in CLAIMS:
        for measure, value in PAPER[claim.better].items():
            assert value > PAPER[claim.worse].get(measure, -1), (claim, measure)


def test_cleaned_arms_read_cleaned_texts_and_only_they():
    for name, arm in ARMS.items():
        assert bool(arm.cleaning) == (arm.column != "texts"), name
        assert arm.sharing in DECODER_OWN
    assert ARMS[RAW].sharing == "all_but_self_attention"
