"""A line of a crontab that calls a schedule's tick."""

import shlex

from jobs.schedules.emitting.fields import fields_of
from jobs.schedules.emitting.here import log_file, system_zone, tick_command
from jobs.schedules.schedule import Scheduled

_SAME = {"Etc/UTC": "UTC", "Etc/UCT": "UTC", "UCT": "UTC", "Zulu": "UTC", "Etc/Zulu": "UTC", "Universal": "UTC"}


def crontab(scheduled: Scheduled) -> dict[str, str]:
    """Return the lines by the name of a file for them."""
    fields, zone = fields_of(scheduled), scheduled.schedule.zone
    lines = [f"# regrow: {scheduled.file}"]
    if not fields.exact:
        lines.append("# cron cannot say these days: it calls more often, and regrow runs what is due")
    if _same(zone) != _same(system_zone() or ""):
        lines += [
            "# CRON_TZ holds for all lines below it. cronie (RHEL, Fedora, Arch) reads it, Debian's cron does not: set",
            "# the machine's zone there, or use systemd (--as systemd)",
            f"CRON_TZ={zone}",
        ]
    command = f"{shlex.join(tick_command(scheduled))} >> {shlex.quote(log_file(scheduled))} 2>&1"
    # In a crontab a bare % ends the line.
    lines.append(f"{fields.cron()} {command.replace('%', chr(92) + '%')}")
    return {f"{scheduled.name}.crontab": "\n".join(lines) + "\n"}


def _same(zone: str) -> str:
    return _SAME.get(zone, zone)
