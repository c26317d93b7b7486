"""Archive format 1: how it is laid out, written once, sealed and read."""
