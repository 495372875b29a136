import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import model_validator

from limner.config import Config, build, digest, override, read_toml, to_toml
from limner.errors import ConfigError


class Inner(Config):
    lr: float = 1.0
    name: str = "a"
    note: str | None = None


class Outer(Config):
    steps: int
    inner: Inner = Inner()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("steps = 3\n[inner]\nlr = 2.0\n")
    return path


def test_toml_becomes_a_config(path):
    assert read_toml(path, Outer) == Outer(steps=3, inner=Inner(lr=2.0))


def test_overrides_are_toml_or_plain_text(path):
    config = read_toml(path, Outer, ["inner.lr=1e-3", "steps = 7", "inner.name=hello world"])
    assert config == Outer(steps=7, inner=Inner(lr=1e-3, name="hello world"))


def test_an_override_can_make_a_section(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("steps = 3\n")
    assert read_toml(path, Outer, ['inner.name="b"']).inner.name == "b"


def test_override_leaves_its_input_alone():
    values = {"a": {"b": 1}}
    assert override(values, ["a.b=2"]) == {"a": {"b": 2}}
    assert values == {"a": {"b": 1}}


@pytest.mark.parametrize("assignment", ["steps", "=3", " = 3"])
def test_an_override_needs_a_key_and_a_value(path, assignment):
    with pytest.raises(ConfigError, match=r"wanted: section\.key=value"):
        read_toml(path, Outer, [assignment])


def test_an_override_cannot_walk_through_a_value(path):
    with pytest.raises(ConfigError, match="'steps' is a value"):
        read_toml(path, Outer, ["steps.x=1"])


def test_wrong_values_are_all_named(path):
    with pytest.raises(ConfigError, match="2 value") as raised:
        read_toml(path, Outer, ["steps=three", "inner.lrr=1"])
    assert "steps: Input should be a valid integer" in str(raised.value)
    assert "inner.lrr: Extra inputs are not permitted" in str(raised.value)


def test_rules_over_several_keys_are_told_in_plain_words():
    class Ruled(Config):
        inner: Inner = Inner()

        @model_validator(mode="after")
        def _rule(self):
            raise ValueError("these two do not go together")

    with pytest.raises(ConfigError, match=r"(?m)Ruled:\n    these two do not go together$"):
        build({"inner": {"lr": 3}}, Ruled, "here")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no recipe at"):
        read_toml(tmp_path / "no.toml", Outer)


@pytest.mark.parametrize("content", [b"steps = ", b"\xff\xfe"])
def test_what_is_no_toml_says_so(tmp_path, content):
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="is not valid TOML"):
        read_toml(tmp_path / "bad.toml", Outer)


def test_configs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Inner().lr = 3.0


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), NAMES)
def test_written_toml_reads_back(steps, lr, name):
    config = Outer(steps=steps, inner=Inner(lr=lr, name=name))
    assert build(tomllib.loads(to_toml(config)), Outer, "x") == config


def test_the_digest_is_of_values_not_of_order():
    one = Outer.model_validate({"steps": 1, "inner": {"lr": 2.0, "name": "b"}})
    other = Outer.model_validate(json.loads('{"inner": {"name": "b", "lr": 2.0}, "steps": 1}'))
    assert digest(one) == digest(other)
    assert digest(one) != digest(Outer(steps=2, inner=one.inner))
    assert len(digest(one)) == 12
