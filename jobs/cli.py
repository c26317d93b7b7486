"""The command line: `regrow`. Nothing slow is imported before a command runs."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import ops
from jobs.commands import (
    archiving,
    checking,
    clusters,
    estimating,
    evaluating,
    looking,
    reconstructing,
    schedules,
    submitting,
    training,
    weights,
)
from jobs.commands.options import EVERY_DAY, MORE, example
from jobs.errors import WRONG_USE, closed_pipe, tell

_DEBUG = "REGROW_DEBUG"

app = typer.Typer(
    name="regrow", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

# In the order of the front page.
for _panel, _command, _example in (
    (EVERY_DAY, archiving.archive, "regrow archive photos/ photos.regrow"),
    (EVERY_DAY, reconstructing.reconstruct, 'regrow reconstruct photos.regrow pictures/ --match "2024/*" --format jpg'),
    (EVERY_DAY, looking.show, "regrow show photos.regrow 2024/a.jpg"),
    (EVERY_DAY, evaluating.evaluate, "regrow evaluate photos.regrow"),
    (EVERY_DAY, looking.info, "regrow info s3://bucket/photos.regrow"),
    (EVERY_DAY, checking.verify, "regrow verify photos.regrow"),
    (EVERY_DAY, archiving.run, "regrow run nightly.yaml"),
    (MORE, estimating.estimate, "regrow estimate nightly.yaml --speed 28 --price 3.5"),
    (MORE, looking.ls, 'regrow ls photos.regrow --where "width > 4000" --long'),
    (MORE, looking.failures, "regrow failures photos.regrow"),
    (MORE, archiving.retry, "regrow retry photos.regrow --code unreadable"),
    (MORE, archiving.seal, "regrow seal photos.regrow"),
    (MORE, checking.selftest, "regrow selftest photos.regrow"),
    (MORE, evaluating.compare, "regrow compare evaluations/regrow-1f6a0c2d evaluations/regrow-98d1b04e"),
    (MORE, training.train, "regrow train nano-x16 --out runs/nano-x16"),
):
    app.command(epilog=example(_example), rich_help_panel=_panel)(_command)
app.add_typer(clusters.app, name="cluster", rich_help_panel=MORE)
app.add_typer(schedules.app, name="schedule", rich_help_panel=MORE)
app.add_typer(submitting.app, name="job", rich_help_panel=MORE)
app.add_typer(weights.app, name="weights", rich_help_panel=MORE)


def _show_version(wanted: bool) -> None:
    if wanted:
        from ops.stack import regrow_version  # noqa: PLC0415  imports numpy and Pillow

        typer.echo(f"regrow {regrow_version()}")
        raise typer.Exit


@app.callback()
def _front(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which regrow this is.")
    ] = False,
) -> None:
    """Keep a small, viewable thumbnail of every image, and regrow a plausible full-size one on demand.

    Lossy: keep the originals of whatever must stay true.

    Exit status: 0 done, 1 failed in part or whole, 2 wrong use, 130 and 143 stopped by Ctrl-C or SIGTERM.
    """


def main() -> None:
    """Run the command line and end the process with its exit status."""
    if (shadow := wrong_ops()) is not None:
        sys.stderr.write(shadow)
        sys.exit(WRONG_USE)
    sys.exit(run(sys.argv[1:]))


def wrong_ops() -> str | None:
    """Return what to say where the package `ops` is not ours: another distribution has one of that name."""
    if getattr(ops, "REGROW", None) == "regrow":
        return None
    where = getattr(ops, "__file__", None) or next(iter(getattr(ops, "__path__", ["?"])))
    return (
        f"regrow: {where} is another package called ops, found before regrow's: uninstall it (pip uninstall ops), or "
        "run regrow from an environment of its own\n"
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status: 0, 1 for failed input, 2 for wrong use, 128 and more for signals."""
    command = typer.main.get_command(app)
    # Not app(): it answers interrupts and closed pipes in its own way, and shows wrong use in a box.
    try:
        with command.make_context("regrow", list(arguments), obj=list(arguments)) as context:
            status = command.invoke(context) or 0
        sys.stdout.flush()
        return status
    except typer.Exit as done:
        return done.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return closed_pipe()
    except Exception as error:
        if os.environ.get(_DEBUG):
            raise
        return _tell(error)


def _tell(error: Exception) -> int:
    # Typer's errors of wrong use; their class has moved between its versions.
    if hasattr(error, "format_message"):
        return _tell_wrong_use(error)
    told = tell(error)
    if told is None:
        raise error
    sys.stderr.write(f"regrow: {told.line}\n")
    return told.status


def _tell_wrong_use(error: Any) -> int:
    message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    if not message:  # no arguments at all: the help was shown
        return WRONG_USE
    path = error.ctx.command_path if getattr(error, "ctx", None) else "regrow"
    sys.stderr.write(f"regrow: {message[:1].lower()}{message[1:]}; see `{path} --help`\n")
    return WRONG_USE


if __name__ == "__main__":
    main()
