"""Schedules: a file says when a job runs; cron, systemd or Kubernetes call `regrow schedule tick` on it."""
