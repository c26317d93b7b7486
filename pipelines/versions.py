"""Whether a worker judges as its driver would: the same codecs, weights and formats."""

from ops.archive.layout import ArchiveError
from ops.baselines import available_formats
from ops.codecs.names import codec_from
from ops.evaluation.document import Judging


def check_version(judging: Judging) -> None:
    """Raise ArchiveError where this machine's codecs, weights or formats are not those of the driver."""
    digests = [codec_from(settings).digest() for settings in judging.codecs]
    if digests != judging.codec_digests:
        raise ArchiveError("this worker has other codecs than its driver: install one version of regrow everywhere")
    weights = {metric.column: digest for metric in judging.protocol.metrics if (digest := metric.weights_digest())}
    if other := sorted(name for name, digest in weights.items() if digest != judging.weights.get(name)):
        raise ArchiveError(f"this worker has other weights of {', '.join(other)} than its driver: pull the same files")
    wanted = {candidate.format for candidate in judging.candidates if candidate.kind != "codec"}
    if without := sorted(wanted - set(available_formats().formats)):
        raise ArchiveError(f"this worker cannot write {', '.join(without)}, its driver can: install one Pillow")
