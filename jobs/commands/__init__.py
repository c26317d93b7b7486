"""The commands, a module per kind. What is slow to import is imported inside them."""
