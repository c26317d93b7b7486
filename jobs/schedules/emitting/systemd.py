"""A service and a timer of systemd that call a schedule's tick."""

import re
from datetime import UTC, datetime

from jobs.errors import UsageError
from jobs.schedules.emitting.fields import fields_of, moved_ticks
from jobs.schedules.emitting.here import tick_command
from jobs.schedules.schedule import Scheduled
from jobs.schedules.ticking import STOP_SECONDS

# A service's own: what a tick takes to stop, and something on top.
_STOP_SECONDS = int(sum(STOP_SECONDS)) + 15

_SERVICE = """\
[Unit]
Description=regrow: a tick of {name}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
# SIGTERM goes to the tick alone, which hands it on to its run and waits.
KillMode=mixed
TimeoutStartSec={start}
TimeoutStopSec={stop}
"""
_TIMER = """\
[Unit]
Description=regrow: when {name} ticks, by {file}

[Timer]
{calendar}
AccuracySec=1s
Persistent={persistent}

[Install]
WantedBy=timers.target
"""


def systemd(scheduled: Scheduled) -> dict[str, str]:
    """Return both units by their names. Raises UsageError where its name cannot be a unit's."""
    unit, deadline = f"regrow-{scheduled.name}", scheduled.deadline_seconds()
    if not re.fullmatch(r"[A-Za-z0-9:_.-]+", unit):
        raise UsageError(f"name {scheduled.name!r} cannot be a unit's")
    service = _SERVICE.format(
        name=scheduled.name,
        command=" ".join(map(_quoted, tick_command(scheduled))),
        start="infinity" if deadline is None else deadline + _STOP_SECONDS,
        stop=_STOP_SECONDS,
    )
    timer = _TIMER.format(
        name=scheduled.name,
        file=scheduled.file.replace("%", "%%"),
        calendar="\n".join(_calendar(scheduled)),
        persistent="true" if scheduled.schedule.catch_up == "once" else "false",
    )
    return {f"{unit}.service": service, f"{unit}.timer": timer}


def _calendar(scheduled: Scheduled) -> list[str]:
    fields, zone = fields_of(scheduled), scheduled.schedule.zone
    lines = [f"OnCalendar={line}" for line in fields.calendar(zone)]
    if not fields.exact:
        lines.insert(0, "# systemd cannot say these days: it calls more often, and regrow runs what is due.")
    if moved := moved_ticks(scheduled, datetime.now(UTC)):
        lines.append("# systemd leaves out what lies in the hour that is skipped in spring: then it is run after it.")
        lines += [f"OnCalendar=*-{one.month:02d}-* {one.hour:02d}:{one.minute:02d}:00 {zone}" for one in moved]
    return lines


def _quoted(word: str) -> str:
    """Return a word of a command line as systemd reads it back."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[\s'\";\\]", word) else escaped
