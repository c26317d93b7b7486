"""What to run: command line, job files, pages."""
