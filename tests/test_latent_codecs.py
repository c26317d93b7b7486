"""Laws of codecs in latents, on small networks with random weights: sizes, regions, company, ablations, bad input."""

import itertools
import re

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from ops.codecs.base import Box, Payload, Runtime
from ops.codecs.latent import parity
from ops.codecs.names import CodecError, codec_from
from ops.codecs.tile_facts import read_facts
from ops.images import Failure, FailureCode, ImageError
from ops.marks import check_pixels, read_mark
from ops.metrics.base import Unavailable
from ops.rescalers.levels import from_levels
from ops.rescalers.tiles import Region
from ops.thumbnails import decode_thumbnail
from tests.learned import small_codec, small_weights
from tests.test_codecs import photo

SPELLINGS = [
    "tadm-x4", "tadm-x8", "tadm-x16", "tadm-x32", "osirdiff-x16", "faitheir-x16", "faitheir-x32", "vae-x8",
    "nano-x16", "nano-x32",
]  # fmt: skip
every_codec = pytest.mark.parametrize("spelling", SPELLINGS)
# Tiles and cells small enough that a small image has many of each.
MANY = {"tile": 16, "overlap": 8, "cell": 192, "cell_overlap": 64}


def payload_of(codec, pixels):
    payload = codec.encode([pixels])[0]
    assert isinstance(payload, Payload), payload
    return payload


@every_codec
@pytest.mark.parametrize("size", [(1, 1), (1, 200), (67, 3), (101, 83)])
def test_every_image_comes_back_at_its_size_and_leaves_a_thumbnail_of_the_scale(spelling, size):
    codec = small_codec(spelling)
    payload = payload_of(codec, photo(*size))
    (grown,) = codec.decode([payload])
    scale = int(spelling.rpartition("-x")[2])
    assert grown.shape == (*size, 3)
    assert grown.dtype == np.uint8
    small = decode_thumbnail(payload.thumbnail)
    assert small.shape[:2] == (-(-size[0] // scale), -(-size[1] // scale))
    mark = read_mark(payload.thumbnail)
    check_pixels(mark, small)
    assert (mark.height, mark.width, mark.scale, mark.codec) == (*size, scale, spelling)


@every_codec
def test_payloads_and_pictures_are_the_same_alone_and_in_company(spelling):
    codec = small_codec(spelling, **MANY)
    images = [photo(150 + 90 * n, 330 - 70 * n, n) for n in range(3)]
    alone = [payload_of(codec, image) for image in images]
    again = small_codec(spelling, **MANY)
    assert again.encode(images[::-1])[::-1] == alone
    together = again.decode(alone[::-1])[::-1]
    for one, payload in zip(together, alone, strict=True):
        assert np.array_equal(one, codec.decode([payload])[0])


@every_codec
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (130, 40, 300, 170), (383, 299, 384, 300), (0, 0, 384, 300)])
def test_a_region_equals_the_crop_of_the_whole(spelling, box):
    codec = small_codec(spelling, **MANY)
    payload = payload_of(codec, photo(300, 384))
    (whole,) = codec.decode([payload])
    left, top, right, bottom = box
    assert np.array_equal(codec.decode_region(payload, Box(*box)), whole[top:bottom, left:right])


@pytest.mark.parametrize("spelling", ["tadm-x16", "faitheir-x16"])
def test_batches_of_tiles_across_images_change_nothing_with_the_company(spelling):
    codec = small_codec(spelling, **MANY, tile_batch=4)
    codec._system.batched, codec.concurrent = True, False
    payloads = [payload_of(codec, photo(150 + 90 * n, 330 - 70 * n, n)) for n in range(3)]
    sizes = []
    codec._system.unet.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))  # pyright: ignore[reportArgumentType]
    alone = [codec.decode([payload])[0] for payload in payloads]
    passes = len(sizes)
    together = codec.decode(payloads)
    assert set(sizes) == {4}
    assert len(sizes) - passes < passes  # the last batches are shared
    plain = small_codec(spelling, **MANY)
    for one, other, payload in zip(alone, together, payloads, strict=True):
        assert np.array_equal(one, other)
        assert np.abs(one.astype(int) - plain.decode([payload])[0]).max() <= 1


def test_a_region_runs_only_the_tiles_that_it_needs():
    codec = small_codec("tadm-x16", **MANY)
    payload = payload_of(codec, photo(600, 600))
    ran: list[int] = []
    codec._system.unet.register_forward_hook(lambda *_: ran.append(1))  # pyright: ignore[reportArgumentType]
    codec.decode_region(payload, Box(10, 10, 60, 60))
    region = len(ran)
    codec.decode([payload])
    assert 0 < region < (len(ran) - region) / 4


