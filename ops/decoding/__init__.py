"""From encoded bytes to pixels: every admitted format, one colour space, upright, within limits."""

from ops.decoding.decode import Decoded, decode
from ops.decoding.header import Header, probe
from ops.decoding.limits import Limits
from ops.decoding.metadata import MetadataPolicy

__all__ = ["Decoded", "Header", "Limits", "MetadataPolicy", "decode", "probe"]
