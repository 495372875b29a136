"""limner: the road from pixels to language, ResNet → ViT → CLIP → BLIP.

    import limner
    model = limner.load("limner_tiny")
    model.caption("photo.jpg")
    limner.models("*b16*")

Importing it costs nothing; what is heavy comes in when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limner.models import names as models
    from limner.ready import Ready, load

__version__ = "0.1.0"
__all__ = ["Ready", "__version__", "load", "models"]


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for."""
    if name == "models":
        return import_module("limner.models")
    if name in ("Ready", "load"):
        return getattr(import_module("limner.ready"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names of the module, those that are not imported yet among them."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