def test_a_cell_is_the_whole_image_where_it_is_as_large_and_tiles_fade_without_seams():
    config, _ = small_weights("tadm-x16")
    one_cell, many = small_codec("tadm-x16"), small_codec("tadm-x16", cell=192, cell_overlap=64)
    image = photo(384, 640)
    whole, cells = payload_of(one_cell, image), payload_of(many, image)
    assert config.cell >= 640
    grown = one_cell.decode([whole])[0].astype(int), many.decode([whole])[0].astype(int)
    assert not np.array_equal(*grown)  # other statistics, and attention within a cell
    assert whole.thumbnail != cells.thumbnail
    # Across the borders of cells, steps are no larger than elsewhere.
    steps = np.abs(np.diff(grown[1].sum(axis=2), axis=1)).mean(axis=0)
    borders = [at * 8 for tile in many._system.cells(48, 80).tiles() for at in (tile.left, tile.left + tile.width)]
    seams = [steps[at - 1] for at in borders if 0 < at < 640]
    assert max(seams) < 2 * np.median(steps)


@pytest.mark.parametrize(
    ("spelling", "networks", "passes"),
    [
        ("tadm-x16", {}, {"timestep": 1}),
        ("tadm-x16", {}, {"timestep": 999}),
        ("tadm-x16", {}, {"timestep_input": "unscaled"}),
        ("tadm-x16", {}, {"anchor": "thumbnail"}),
        ("tadm-x16", {"diffusion": False}, {}),
        ("tadm-x16", {"invertible": False}, {}),
        ("tadm-x16", {"guidance": False}, {}),
        ("tadm-x16", {"prediction": "v"}, {}),
        *[("tadm-x16", {"space": "pixel", "diffusion": diffusion}, {}) for diffusion in (True, False)],
        ("tadm-x32", {"space": "pixel"}, {}),
        ("tadm-x4", {"space": "pixel"}, {}),
        *[
            ("faitheir-x16", {"transform": transform, "detail": detail, "semantics": semantics}, {})
            for (transform, detail), semantics in zip(
                itertools.product(("haar", "learned"), ("zero", "learned", "random", "normal", "mixture")),
                itertools.cycle(("none", "learned", "pixel")),
                strict=False,
            )
        ],
        ("faitheir-x32", {"transform_stages": "twice"}, {}),
        *[("tadm-x16", {}, {"precision": precision}) for precision in ("bfloat16", "float16")],
    ],
)
def test_every_ablation_of_the_papers_runs_and_changes_the_picture_or_the_thumbnail(spelling, networks, passes):
    precision = {"precision": passes.get("precision", "float32")}
    config, url = small_weights(spelling, **networks)
    codec = replace(config, **{**passes, **precision}).load(Runtime(weights=(url,)))
    plain, image = small_codec(spelling), photo(130, 150)
    payload = payload_of(codec, image)
    (grown,) = codec.decode([payload])
    assert grown.std() > 1
    default = payload_of(plain, image)
    changed = payload.thumbnail != default.thumbnail or not np.array_equal(grown, plain.decode([default])[0])
    assert changed or networks.get("detail") == "learned"  # the default is among them


def test_codecs_that_draw_draw_the_same_for_an_image_whatever_its_company():
    codec = small_codec("faitheir-x16", networks={"detail": "normal"}, posterior="sample", quantiser="noise", seed=7)
    images = [photo(80, 90, 1), photo(120, 60, 2)]
    alone = [payload_of(codec, image) for image in images]
    assert codec.encode(images[::-1])[::-1] == alone
    other = small_codec("faitheir-x16", networks={"detail": "normal"}, posterior="sample", quantiser="noise", seed=8)
    assert payload_of(other, images[0]).thumbnail != alone[0].thumbnail


