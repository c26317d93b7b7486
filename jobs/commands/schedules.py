"""schedule tick, next, history, check, emit: jobs that run by the clock."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated, Literal, TypeAlias

import typer

from jobs.commands.options import Json, Quiet, example

app = typer.Typer(no_args_is_help=True, help="Run jobs by the clock: cron, systemd or Kubernetes call `schedule tick`.")

File: TypeAlias = Annotated[
    str, typer.Argument(metavar="SCHEDULE.yaml", help="A YAML file; jobs/examples/schedules/nightly.yaml shows all.")
]
Now: TypeAlias = Annotated[
    str | None,
    typer.Option("--now", metavar="MOMENT", show_default="the clock", help="As if it were 2026-11-25T01:30:00Z."),
]


@app.command("tick", epilog=example("regrow schedule tick nightly.yaml"))
def call_tick(schedule: File, *, now: Now = None, quiet: Quiet = False) -> int:
    """Run what is due, each run in a process of its own. Called as often as you like, it runs every tick once."""
    from jobs.schedules.schedule import read_scheduled
    from jobs.schedules.ticking import tick

    return tick(read_scheduled(schedule), _moment(now), _say, quiet=quiet)


@app.command("run-tick", hidden=True)
def run_tick(schedule: File, at: str, *, quiet: Quiet = False) -> int:
    """Run the job of one tick: what `tick` does in a process of its own."""
    from jobs.output import Show
    from jobs.runs.lease import Held
    from jobs.runs.once import perform_once
    from jobs.runs.recording import Run
    from jobs.runs.times import read_moment
    from jobs.schedules.notifying import notify_of
    from jobs.schedules.schedule import read_scheduled
    from jobs.schedules.ticking import SKIPPED

    scheduled = read_scheduled(schedule)
    show = Show(command=["schedule", "tick", scheduled.file], quiet=quiet, notify=notify_of(scheduled))
    run = Run(id=scheduled.run_id(read_moment(at)), schedule=scheduled.name, tick=at)
    wait = scheduled.schedule.overlap == "wait"
    try:
        return perform_once(scheduled.request, show, run, wait=wait)
    except Held as held:
        _say(f"{run.id} is skipped, as its overlap policy says: {held}")
        return SKIPPED


@app.command("next", epilog=example("regrow schedule next nightly.yaml --count 7"))
def show_next(
    schedule: File,
    *,
    count: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="How many ticks.")] = 5,
    now: Now = None,
) -> int:
    """Show the next ticks, in the schedule's own zone and in UTC."""
    from itertools import islice

    from jobs.output import write_lines
    from jobs.schedules.schedule import read_scheduled
    from jobs.schedules.telling import tick_words

    scheduled = read_scheduled(schedule)
    write_lines(tick_words(scheduled, tick) for tick in islice(scheduled.after(_moment(now)), count))
    return 0


@app.command("history", epilog=example("regrow schedule history nightly.yaml --json"))
def show_history(
    schedule: File,
    *,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="How many ticks, the newest first.")] = 20,
    now: Now = None,
    json: Json = False,
) -> int:
    """Show what became of each tick: its run, how long it took, what it did, and which ticks were missed."""
    from jobs.output import write_json, write_lines, write_table
    from jobs.schedules.history import HEADINGS, history
    from jobs.schedules.schedule import read_scheduled

    scheduled = read_scheduled(schedule)
    found = history(scheduled, _moment(now), count)
    if json:
        write_json(found)
    elif found:
        write_table(HEADINGS, [one.cells() for one in found])
    else:
        write_lines([f"{scheduled.name}: no tick was run yet; records will lie in {scheduled.place.records}"])
    return 0


@app.command("check", epilog=example("regrow schedule check nightly.yaml"))
def check(schedule: File, *, now: Now = None) -> int:
    """Read a schedule and its job, and say when it runs next. Exit status 2 where anything is wrong in them."""
    from jobs.output import write_facts, write_lines
    from jobs.schedules.schedule import read_scheduled
    from jobs.schedules.telling import facts_of

    scheduled = read_scheduled(schedule)
    write_lines([f"{scheduled.name}: {scheduled.file}"])
    write_facts(facts_of(scheduled, _moment(now)))
    return 0


@app.command("emit", epilog=example("regrow schedule emit nightly.yaml --as systemd --to ~/.config/systemd/user"))
def emit(
    schedule: File,
    *,
    what: Annotated[Literal["cronjob", "systemd", "crontab"], typer.Option("--as", help="For which scheduler.")],
    to: Annotated[
        str | None, typer.Option(metavar="FOLDER", show_default="stdout", help="Write files into this folder.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", show_default="regrow:VERSION", help="A cronjob's image.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", show_default="kubectl's", help="A cronjob's namespace.")
    ] = None,
) -> int:
    """Write what calls `schedule tick` at each tick: a Kubernetes CronJob, systemd's units, or a crontab's line."""
    from jobs.errors import UsageError
    from jobs.schedules.emitting.cronjob import cronjob
    from jobs.schedules.emitting.crontab import crontab
    from jobs.schedules.emitting.systemd import systemd
    from jobs.schedules.schedule import read_scheduled
    from jobs.schedules.telling import write_files

    if what != "cronjob" and (image or namespace):
        raise UsageError(f"--image and --namespace are for --as cronjob, not for {what}: leave them out")
    scheduled = read_scheduled(schedule)
    makers = {"systemd": systemd, "crontab": crontab}
    write_files(cronjob(scheduled, image, namespace) if what == "cronjob" else makers[what](scheduled), to)
    return 0


def _moment(now: "str | None"):  # noqa: ANN202  a datetime, imported when it is asked for
    from datetime import UTC, datetime

    from jobs.runs.times import read_moment

    return datetime.now(UTC) if now is None else read_moment(now)


def _say(line: str) -> None:
    import sys

    sys.stderr.write(f"regrow: {line}\n")
    sys.stderr.flush()
