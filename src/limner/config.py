"""Strict configuration: pydantic models are the schema, TOML the values, `a.b=c` the only override."""

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer

from limner.errors import ConfigError


class Config(BaseModel):
    """A frozen config that refuses unknown keys; every section of a recipe is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    LATER: ClassVar[frozenset[str]] = frozenset()
    """Fields that younger limners added; not written where nothing was said, so that runs keep digests."""

    @model_serializer(mode="wrap")
    def _written(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        values = plain(self)
        silent = {name for name in self.LATER if getattr(self, name) == _default(type(self), name)}
        return {name: value for name, value in values.items() if name not in silent}


def _default(schema: type[BaseModel], name: str) -> Any:
    return schema.model_fields[name].get_default(call_default_factory=True)


C = TypeVar("C", bound=BaseModel)


def build(values: dict[str, Any], schema: type[C], origin: str) -> C:
    """Validate plain values against a schema.

    Args:
        values: nested dictionary, as read from TOML or JSON.
        schema: the config class.
        origin: file name or option, for the message.
    Raises: ConfigError that names each wrong key, the value and what was expected.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        lines = [_told(dict(found)) for found in error.errors()]
        raise ConfigError(
            f"{origin}: {len(lines)} value(s) do not fit {schema.__name__}:\n    " + "\n    ".join(lines),
            hint="correct the keys above; `--set section.key=value` overrides one",
        ) from error


def _told(found: dict[str, Any]) -> str:
    """One misfit in a line: the key, what is wrong, the value unless it is a whole section."""
    where = ".".join(map(str, found["loc"]))
    said = found["msg"].removeprefix("Value error, ")
    given = "" if isinstance(found["input"], dict) else f" (given {found['input']!r})"
    return f"{where}: {said}{given}" if where else f"{said}{given}"


def read_toml(path: str | Path, schema: type[C], overrides: Iterable[str] = ()) -> C:
    """Read a TOML file into a config, with `section.key=value` overrides applied first.

    Raises: ConfigError when the file is missing, is not TOML, or does not fit the schema.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"no recipe at {path}", wanted="a TOML file", hint="ls recipes/ shows those limner ships"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", wanted="TOML, see docs/recipes.md") from error
    return build(override(values, overrides), schema, str(path))


def override(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return a copy of `values` with each `a.b=c` set; `c` is TOML, or else a plain string.

    Raises: ConfigError when an assignment has no "=" or walks through a value that is no section.
    """
    result: dict[str, Any] = json.loads(json.dumps(values))
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted.strip():
            raise ConfigError(f"--set {assignment!r}", wanted="section.key=value", hint="--set optim.lr=1e-3")
        *sections, key = dotted.strip().split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(
                    f"--set {assignment!r}: {section!r} is a value", wanted="a section before the last dot"
                )
        place[key] = _toml_value(text.strip())
    return result


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def to_toml(config: BaseModel) -> str:
    """Write a config as TOML text; None values are left out, as TOML has none."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def digest(config: BaseModel) -> str:
    """First 12 hex digits of the SHA-256 of the config's canonical JSON: the identity of a run."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
