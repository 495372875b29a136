"""Where a run's scalars also go when asked: TensorBoard, wandb, trackio. Records are written anyway.

A sink may fail at any time, when it is opened, written to or closed: that is said once, it is left out from
then on, and training goes on. Nothing goes over the network unless a sink that does so is named.
"""

import os
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

SinkName = Literal["tensorboard", "wandb", "trackio"]
"""Each is an extra of the same name."""


class Sink(Protocol):
    """Takes the scalars of a step; any method may raise."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Keep named scalars of a step."""
        ...

    def close(self) -> None:
        """Write what is buffered."""
        ...


class TensorBoard:
    """Event files in a folder.

    Args:
        out: the run folder; they go to `tensorboard/` below it.
        facts: unused.
    """

    def __init__(self, out: Path, facts: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(out / "tensorboard")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add them one by one."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is buffered."""
        self.writer.close()


class Tracked:
    """A run of wandb, or of trackio, which speaks the same words; named as the run folder.

    Args:
        package: the module, imported.
        out: the run folder.
        options: further ones of `init`.
    """

    def __init__(self, package: Any, out: Path, **options: Any) -> None:
        project = os.environ.get("WANDB_PROJECT", "limner")
        self.run: Any = package.init(project=project, name=out.name, resume="allow", **options)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log them as one step."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Wait until all is written."""
        self.run.finish()


def wandb(out: Path, facts: Mapping[str, Any]) -> Tracked:
    """Weights & Biases, as WANDB_MODE, WANDB_PROJECT and its other variables say."""
    import wandb as package

    return Tracked(package, out, config=dict(facts), dir=str(out), id=run_id(out))


def run_id(out: Path) -> str:
    """The name by which wandb knows a run again: drawn once, and kept in the run folder."""
    kept = out / "wandb_id"
    if not kept.exists():
        out.mkdir(parents=True, exist_ok=True)
        kept.write_text(secrets.token_hex(8), encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def trackio(out: Path, facts: Mapping[str, Any]) -> Tracked:
    """Trackio, which keeps its runs on this machine."""
    import trackio as package

    return Tracked(package, out, config=dict(facts))


SINKS: Final[dict[str, Callable[[Path, Mapping[str, Any]], Sink]]] = {
    "tensorboard": TensorBoard,
    "wandb": wandb,
    "trackio": trackio,
}
"""How each sink is opened: the run folder, and what the run is."""


class Sinks:
    """All sinks of a run; the first failure of one warns, and it is left out from then on.

    Args:
        names: of `SINKS`.
        out: the run folder.
        facts: what the run is, as plain values.
    """

    def __init__(self, names: Iterable[str], out: Path, facts: Mapping[str, Any]) -> None:
        self.open: dict[str, Sink] = {}
        for name in dict.fromkeys(names):
            try:
                self.open[name] = SINKS[name](out, facts)
            except Exception as error:
                _warn(name, error)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Give named scalars of a step to all; nothing where there are none."""
        if values:
            self._each(lambda sink: sink.scalars(step, values))

    def close(self) -> None:
        """Close all."""
        self._each(lambda sink: sink.close())
        self.open.clear()

    def _each(self, do: Callable[[Sink], None]) -> None:
        for name, sink in list(self.open.items()):
            try:
                do(sink)
            except Exception as error:
                del self.open[name]
                _warn(name, error)


def scalars_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a train record: its terms under their own names, then the rest but its clock."""
    left_out = ("step", "left_s", "seconds")
    plain = {k: v for k, v in record.items() if k not in left_out and isinstance(v, int | float)}
    return {**record["terms"], **plain}


def _warn(name: str, error: Exception) -> None:
    missing = isinstance(error, ImportError)
    hint = f"; pip install 'limner[{name}]'" if missing else ""
    said = f"no {name} from here on, records go on: {type(error).__name__}: {error}{hint}"
    warnings.warn(said, RuntimeWarning, stacklevel=4)
