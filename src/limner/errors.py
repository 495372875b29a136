"""The one exception tree.

LimnerError
├── ConfigError       a recipe, an override or an option is wrong
├── DataError         a table, a row or a source is wrong
│   └── PictureError  one picture was refused; carries a reason code
├── ShapeError        tensors do not fit together
├── CheckpointError   a checkpoint cannot be read, written or trusted
└── TrainingError     a run cannot go on
"""


class LimnerError(Exception):
    """An error a user can act on: what was given, what was wanted, what to type next.

    Args:
        given: what limner saw, with the offending value.
        wanted: what would have been right.
        hint: the next thing to type or do.
    """

    def __init__(self, given: str, *, wanted: str = "", hint: str = "") -> None:
        self.given, self.wanted, self.hint = given, wanted, hint
        lines = [given]
        if wanted:
            lines.append(f"  wanted: {wanted}")
        if hint:
            lines.append(f"  try:    {hint}")
        super().__init__("\n".join(lines))


class ConfigError(LimnerError):
    """A recipe, an override or a command-line option is wrong."""


class DataError(LimnerError):
    """A table, a row or a source of pairs is wrong."""


class PictureError(DataError):
    """One picture was refused by the intake.

    Args:
        reason: short code that quarantine and reports count by, such as "truncated".
    """

    def __init__(self, given: str, *, reason: str, wanted: str = "", hint: str = "") -> None:
        super().__init__(given, wanted=wanted, hint=hint)
        self.reason = reason


class ShapeError(LimnerError):
    """Tensors do not fit together, or a size is impossible."""


class CheckpointError(LimnerError):
    """A checkpoint cannot be read, written or trusted."""


class TrainingError(LimnerError):
    """A training run cannot start or go on."""
