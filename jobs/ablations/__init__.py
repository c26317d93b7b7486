"""The papers' ablations that can be trained, as job files at the size of `nano`, and the table of what they come to."""
