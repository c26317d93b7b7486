"""OSIRDiff: TADM as its authors first described it (arXiv 2408.09151 v2)."""

from ops.codecs.tadm import TadmConfig


class OsirdiffConfig(TadmConfig, tag="osirdiff", frozen=True, kw_only=True):
    """`osirdiff-xN`: the networks of TADM. What differs lies in the weights, and is over once they are merged.

    No adapters in the autoencoder's decoder (TADM: of rank 16), so that it is the ft-MSE one as published; 1,352.47 M
    parameters with the text encoder instead of 1,354.52 M.
    """
