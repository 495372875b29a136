"""`limner convert`: a model in one library's files in, in another's out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from limner.cli.terminal import Activation, ImageSize, Json, Tokenizer, give, options_of, stoppable, talk


def convert(
    source: Annotated[str, typer.Argument(help="A model, as limner inspect takes it.", show_default=False)],
    destination: Annotated[
        Path,
        typer.Argument(
            help="Folder to make, or a .safetensors file for the weights alone.", show_default=False
        ),
    ],
    to: Annotated[
        Literal["limner", "torchvision", "timm", "hf", "openai", "open_clip", "salesforce"],
        typer.Option("--to", help="Whose files to write; limner's hold any model."),
    ] = "limner",
    dtype: Annotated[
        Literal["fp32", "fp16", "bf16"], typer.Option(help="How floating weights are stored.")
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    tokenizer: Tokenizer = None,
    image_size: ImageSize = None,
    activation: Activation = None,
    as_json: Json = False,
) -> None:
    """Write a model in the files of another library.

    It is written whole or not at all, read back before it takes its place, and refused when the format cannot
    hold it. What the format has no word for is told.
    """
    from limner.convert.opening import open_bundle
    from limner.convert.saving import convert as write

    with stoppable("nothing is left half-written"):
        bundle = open_bundle(
            source, tokenizer=tokenizer, image_size=image_size, options=options_of(activation)
        )
        done = write(bundle, destination, to, dtype, force=force)
    if as_json:
        give({"path": str(done.path), "to": to, "files": list(done.files), "notes": list(done.notes)})
    else:
        typer.echo(f"{done.path}: {bundle.kind} as {to}, {', '.join(done.files)}")
    for note in done.notes:
        talk(f"note: {note}", colour=typer.colors.YELLOW)
