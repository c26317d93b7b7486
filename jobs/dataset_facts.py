"""Which data sets are known: names, counts and folders of their files, and what is not known of them."""

from collections.abc import Iterator

from msgspec import Struct


class Place(Struct, frozen=True):
    """A folder below a root that may hold the files, and how they are called there.

    `pattern` takes `n`, and `block`: `n` rounded up to thousands. Without one, names are not known, only their count.
    """

    folder: str
    pattern: str = ""

    def names(self, first: int, count: int) -> Iterator[str]:
        """Yield the names of files `first` and on, below the folder."""
        for n in range(first, first + count):
            yield self.pattern.format(n=n, block=-(-n // 1000) * 1000)


class Portion(Struct, frozen=True):
    """Files that lie in one folder: how many, numbered from `first`, and the folders where they are looked for.

    `prefix` begins their keys where a split has several portions.
    """

    count: int
    places: tuple[Place, ...]
    first: int = 1
    prefix: str = ""


class Split(Struct, frozen=True, kw_only=True):
    """A part of a data set that is measured or trained on. `ways` are the arrangements that people have of it."""

    ways: tuple[tuple[Portion, ...], ...]
    training: bool = False
    about: str = ""

    @property
    def count(self) -> int:
        """How many images there are."""
        return sum(portion.count for portion in self.ways[0])


class Dataset(Struct, frozen=True, kw_only=True):
    """A data set. Its first split is meant where none is named; `folders` may lie between the root and a place."""

    title: str
    splits: dict[str, Split]
    folders: tuple[str, ...] = ("",)
    terms: str
    source: str
    unknown: str = ""


def _numbered(pattern: str, *folders: str) -> tuple[Place, ...]:
    return tuple(Place(folder, pattern) for folder in folders)


def _unnamed(*folders: str) -> tuple[Place, ...]:
    return tuple(Place(folder) for folder in folders)


_DIV2K = "{n:04d}.png"
_FLICKR = "{n:06d}.png"
_LSDIR = "{n:07d}.png"
_DIV2K_TRAIN = ("DIV2K_train_HR", "train_HR", "DIV2K_HR", "HR", "")
_LSDIR_VALID = ("val1/HR/val", "val1/HR", "HR/val", "val/HR", "val", "HR", "")
_LSDIR_TRAIN = ("HR/train", "train", "HR", "")
_CLIC_TEST = (
    Portion(
        250,
        _unnamed(
            "CLIC2020Professional_test/professional", "CLIC2020Professional_test", "test/professional", "professional"
        ),
        prefix="professional/",
    ),
    Portion(
        178, _unnamed("CLIC2020Mobile_test/mobile", "CLIC2020Mobile_test", "test/mobile", "mobile"), prefix="mobile/"
    ),
)
_CLIC_VALID = (
    Portion(41, _unnamed("professional_valid_2020/valid", "professional_valid_2020"), prefix="professional/"),
    Portion(61, _unnamed("mobile_valid_2020/valid", "mobile_valid_2020"), prefix="mobile/"),
)
_CLIC_TRAIN = (
    Portion(585, _unnamed("professional_train_2020/train", "professional_train_2020"), prefix="professional/"),
    Portion(1048, _unnamed("mobile_train_2020/train", "mobile_train_2020"), prefix="mobile/"),
)

DATASETS: dict[str, Dataset] = {
    "div2k": Dataset(
        title="DIV2K, high resolution",
        splits={
            # EDSR's tar has all 900 in DIV2K_train_HR (EDSR-PyTorch issue 77, KAIR issue 138).
            "valid": Split(
                ways=((Portion(100, _numbered(_DIV2K, "DIV2K_valid_HR", "valid_HR", *_DIV2K_TRAIN), 801),),),
                about="what papers call DIV2K or DIV2K-val",
            ),
            "train": Split(ways=((Portion(800, _numbered(_DIV2K, *_DIV2K_TRAIN)),),), training=True),
        },
        folders=("", "DIV2K", "div2k"),
        terms="academic research only; the photographs belong to their authors",
        source="Agustsson and Timofte, CVPRW 2017; https://data.vision.ee.ethz.ch/cvl/DIV2K/",
        unknown="TADM's script drops the last image of a folder as configured: its table may stand on 99 images",
    ),
    "df2k": Dataset(
        title="DF2K: the 800 training images of DIV2K and the 2,650 of Flickr2K",
        splits={
            "train": Split(
                ways=(
                    (
                        Portion(
                            800,
                            _numbered(_DIV2K, *(f"DIV2K/{folder}" for folder in _DIV2K_TRAIN[:-1]), *_DIV2K_TRAIN[:1]),
                            prefix="DIV2K/",
                        ),
                        Portion(
                            2650,
                            _numbered(_FLICKR, "Flickr2K/Flickr2K_HR", "Flickr2K/HR", "Flickr2K", "Flickr2K_HR"),
                            prefix="Flickr2K/",
                        ),
                    ),
                    (
                        Portion(800, _numbered(_DIV2K, "DF2K_train_HR", "DF2K_HR", "HR", ""), prefix="DIV2K/"),
                        Portion(2650, _numbered(_FLICKR, "DF2K_train_HR", "DF2K_HR", "HR", ""), prefix="Flickr2K/"),
                    ),
                ),
                training=True,
            ),
        },
        folders=("", "DF2K", "df2k"),
        terms="academic research only for DIV2K; Flickr2K's photographs belong to their authors, no licence was found",
        source="Lim and others, CVPRW 2017 (EDSR); names of Flickr2K as deepinv lists them (000001 to 002650.png)",
        unknown="how TADM cut its training patches",
    ),
    "div8k": Dataset(
        title="DIV8K, high resolution",
        splits={
            "test8k": Split(
                ways=((Portion(100, _numbered(_DIV2K, "DIV8K_train_HR", "train_HR", "DIV8K_HR", "HR", ""), 1401),),),
                about="the last hundred, from which ClassSR made Test8K; a choice of others, not of DIV8K's authors",
            ),
            "train": Split(
                ways=((Portion(1500, _numbered(_DIV2K, "DIV8K_train_HR", "train_HR", "DIV8K_HR", "HR", "")),),),
                training=True,
                about="the public part as it is distributed; it holds the images of test8k too",
            ),
        },
        folders=("", "DIV8K", "div8k"),
        terms="made for the AIM 2019 and NTIRE 2020 challenges; terms were not found, ask its authors",
        source="Gu and others, ICCVW 2019; XPixelGroup/ClassSR issue 18 (1201 to 1500); 1401.png in public code",
        unknown="which images TADM measured on, at which size; the challenges' validation and test images",
    ),
    "clic2020": Dataset(
        title="CLIC 2020, professional and mobile",
        splits={
            "test": Split(
                ways=(_CLIC_TEST, (Portion(428, _unnamed("test", "")),)),
                about="428 images, what compression papers mean by CLIC2020",
            ),
            "professional-test": Split(ways=(_CLIC_TEST[:1], (Portion(250, _unnamed("")),))),
            "mobile-test": Split(ways=(_CLIC_TEST[1:], (Portion(178, _unnamed("")),))),
            "valid": Split(ways=(_CLIC_VALID, (Portion(102, _unnamed("valid", "")),))),
            "professional-valid": Split(ways=(_CLIC_VALID[:1], (Portion(41, _unnamed("valid", "")),))),
            "mobile-valid": Split(ways=(_CLIC_VALID[1:], (Portion(61, _unnamed("valid", "")),))),
            "train": Split(ways=(_CLIC_TRAIN, (Portion(1633, _unnamed("train", "")),)), training=True),
        },
        folders=("", "CLIC2020", "clic2020", "CLIC"),
        terms="made for the challenge (compression.cc); its terms were not read",
        source="counts: CompressAI issue 81 (250 and 178), STF issue 24 (41), lists in public code (585 and 1,048); "
        "addresses: TensorFlow Datasets, clic",
        unknown="the names of the files; which part TADM measured on; that FaithEIR took the 428 is inferred; "
        "61 of mobile validation is common use",
    ),
    "lsdir": Dataset(
        title="LSDIR, validation",
        splits={"valid": Split(ways=((Portion(250, _numbered(_LSDIR, *_LSDIR_VALID)),),))},
        folders=("", "LSDIR", "lsdir"),
        terms="access is asked for; its terms were not read",
        source="Li and others, CVPRW 2023; val1/HR/val/0000001 to 0000250.png as deepinv lists them",
        unknown="that FaithEIR's LSDIR-val is these 250 is inferred",
    ),
    "lsdir-train": Dataset(
        title="LSDIR, training",
        splits={
            "train": Split(
                ways=(
                    (Portion(84_991, _numbered(f"{{block:07d}}/{_LSDIR}", *_LSDIR_TRAIN)),),
                    (Portion(84_991, _numbered(_LSDIR, *_LSDIR_TRAIN)),),
                ),
                training=True,
            )
        },
        folders=("", "LSDIR", "lsdir"),
        terms="access is asked for; its terms were not read",
        source="Li and others, CVPRW 2023; folders 0001000 to 0085000 as deepinv lists them",
        unknown="FaithEIR says 84,995 images, the official set has 84,991",
    ),
    "urban100": Dataset(
        title="Urban100, high resolution",
        splits={
            # GTmod12 and the HR of image_SRF_N are cropped: other pixels, so not looked for.
            "test": Split(ways=((Portion(100, _numbered("img_{n:03d}.png", "Urban100_HR", "HR", "original", "")),),))
        },
        folders=("", "Urban100", "urban100"),
        terms="from Flickr under Creative Commons; each photograph has its own",
        source="Huang, Singh and Ahuja, CVPR 2015",
        unknown="whether TADM cropped its images; its code does not",
    ),
    "kodak": Dataset(
        title="Kodak Lossless True Color Image Suite",
        splits={"test": Split(ways=((Portion(24, _numbered("kodim{n:02d}.png", "PNG", "HR", "")),),))},
        folders=("", "kodak", "Kodak"),
        terms="released by Eastman Kodak for unrestricted use, as is commonly said; no licence text was found",
        source="https://r0k.us/graphics/kodak/",
    ),
}
