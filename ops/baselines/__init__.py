"""Conventional formats at the same bytes, to judge every codec against."""

from ops.baselines.fitting import Available, Baseline, Fit, Format, available_formats, fit, fit_rate

__all__ = ["Available", "Baseline", "Fit", "Format", "available_formats", "fit", "fit_rate"]
