"""Whole systems of networks, on tensors: one image down to its thumbnail, and back."""
