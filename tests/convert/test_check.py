from limner.convert.check import agree


def test_a_check_holds_when_the_values_are_equal():
    assert agree("x", (1, 2), (1, 2), "why").ok
    assert not agree("x", "a", "b", "why").ok


def test_values_are_shown_as_people_read_them():
    line = agree("x", {"pad": 0, "cls": 101}, 4_060_479, "why")
    assert (line.expected, line.found, line.hint) == ("pad 0, cls 101", "4,060,479", "why")
    assert agree("x", ("a", "b"), 1e-6, "").expected == "a, b"
