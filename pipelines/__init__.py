"""How images flow: the only place that knows Ray Data."""
