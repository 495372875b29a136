"""The objective "detection": a detector afresh, from another detector, or on a trained residual network.

Source: He et al. 2015 (arXiv 1512.03385), section 4.3: what classification taught moves to detection.
"""

from collections.abc import Iterable

from limner.checkpoint import Bundle, config_name
from limner.config import build
from limner.data.boxes import AsBoxed, classes_of
from limner.errors import ConfigError
from limner.models import entry
from limner.models.detector import Detector, DetectorConfig, detector_on, new_classes
from limner.models.frozen import freeze_batch_norm
from limner.models.resnet import ResNet
from limner.recipe.schema import Recipe
from limner.recipe.sources import Source, TableSource
from limner.recipe.task import Made, Task, made, merged
from limner.train.steps import DetectionSettings, DetectionStep, start_draws
from limner.train.watch import Report

_DEFAULT = "faster_rcnn_resnet50_fpn"


def detection(recipe: Recipe, start: Bundle | None, report: Report) -> Task:
    """A detector of the things whose boxes the tables have."""
    settings, labels = recipe.objective, recipe.data.labels
    assert isinstance(settings, DetectionSettings)
    if start is not None and isinstance(start.model, ResNet):
        found = _on_backbone(recipe, start, start.model, report)
    else:
        found = made(recipe, start, {"num_classes": len(labels)}, Detector)
    model = found.model
    assert isinstance(model, Detector)
    if start is not None and start.model is model and start.labels != labels:
        report(f"a new last layer for {len(labels)} classes")
        new_classes(model, len(labels))
    if settings.freeze_norms and start is not None:
        freeze_batch_norm(model.backbone)
    return Task(
        *found._replace(config=model.config),
        tokenizer=None,
        labels=labels,
        collate=AsBoxed(labels),
        step=DetectionStep(settings, found.spec),
        start=start_draws,
        unit="boxes",
        purpose="detection",
        hint="python -c \"import limner; print(limner.load('RUN').detect('PICTURE'))\"",
    )


def _on_backbone(recipe: Recipe, start: Bundle, body: ResNet, report: Report) -> Made:
    """A fresh detector of the sizes that `[model]` names, on the weights of a residual network.

    Raises: ConfigError when `model.name` is no detector.
    """
    settings = recipe.model
    line = entry(settings.name)
    if not isinstance(line.config, DetectorConfig):
        raise ConfigError(
            f"model.name {settings.name!r} for a detector on {settings.start}",
            wanted="the detector that is built on that network",
            hint=f'--set model.name="{_DEFAULT}"',
        )
    report(f"a fresh detector on the weights of {start.kind}")
    values = merged(line.config.model_dump(), settings.settings) | {
        "backbone": body.config.model_dump(),
        "num_classes": len(recipe.data.labels),
    }
    config = build(values, DetectorConfig, "model.settings")
    spec = line.image_spec.model_copy(update={"mean": start.image_spec.mean, "std": start.image_spec.std})
    if settings.image_size:
        spec = spec.model_copy(update={"size": settings.image_size})
    model = detector_on(body, config)
    return Made(config_name(model.config), model.config, spec, model)


def things_in(sources: Iterable[Source]) -> tuple[str, ...]:
    """What the boxes of all rows that are read show, sorted.

    Raises: ConfigError when a source is no table, or there is no box; DataError when a table has none.
    """
    found: set[str] = set()
    for source in sources:
        if not isinstance(source, TableSource):
            raise ConfigError(f"a source of kind {source.kind!r} for boxes", wanted='kind = "table"')
        found.update(classes_of(source.path, source.version, source.where))
    if not found:
        raise ConfigError("no box with a label in the sources", wanted="at least one kind of thing")
    return tuple(sorted(found))
