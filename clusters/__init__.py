"""What there is to run on: machines, their budget, and the Ray session on them. Knows nothing of images' codecs."""
