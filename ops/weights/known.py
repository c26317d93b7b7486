"""All files of weights that regrow knows, by name."""

from ops.weights.carried import CARRIED
from ops.weights.files import UnknownWeights, WeightFile
from ops.weights.official import OFFICIAL

KNOWN: dict[str, WeightFile] = {known.name: known for known in (*CARRIED, *OFFICIAL)}


def known_file(name: str) -> WeightFile:
    """Return what is known of a name. Raises UnknownWeights with the names there are."""
    try:
        return KNOWN[name]
    except KeyError:
        raise UnknownWeights(f"no weights are called {name}; there are {', '.join(KNOWN)}") from None
