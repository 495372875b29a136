"""The card of a trained model: a README.md with the header that model hubs read, from the run's own facts."""

import json
from collections.abc import Mapping
from typing import Any, Final

import limner
from limner.recipe.schema import Recipe
from limner.recipe.sources import TableSource
from limner.recipe.task import Task

_PIPELINES: Final = {
    "blip": "image-to-text",
    "contrastive": "zero-shot-image-classification",
    "classification": "image-classification",
    "masked_patch": "image-feature-extraction",
    "vqa": "visual-question-answering",
    "nlvr2": "visual-question-answering",
    **dict.fromkeys(("bag_of_words", "ngrams", "virtex", "icmlm"), "image-feature-extraction"),
    "convirt": "zero-shot-image-classification",
    "detection": "object-detection",
}
_USES: Final = {
    "blip": 'model.caption("picture.jpg")',
    "contrastive": 'model.classify("picture.jpg", labels=["a dog", "a cat"])',
    "classification": 'model.classify("picture.jpg")',
    "masked_patch": 'model.encode_image("picture.jpg")',
    "vqa": 'model.answer("picture.jpg", "what is this?")',
    "nlvr2": 'model.judge("picture.jpg", "picture.jpg", "both pictures show a dog")',
    **dict.fromkeys(("bag_of_words", "virtex", "icmlm"), 'model.encode_image("picture.jpg")'),
    **dict.fromkeys(("convirt", "ngrams"), 'model.classify("picture.jpg", labels=["a dog", "a cat"])'),
    "detection": 'model.detect("picture.jpg")',
}


def card_of(
    recipe: Recipe,
    task: Task,
    derived: Mapping[str, float],
    measures: Mapping[str, float],
    seconds: float,
    machine: Mapping[str, Any],
) -> str:
    """Markdown with a YAML header.

    Args:
        recipe: resolved.
        task: what was trained.
        derived: quantities that follow from the recipe.
        measures: of the weights that are shipped, `evaluator/name` → value.
        seconds: of training.
        machine: what it ran on.
    """
    kind = recipe.objective.kind
    head = {
        "library_name": "limner",
        "pipeline_tag": _PIPELINES[kind],
        "tags": ["limner", task.name or kind],
        **({"base_model": recipe.model.start} if recipe.model.start.startswith("hub:") else {}),
    }
    lines = ["---", *(f"{name}: {json.dumps(value)}" for name, value in head.items()), "---", ""]
    lines += [f"# {task.name or kind}, run {recipe.digest}", ""]
    began = f"went on from `{recipe.model.start}`" if recipe.model.start else "started from fresh weights"
    lines += [
        f"A model of {int(derived['parameters']):,} parameters for pictures of {task.spec.size} pixels. Its "
        f"training {began} and saw {int(derived['samples']):,} samples, {derived['epochs']:g} epochs of "
        f"{int(derived['rows']):,} rows, in {seconds / 60:.1f} minutes.",
        "",
        "```python",
        "import limner",
        "",
        'model = limner.load("THIS FOLDER")',
        _USES[kind],
        "```",
        "",
        "## Data",
        "",
        *(f"- {_told(source)}" for source in recipe.data.sources),
        "",
    ]
    if task.labels:
        shown = ", ".join(task.labels[:20]) + f" and {len(task.labels) - 20} more" * (len(task.labels) > 20)
        lines += [f"Classes: {shown}.", ""]
    if measures:
        lines += ["## Measures", "", "| measure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4g} |" for name, value in measures.items()]
        lines += ["", "One run; another seed gives other last digits.", ""]
    else:
        lines += ["Nothing was measured on held-out rows: `[evaluate]` was empty.", ""]
    lines += [
        "## How it was made",
        "",
        f"limner {limner.__version__}; `config.json` holds the whole recipe.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in machine.items() if name != "limner"]
    return "\n".join(lines) + "\n"


def _told(source: Any) -> str:
    if not isinstance(source, TableSource):
        return f"{source.kind}, weight {source.weight:g}"
    rows = f", rows where {source.where}" if source.where else ""
    name = source.path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    texts = f"texts in `{source.texts_column}`, weight {source.weight:g}"
    return f"table {name}, version {source.version}{rows}, {texts}"
