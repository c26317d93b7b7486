"""Tiles, padding, levels and colours: what runs networks over an image of any size."""

import itertools

import numpy as np
import pytest
import torch

from ops.rescalers.colour import anchored
from ops.rescalers.geometry import whole
from ops.rescalers.levels import from_levels, quantised, to_levels
from ops.rescalers.padding import reflected
from ops.rescalers.tiles import Merged, Region, even_grid, fading, grid, official_grid, official_weights, offsets


def test_the_tiles_of_div2k_lie_where_the_authors_lay_them():
    laid = official_grid(1408 // 8, 2048 // 8, 96, 32)
    assert laid.lefts == (0, 64, 128, 160)
    assert laid.tops == (0, 64, 80)
    assert len(list(laid.tiles())) == 12
    assert grid(1408 // 8, 2048 // 8, 96, 32) == laid


@pytest.mark.parametrize(
    ("height", "width", "number"), [(64, 64, 1), (96, 96, 1), (128, 128, 4), (256, 384, 24), (540, 960, 120)]
)
def test_the_authors_number_of_tiles_is_met(height, width, number):
    assert len(list(official_grid(height, width, 96, 32).tiles())) == number


def test_a_narrow_image_ends_where_the_authors_program_hangs():
    laid = official_grid(32, 296, 96, 32)
    assert (laid.tile_height, laid.tile_width) == (32, 32)
    assert laid.lefts[-1] == 296 - 32
    assert len(laid.lefts) < 20


@pytest.mark.parametrize("length", [1, 95, 96, 97, 160, 161, 1000])
def test_tiles_cover_a_side_and_overlap_by_what_was_asked(length):
    tile = min(96, length)
    found = offsets(length, tile, 32)
    assert found[0] == 0
    assert found[-1] + tile == length
    for left, right in itertools.pairwise(found):
        assert 0 < right - left <= tile - 32


@pytest.mark.parametrize("length", [8, 120, 128, 136, 240, 256, 264, 540, 544, 960, 2048])
@pytest.mark.parametrize(("tile", "overlap"), [(128, 16), (24, 8), (16, 8), (128, 64)])
def test_even_tiles_are_no_more_and_no_larger_than_they_must_be(length, tile, overlap):
    length = -(-length // 8) * 8
    laid = even_grid(length, 8, tile, overlap, 8)
    assert laid.tops[0] == 0
    assert laid.tops[-1] + laid.tile_height == length
    assert laid.tile_height <= max(tile, 8)
    assert all(top % 8 == 0 for top in (*laid.tops, laid.tile_height))
    for upper, lower in itertools.pairwise(laid.tops):
        assert 0 < lower - upper <= laid.tile_height - overlap
    assert len(laid.tops) == len(offsets(length, min(tile, length), min(overlap, length // 2)))
    if len(laid.tops) > 1:
        covered = laid.tile_height * len(laid.tops)
        assert covered < length + (len(laid.tops) - 1) * overlap + 8 * len(laid.tops)


def test_the_authors_weights_are_theirs():
    down, across = official_weights(96, 96)
    at = np.arange(96)
    x = np.exp(-((at - 47.5) ** 2) / (96 * 96) / (2 * 0.01)) / np.sqrt(2 * np.pi * 0.01)
    y = np.exp(-((at - 48.0) ** 2) / (96 * 96) / (2 * 0.01)) / np.sqrt(2 * np.pi * 0.01)
    np.testing.assert_allclose(across.numpy(), x, rtol=1e-12)
    np.testing.assert_allclose(down.numpy(), y, rtol=1e-12)
    assert (down[:, None] * across[None]).max() == pytest.approx(15.9, abs=0.05)


def test_neighbours_of_our_tiles_add_up_to_one_and_are_alike_on_all_sides():
    down, across = fading(32)(96, 96)
    assert torch.allclose(across[:32] + across[-32:], torch.ones(32, dtype=torch.float64))
    assert torch.equal(across, across.flip(0))
    assert torch.equal(down, across)


@pytest.mark.parametrize("weigh", [fading(8), official_weights])
def test_what_is_merged_is_the_plane_itself_and_a_region_its_crop(weigh):
    plane = torch.rand(1, 3, 70, 101)
    laid = grid(70, 101, 24, 8)
    whole_plane, region = Region(0, 0, 70, 101), Region(13, 40, 52, 77)
    merged, part = Merged(3, whole_plane, laid, weigh), Merged(3, region, laid, weigh)
    for tile in laid.tiles():
        merged.add(tile, tile.of(plane))
    for tile in laid.tiles(region):
        part.add(tile, tile.of(plane))
    result = merged.result()
    assert torch.allclose(result, plane, atol=1e-6)
    assert torch.equal(part.result(), result[:, :, 13:52, 40:77])
    assert len(list(laid.tiles(region))) < len(list(laid.tiles()))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (3, 7), (40, 63), (64, 65)])
def test_padding_mirrors_without_the_edge_as_often_as_it_takes(height, width):
    x = torch.rand(1, 3, height, width)
    padded = reflected(x, whole(height), whole(width))
    pads = ((0, whole(height) - height), (0, whole(width) - width), (0, 0))
    expected = np.pad(x[0].permute(1, 2, 0).numpy(), pads, mode="reflect")
    assert np.array_equal(padded[0].permute(1, 2, 0).numpy(), expected)


def test_levels_come_back_and_cutting_off_is_half_a_level_darker():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert np.array_equal(to_levels(from_levels(pixels)), pixels)
    between = from_levels(pixels) + 0.999 / 127.5
    assert np.array_equal(to_levels(between, "floor"), pixels)
    assert np.array_equal(to_levels(between, "round")[:-1], pixels[:-1] + 1)


def test_rounding_leaves_levels_and_noise_moves_by_at_most_half_of_one():
    y = torch.rand(1, 3, 9, 9) * 2.2 - 1.1
    rounded = quantised(y, "round")
    assert torch.allclose((rounded + 1) * 127.5, ((rounded + 1) * 127.5).round(), atol=1e-4)
    noise = torch.rand(1, 3, 9, 9) - 0.5
    moved = quantised(y, "noise", noise)
    inside = y.abs() < 0.99
    assert torch.allclose(((moved - y) * 127.5)[inside], noise[inside], atol=1e-4)
    assert moved.abs().max() <= 1
    with pytest.raises(ValueError, match="pass the noise"):
        quantised(y, "noise")


def test_a_drift_of_colour_is_taken_back_and_detail_stays():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 256, 320) * 1.2 - 0.6
    small = torch.nn.functional.avg_pool2d(x, 16)
    drifted = x + torch.tensor([0.1, -0.07, 0.02]).reshape(1, 3, 1, 1)
    assert (anchored(drifted, small, 16) - x).abs().max() < 1e-5
    assert torch.allclose(anchored(x, small, 16), x, atol=1e-6)
    hidden = small + 0.02 * torch.randn_like(small)  # what a thumbnail hides in its finest levels
    assert (anchored(x, hidden, 16) - x).std() < 0.004
