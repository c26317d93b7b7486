"""An evaluation: a folder of frozen plan, score rows and features, from which reports are made."""
