"""What a pipeline can be asked for. Job files and the command line compose these; nothing here runs.

A request with values that no pipeline could work with cannot be made: SettingError or PathError, both ValueErrors.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from msgspec import Struct

from ops.archive.layout import Escrow, Reading, SettingError, check_choice
from ops.baselines import Format
from ops.codecs.labels import labels_of
from ops.codecs.names import AnyCodec
from ops.images import FailureCode
from ops.metrics.protocol import Protocol
from ops.pictures import Suffix
from ops.stores.routing import check_path

Changed = Literal["refuse", "skip", "new"]
NewSince = Literal["last_run"]
WITH_QUALITY = ("jpg", "webp")


BASELINES: tuple[Format, ...] = ("jpeg", "webp", "avif", "jxl")


class ScoreRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take scores while an archive is made and originals are at hand: by which protocol, against which formats."""

    protocol: Protocol
    baselines: tuple[Format, ...] = BASELINES
    rates: list[float] = []

    def __post_init__(self) -> None:
        _check_formats(self.baselines, self.rates)


class ArchiveRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Archive a source: make the archive, finish what was begun, or add what is new at the source.

    `codec` and `reading` may be left out: those of the archive that is there, or for a new one DEFAULT_CODEC and the
    defaults of Reading. `changed` says what happens to a key whose
    source image is another one by now: refuse the run, skip the key, or archive it anew.

    `weights` are files, folders or URLs in which a learned codec finds its weights. `escrow` says, once, whether large
    ones travel with the archive. Untrained ones are refused unless `allow_untrained`. `preflight` has a few images
    regrown and compared with bicubic before a large archive is made by a learned codec.
    """

    source: str
    archive: str
    codec: AnyCodec | None = None
    reading: Reading | None = None
    changed: Changed = "refuse"
    all_files: bool = False
    seal: bool = True
    score: ScoreRequest | None = None
    weights: tuple[str, ...] = ()
    escrow: Escrow | None = None
    allow_untrained: bool = False
    preflight: bool = True
    address: str | None = None

    def __post_init__(self) -> None:
        _check_places(self.address, source=self.source, archive=self.archive)
        _check_weights(self.weights)
        check_choice("changed", self.changed, get_args(Changed))
        if self.escrow is not None:
            check_choice("escrow", self.escrow, get_args(Escrow))


class RetryRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Try again what failed; all codes, or those named."""

    archive: str
    codes: list[FailureCode] = []
    score: ScoreRequest | None = None
    weights: tuple[str, ...] = ()
    address: str | None = None

    def __post_init__(self) -> None:
        _check_places(self.address, archive=self.archive)
        _check_weights(self.weights)


class SealRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Merge finished parts into packs and write the catalog and the seal."""

    archive: str
    address: str | None = None

    def __post_init__(self) -> None:
        _check_places(self.address, archive=self.archive)


class ReconstructRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Regrow images into files below a destination: all, or those for which every condition given holds.

    `keys_from` is a file of keys, one a line, or a folder or prefix of such files; those keys are added to `keys`, and
    one that the archive does not have fails alone. `new_since: last_run` selects what was archived since this job's
    last run that was done. `quality` (1 to 100, 90 without) is for JPEG and WebP. `metadata` puts camera facts, time
    and place of the original back into EXIF. `weights` are where a learned codec finds its weights, besides the archive
    itself.
    """

    archive: str
    destination: str
    keys: list[str] | None = None
    keys_from: str | None = None
    new_since: NewSince | None = None
    match: str | None = None
    where: str | None = None
    format: Suffix = "png"
    quality: int | None = None
    metadata: bool = False
    weights: tuple[str, ...] = ()
    address: str | None = None

    def __post_init__(self) -> None:
        lists = {} if self.keys_from is None else {"keys_from": self.keys_from}
        _check_places(self.address, archive=self.archive, destination=self.destination, **lists)
        _check_weights(self.weights)
        if self.new_since is not None:
            _check_new_since(self)
        check_choice("format", self.format, get_args(Suffix))
        check_quality(self.quality, self.format)


class EvaluateRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Judge an archive against its references, or `codecs` over a source, by a protocol.

    `references` are where else than at its sources an archive's originals lie. `baselines` are formats that get the
    same bytes as each thumbnail; `rates` are bits per pixel for curves. `destination` is the evaluation's folder,
    without one inside the archive or below ./evaluations. `keys`, `match` and `where` select of an archive. `again`
    judges once more what could not be judged before. `sample` has only so many of these images judged, or such a share
    of them (below 1), drawn anew for each `seed`. `weights` are where learned codecs find theirs, besides an archive
    itself; untrained ones are refused unless `allow_untrained`.
    """

    target: str
    protocol: Protocol
    references: str | None = None
    codecs: list[AnyCodec] = []
    baselines: tuple[Format, ...] = BASELINES
    rates: list[float] = []
    destination: str | None = None
    keys: list[str] | None = None
    match: str | None = None
    where: str | None = None
    sample: int | float | None = None
    seed: str = ""
    reading: Reading | None = None
    data_set: str = ""
    again: bool = False
    weights: tuple[str, ...] = ()
    allow_untrained: bool = False
    address: str | None = None

    def __post_init__(self) -> None:
        places = {"references": self.references, "destination": self.destination}
        _check_places(
            self.address, target=self.target, **{name: path for name, path in places.items() if path is not None}
        )
        _check_weights(self.weights)
        _check_once("codecs", labels_of(self.codecs))
        _check_formats(self.baselines, self.rates)
        _check_sample(self.sample, self.seed)


class VerifyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read what an archive has sealed and compare it with the checksums of its seals.

    `share` (above 0, up to 1) has only so much of the packs read in one run, and the next ones in the next.
    """

    archive: str
    share: float | None = None

    def __post_init__(self) -> None:
        _check_places(None, archive=self.archive)
        if self.share is not None and not 0 < self.share <= 1:
            raise SettingError(f"share {self.share:g}: write a number above 0, up to 1, such as 0.05; or leave it out")


def _check_new_since(request: ReconstructRequest) -> None:
    if request.new_since not in get_args(NewSince):
        raise SettingError(f"new_since {request.new_since!r}: write last_run, or leave it out")
    for name in ("keys", "keys_from"):
        if getattr(request, name) is not None:
            raise SettingError(
                f"new_since selects what is new, {name} what is named, old or new: leave one out, or write two jobs"
            )


def _check_sample(sample: float | None, seed: str) -> None:
    if sample is None:
        if seed:
            raise SettingError(
                f"seed {seed!r} draws a sample, and none is asked for: write sample, too, or leave it out"
            )
        return
    if not (sample >= 1 if isinstance(sample, int) else 0 < sample < 1):
        raise SettingError(f"sample {sample}: write how many images, such as 200, or which share, such as 0.01")


def _check_formats(baselines: Sequence[str], rates: Sequence[float]) -> None:
    _check_once("baselines", baselines)
    _check_once("rates", [f"{rate:g}" for rate in rates])
    for rate in rates:
        if not 0 < rate <= 24:
            raise SettingError(f"rates: {rate:g} bits per pixel; write numbers above 0, up to 24")


def _check_once(name: str, given: Sequence[object]) -> None:
    if len(set(given)) < len(given):
        raise SettingError(f"{name} names one twice: {', '.join(map(str, given))}")


def check_quality(quality: int | None, suffix: str) -> None:
    """Raise SettingError for a quality that pictures of this format cannot have."""
    if quality is None:
        return
    if suffix not in WITH_QUALITY:
        raise SettingError(f"quality is for jpg and webp, not for {suffix}: leave it out, or choose another format")
    if not 1 <= quality <= 100:
        raise SettingError(f"quality {quality}: write a number from 1 to 100")


def _check_weights(weights: Sequence[str]) -> None:
    for place in weights:
        check_path(place, "weights")


def _check_places(address: str | None, **paths: str) -> None:
    for name, path in paths.items():
        check_path(path, name)
    if address == "":
        raise SettingError("address is empty: leave it out, or write one such as ray://head:10001")
