"""What every page shares: its style, and numbers as people read them."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import limner

_HERE = Path(__file__).parent
_MEASURES = {
    "i2t_r1": "image → text R@1",
    "t2i_r1": "text → image R@1",
    "cider_d": "CIDEr-D",
    "exact": "exact captions",
    "loss": "loss",
}
"""Names of measures as people write them; an unknown one is shown as it is recorded."""


def rendered(template: str, **values: Any) -> str:
    """A page as text; every value in it is escaped, and a value that is missing is an error.

    Args:
        template: name of a file beside this one.
        values: what it shows.
    """
    jinja = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {
        "count": count,
        "share": share,
        "number": number,
        "measure": measure,
        "reason": reason,
        "signed": signed,
    }
    return jinja.get_template(template).render(
        style=Markup(_text("style.css")), version=limner.__version__, **values
    )


def write_whole(out: Path, text: str) -> Path:
    """Write a page; it appears when it is whole.

    Args:
        out: the HTML file.
        text: of the page.
    """
    partial = out.with_name(f".{out.name}.partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(out)


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def count(value: int) -> str:
    """A number with commas between the thousands."""
    return f"{value:,}"


def share(value: float | None) -> str:
    """A share of 1 in percent; a dash for what is not known."""
    return "–" if value is None else f"{100 * value:.1f} %"


def number(value: float | str | None) -> str:
    """Three decimals; what JSON cannot hold is recorded as a word and shown as it is."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.3f}"


def signed(value: float) -> str:
    """Three decimals with the sign."""
    return f"{value:+.3f}".replace("-", "−")


def reason(code: str) -> str:
    """A reason code in words: "junk:file_name" is "junk: file name"."""
    return code.replace(":", ": ").replace("_", " ")


def measure(name: str) -> str:
    """The name of a measure as people write it."""
    return _MEASURES.get(name, name)
