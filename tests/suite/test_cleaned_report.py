"""Every section is there, and plain."""

import json

from limner.suite.cleaned import read_cleaned
from limner.suite.cleaned_report import cleaned_report


def test_the_report_is_plain_values(make_cleaned):
    table = make_cleaned(truth=[["clean", "junk"][: 1 + number % 2] for number in range(24)])
    found = cleaned_report(read_cleaned(table), price_per_hour=1.0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found["labels"]) == ["truth"]
    assert found["truth"]["texts"] == found["ledger"]["web"]["total"] - 2
    assert found["cost"] is None
    assert found["records"].endswith("cleaned.capfilt/records.jsonl")


def test_what_is_not_there_is_none(make_cleaned):
    found = cleaned_report(read_cleaned(make_cleaned(two=False)))
    assert (found["decodings"], found["labels"], found["people"], found["truth"]) == (None, {}, [], None)
