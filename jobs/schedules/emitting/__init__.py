"""What calls `regrow schedule tick`: a Kubernetes CronJob, systemd's units, a line of a crontab.

Each must call it at every tick; calls at other times do no harm, since a tick is decided by its records. So what one of
them cannot say exactly is said more widely.
"""