def test_time_steps_and_errors_of_tiles_are_kept_and_follow_the_tiles():
    codec = small_codec("tadm-x16", **MANY)
    image = photo(300, 384)
    image[:, 200:] = 90
    with torch.inference_mode():  # random networks say nearly the same of everything
        codec._system.timestep.time_predict.fuse_mlp[0].weight.mul_(1000)
    facts = read_facts(payload_of(codec, image).extras)
    assert facts is not None
    laid = codec._system.tiles(320 // 8, 384 // 8)
    assert facts.timestep_map().shape == (len(laid.tops), len(laid.lefts)) == facts.error_map().shape
    assert (facts.timestep_map() > 10).all()
    assert (facts.timestep_map() < 200).all()
    assert facts.timestep_map().std() > 0
    assert read_facts(payload_of(small_codec("faitheir-x16"), image).extras) is None


def test_the_published_pass_takes_its_noise_and_keeps_the_padded_thumbnail():
    config, url = small_weights("tadm-x16")
    codec = parity(config).load(Runtime(weights=(url,)))
    image = photo(100, 150)
    payload = payload_of(codec, image)
    assert decode_thumbnail(payload.thumbnail).shape == (128 // 16, 192 // 16, 3)
    system, x = codec._system, from_levels(image)
    posterior, quantisation = torch.randn(1, 4, 16, 24), torch.rand(1, 3, 8, 12) - 0.5
    y = system.down(x, posterior, quantisation)
    assert y.shape == (1, 3, 8, 12)
    assert torch.equal(system.down(x, posterior, quantisation), y)
    assert not torch.equal(system.down(x, -posterior, quantisation), y)
    grown = system.up(y, 100, 150)
    assert grown.shape == (1, 3, 100, 150)
    assert torch.equal(system.up(y, 100, 150, Region(3, 50, 80, 99)), grown[:, :, 3:80, 50:99])
    with pytest.raises(ValueError, match="posterior sample: pass the noise"):
        system.down(x)


def test_a_job_file_asks_for_the_published_pass_by_name():
    config = codec_from({"name": "tadm", "scale": 16, "preset": "parity"})
    assert config == parity(codec_from("tadm-x16"))
    assert codec_from({"name": "tadm", "scale": 16, "preset": "parity", "cast": "round"}).cast == "round"
    with pytest.raises(CodecError, match="no preset 'exact'; there are: parity"):
        codec_from({"name": "tadm", "scale": 16, "preset": "exact"})


@pytest.mark.parametrize("spelling", ["tadm-x32", "faitheir-x16", "vae-x8"])
def test_a_thumbnail_of_another_size_is_refused_with_both(spelling):
    codec = small_codec(spelling)
    payload, other = payload_of(codec, photo(100, 90)), payload_of(codec, photo(100, 250))
    wrong = replace(payload, thumbnail=other.thumbnail, extras=other.extras)
    with pytest.raises(ImageError, match=r"the thumbnail is \(\d+, \d+\), not \(\d+, \d+\)|latents where 90x100 has"):
        codec.decode([wrong])


def test_latents_that_are_gone_are_named():
    codec = small_codec("vae-x8")
    with pytest.raises(ImageError, match="cannot be regrown alone"):
        codec.decode([replace(payload_of(codec, photo(64, 64)), extras={})])


def test_a_config_without_weights_says_how_to_get_them():
    with pytest.raises(Unavailable, match=r"tadm-x16 needs weights: give --weights FILE"):
        codec_from("tadm-x16").load(Runtime())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7.00 GiB"),
    ],
)
def test_an_image_that_takes_too_much_memory_is_a_failure_of_its_own(error):
    codec = small_codec("tadm-x16")

    def full(*_: object) -> None:
        raise error

    payload = payload_of(codec, photo(64, 64))
    codec._system.rescaling.couplings()[0].F.register_forward_pre_hook(full)  # pyright: ignore[reportAttributeAccessIssue]
    (failure,) = codec.encode([photo(64, 64)])
    assert isinstance(failure, Failure)
    assert failure.code is FailureCode.OUT_OF_MEMORY
    enough = r"no memory on cpu .*7.00 GiB.* with cell 1024 and tile_batch 8 takes about \d+\.\d GiB; use a device"
    assert re.search(enough, failure.message)
    with pytest.raises(ImageError, match=enough):
        codec.decode([payload])


def test_numbers_that_are_none_are_a_refusal_and_not_a_black_picture():
    codec = small_codec("tadm-x16")
    payload = payload_of(codec, photo(64, 64))
    with torch.inference_mode():
        codec._system.vae.decoder.conv_out.weight.fill_(float("inf"))
    with pytest.raises(ImageError, match="came to no numbers in float32: use bfloat16"):
        codec.decode([payload])
    with torch.inference_mode():
        codec._system.vae.encoder.conv_in.weight.fill_(float("nan"))
    (failure,) = codec.encode([photo(64, 64)])
    assert isinstance(failure, Failure)
    assert failure.code is FailureCode.REFUSED


def test_a_codec_leaves_torchs_threads_as_they_were():
    codec, before = small_codec("tadm-x16"), torch.get_num_threads()
    torch.set_num_threads(3)
    payload_of(codec, photo(32, 32))
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_only_whole_tiles_run_compiled():
    codec = small_codec("tadm-x16", **MANY)
    ran = []

    def compiled(c: torch.Tensor, *given: object, **named: object) -> object:
        ran.append(tuple(c.shape[2:]))
        return codec._system.unet(c, *given, **named)

    payloads = [payload_of(codec, photo(*size)) for size in ((60, 200), (200, 200))]
    plain = codec.decode(payloads)
    codec._system.compiled = (compiled,)
    for one, other in zip(codec.decode(payloads), plain, strict=True):
        assert np.array_equal(one, other)
    assert set(ran) == {(16, 16)}
    codec._system.compiled = ()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"overlap": 56}, "overlap 56 is more than half of tile 96: write at most 48"),
        ({"cell_overlap": 640}, "cell_overlap 640 is more than half of cell 1024"),
    ],
)
def test_tiles_that_overlap_by_more_than_half_are_refused(settings, said):
    with pytest.raises(CodecError, match=said):
        codec_from({"name": "tadm", "scale": 16, **settings})
