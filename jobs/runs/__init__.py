"""Runs that have a name: a record of each where the job writes, and a lease that keeps two from meeting."""
