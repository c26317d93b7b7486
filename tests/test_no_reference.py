"""MUSIQ and CLIPIQA: their structure against the published counts, their blocks against independent formulas."""

import copy
import io
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, group_norm, multi_head_attention_forward, relu

from ops.codecs.base import Runtime
from ops.metrics.base import Inapplicable, Unavailable
from ops.metrics.clipiqa import BAD_PHOTO, GOOD_PHOTO, ClipIqaConfig
from ops.metrics.musiq import MusiqConfig
from ops.networks.clip import CONTEXT, DEVIATION, MEAN, Clip, ClipPreference, ImageNetwork
from ops.networks.musiq import Musiq, MusiqScores, cut_patches, pad_as_same, resized_sides
from ops.weights import WeightsError, known_file
from ops.weights.cache import encode, place
from tests.makers import noise, photo

CONFIGS = [(MusiqConfig(), "musiq-koniq"), (ClipIqaConfig(), "clip-rn50")]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As every protocol has it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def musiq() -> Musiq:
    torch.manual_seed(0)
    return Musiq().requires_grad_(False)


@pytest.fixture(scope="module")
def clip() -> Clip:
    torch.manual_seed(0)
    return Clip().requires_grad_(False)


@pytest.fixture(scope="module")
def doubles(clip) -> ImageNetwork:
    return copy.deepcopy(clip.visual).double()


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("config", "name"), CONFIGS, ids=lambda one: getattr(one, "name", ""))
def test_without_its_weights_the_metric_says_in_a_line_how_to_get_them(config, name, tmp_path, monkeypatch):
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path))
    for act in (lambda: config.load(Runtime()), config.weights_digest):
        with pytest.raises(Unavailable, match=rf"{name} are not in .*regrow weights pull {name}") as raised:
            act()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("config", "name"), CONFIGS, ids=lambda one: getattr(one, "name", ""))
def test_the_metric_stands_under_its_own_name_and_is_labelled_unverified(config, name):
    assert (config.column, config.heading) == (config.name, config.name.upper())
    assert not config.verified
    assert config.higher_is_better


def test_musiq_has_the_parameters_that_its_paper_states(musiq):
    assert count(musiq) == 27_125_825  # 27 million in the paper's table
    names = set(musiq.state_dict())
    assert {"conv_root.weight", "gn_root.bias", "block1.conv_proj.weight", "block1.gn_proj.weight", "embedding.bias",
            "transformer_encoder.posembed_input.position_emb", "transformer_encoder.scaleembed_input.scale_emb",
            "transformer_encoder.cls", "transformer_encoder.transformer.encoderblock_13.attention.out.bias",
            "transformer_encoder.encoder_norm.weight", "head.weight"} < names  # fmt: skip


def test_musiq_with_weights_in_the_cache_scores_odd_sizes_the_same_each_time(musiq, tmp_path, monkeypatch):
    monkeypatch.setenv("REGROW_WEIGHTS", str(tmp_path))
    known = known_file("musiq-koniq")
    with open(place(known.name), "wb") as file:  # noqa: PTH123  the place may be a URL
        file.write(encode(known, musiq.state_dict()))
    metric = MusiqConfig().load(Runtime())
    scores = [metric.score_alone(image) for image in (noise(37, 91), photo(130, 64), noise(1, 3), noise(37, 91))]
    assert scores[0] == scores[3]
    assert len({round(score, 6) for score in scores}) == 3
    assert all(math.isfinite(score) for score in scores)
    assert len(MusiqConfig().weights_digest()) == 64


def test_an_autocast_around_a_network_changes_no_score(musiq, clip):
    image = noise(64, 80)
    metrics = (MusiqScores(musiq.state_dict(), "musiq-koniq", "cpu"),
               ClipPreference(clip.state_dict(), "clip-rn50", "cpu", [GOOD_PHOTO, BAD_PHOTO]))  # fmt: skip
    for metric in metrics:
        with torch.autocast("cpu", torch.bfloat16):
            inside = metric.score_alone(image)
        assert inside == metric.score_alone(image)


def test_a_strip_that_a_smaller_size_would_lose_has_no_score_and_the_reason_is_told(musiq):
    metric = MusiqScores(musiq.state_dict(), "musiq-koniq", "cpu")
    with pytest.raises(Inapplicable, match="500x1 pixels are too long a strip"):
        metric.score_alone(noise(500, 1))


def test_musiqs_weights_are_loaded_whole_or_not_at_all(musiq):
    tensors = musiq.state_dict()
    del tensors["transformer_encoder.cls"]
    with pytest.raises(Unavailable, match=r"musiq-koniq do not fit: the tensor transformer_encoder\.cls is missing"):
        MusiqScores(tensors, "musiq-koniq", "cpu")
    file = io.BytesIO()
    torch.save({"params": musiq.state_dict()}, file)
    assert known_file("musiq-koniq").read(file.getvalue()).keys() == musiq.state_dict().keys()
    torch.save({"params": tensors}, file := io.BytesIO())
    with pytest.raises(WeightsError, match=r"no weights of Musiq: the tensor transformer_encoder\.cls is missing"):
        known_file("musiq-koniq").read(file.getvalue())


def test_musiq_sees_the_image_at_three_sizes_in_patches_hashed_to_a_grid():
    assert resized_sides(1000, 1500, 384) == (256, 384)
    assert resized_sides(1500, 1000, 224) == (224, 149)
    image = torch.rand(1, 3, 70, 33)
    patches, cells = cut_patches(image)
    assert patches.shape == (6, 3, 32, 32)
    # 96x64 pixels after padding: 13 zeros on either side down, 15 and 16 across.
    assert torch.equal(patches[2, :, :, 15:], image[0, :, 19:51, :17])
    assert patches[2, :, :, :15].abs().sum() == 0
    # Row and column i of n lie in the grid's cell floor(10 i / n): rows 0, 3, 6 and columns 0, 5.
    assert cells.tolist() == [0, 5, 30, 35, 60, 65]


@pytest.mark.parametrize(("side", "size", "stride"), [(32, 7, 2), (16, 3, 1), (31, 3, 2), (70, 32, 32), (5, 1, 1)])
def test_padding_makes_one_window_for_every_stride(side, size, stride):
    padded = pad_as_same(torch.ones(1, 1, side, side), size, stride)[0, 0]
    assert (padded.shape[0] - size) // stride + 1 == math.ceil(side / stride)
    before = int(padded[padded.shape[0] // 2].argmax())
    assert before == (padded.shape[1] - side) // 2  # what is odd lies behind


def test_musiqs_root_is_convolution_by_standardised_kernels(musiq):
    x = torch.rand(2, 3, 32, 32)
    kernels = musiq.conv_root.weight.numpy()
    means = kernels.reshape(64, -1).mean(axis=1)[:, None, None, None]
    deviations = kernels.reshape(64, -1).std(axis=1, ddof=1)[:, None, None, None]
    standard = torch.from_numpy((kernels - means) / (deviations + 1e-5))
    padded = torch.zeros(2, 3, 37, 37)
    padded[:, :, 2:34, 2:34] = x
    found = musiq.conv_root(x)
    assert found.shape == (2, 64, 16, 16)
    assert torch.allclose(found, conv2d(padded, standard, stride=2), atol=1e-5)


def test_a_token_of_musiq_is_root_pooling_and_block_laid_out_by_rows_columns_and_channels(musiq):
    def normalised(norm: nn.Module, y: torch.Tensor, eps: float) -> torch.Tensor:
        return group_norm(y, 32, norm.weight, norm.bias, eps)

    block, patches = musiq.block1, torch.rand(2, 3, 32, 32) * 2 - 1
    x = relu(normalised(musiq.gn_root, musiq.conv_root(patches), 1e-6))
    pooled = torch.stack(
        [x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax((2, 3)) for i in range(8) for j in range(8)]
    )
    x = pooled.reshape(8, 8, 2, 64).permute(2, 3, 0, 1)
    y = relu(normalised(block.gn1, block.conv1(x), 1e-4))
    y = relu(normalised(block.gn2, block.conv2(y), 1e-4))
    y = normalised(block.gn3, block.conv3(y), 1e-4) + normalised(block.gn_proj, block.conv_proj(x), 1e-4)
    flat = torch.stack([relu(y)[:, c, i, j] for i in range(8) for j in range(8) for c in range(256)], dim=1)
    assert torch.allclose(musiq._embed(patches), flat @ musiq.embedding.weight.T + musiq.embedding.bias, atol=1e-4)


def test_a_layer_of_musiq_is_attention_and_two_linear_layers_each_beside_its_input(musiq):
    layer = musiq.transformer_encoder.transformer["encoderblock_3"]
    x = torch.randn(1, 5, 384)
    other, mlp = nn.MultiheadAttention(384, 6, batch_first=True), layer.mlp
    parts = [layer.attention.query, layer.attention.key, layer.attention.value]
    other.load_state_dict({
        "in_proj_weight": torch.cat([part.weight for part in parts]),
        "in_proj_bias": torch.cat([part.bias for part in parts]),
        "out_proj.weight": layer.attention.out.weight,
        "out_proj.bias": layer.attention.out.bias,
    })  # fmt: skip
    y = layer.norm1(x)
    y = x + other(y, y, y, need_weights=False)[0]
    z = mlp.fc1(layer.norm2(y))
    z = z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    assert torch.allclose(layer(x), y + mlp.fc2(z), atol=1e-5)


def test_musiq_of_patches_in_blocks_is_that_of_all_at_once(musiq):
    patches = torch.rand(5, 3, 32, 32) * 2 - 1
    whole = musiq._embed(patches)
    assert torch.allclose(torch.cat([musiq._embed(block) for block in patches.split(2)]), whole, atol=1e-5)


def test_clip_has_the_parameters_of_the_published_network(clip):
    assert count(clip) == 102_007_137
    assert count(clip.visual) == 38_316_896
    names = set(clip.state_dict())
    assert {"visual.layer1.0.downsample.0.weight", "visual.layer4.2.bn3.running_var", "visual.attnpool.c_proj.bias",
            "visual.attnpool.positional_embedding", "transformer.resblocks.11.attn.in_proj_weight", "logit_scale",
            "transformer.resblocks.0.mlp.c_fc.weight", "ln_final.bias", "text_projection"} < names  # fmt: skip


def test_a_text_without_padding_has_the_vector_that_it_has_among_77_padded_tokens(clip):
    padded = torch.zeros(2, CONTEXT, dtype=torch.long)
    padded[:, :5] = texts = torch.tensor([GOOD_PHOTO, BAD_PHOTO])
    x = clip.token_embedding(padded) + clip.positional_embedding
    mask = torch.full((CONTEXT, CONTEXT), -math.inf).triu(1)
    for layer in clip.transformer.resblocks:
        attention = nn.MultiheadAttention(512, 8, batch_first=True)
        attention.load_state_dict(layer.attn.state_dict())
        y = layer.ln_1(x)
        x = x + attention(y, y, y, need_weights=False, attn_mask=mask)[0]
        inner = layer.mlp.c_fc(layer.ln_2(x))
        x = x + layer.mlp.c_proj(inner * torch.sigmoid(1.702 * inner))
    ends = clip.ln_final(x)[torch.arange(2), padded.argmax(dim=-1)] @ clip.text_projection
    expected = ends / ends.norm(dim=-1, keepdim=True)
    assert torch.allclose(clip.embed_texts(texts), expected, atol=1e-5)


def test_pooling_is_the_attention_of_the_mean_without_positions(clip):
    pool, x = clip.visual.attnpool, torch.randn(1, 2048, 3, 2)
    tokens = x.flatten(2).permute(2, 0, 1)
    tokens = torch.cat([tokens.mean(dim=0, keepdim=True), tokens])
    pooled, _ = multi_head_attention_forward(
        tokens, tokens, tokens, 2048, 32, None,
        torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]), None, None, False, 0.0,
        pool.c_proj.weight, pool.c_proj.bias, training=False, need_weights=False, use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    assert torch.allclose(pool(x), pooled[0], atol=1e-4)


def test_a_block_of_clip_pools_where_a_resnet_strides(clip):
    block, x = clip.visual.layer2[0], torch.rand(1, 256, 6, 8)

    def normalised(norm: nn.Module, y: torch.Tensor) -> torch.Tensor:
        return batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5)

    y = relu(normalised(block.bn1, conv2d(x, block.conv1.weight)))
    y = relu(normalised(block.bn2, conv2d(y, block.conv2.weight, padding=1)))
    y = normalised(block.bn3, conv2d(avg_pool2d(y, 2), block.conv3.weight))
    beside = normalised(block.downsample[1], conv2d(avg_pool2d(x, 2), block.downsample[0].weight))
    assert torch.allclose(block(x.clone()), relu(y + beside), atol=1e-5)


@pytest.mark.parametrize("height", [31, 64, 200, 201, 207, 215, 333])
def test_the_bands_of_a_large_image_are_computed_as_the_whole_image_is(doubles, height):
    # In doubles: what a row sees of the farthest ones is little, but must not be missing.
    x = torch.randn(1, 3, height, 40, dtype=torch.float64)
    visual, rows = doubles, 64
    whole = visual.layer2(visual.layer1(avg_pool2d(_stem(visual, x), 2)))
    banded = torch.cat([visual._band(x, top, rows) for top in range(0, height, rows)], dim=2)
    assert banded.shape == whole.shape
    assert torch.allclose(banded, whole, rtol=0, atol=1e-13)


def _stem(visual: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for conv, norm in [(visual.conv1, visual.bn1), (visual.conv2, visual.bn2), (visual.conv3, visual.bn3)]:
        x = relu(norm(conv(x)))
    return x


def test_clipiqa_is_the_share_of_the_good_photo_of_any_size(clip):
    tensors = clip.state_dict()
    good = ClipPreference(tensors, "clip-rn50", "cpu", [GOOD_PHOTO, BAD_PHOTO])
    bad = ClipPreference(tensors, "clip-rn50", "cpu", [BAD_PHOTO, GOOD_PHOTO])
    for image in (noise(37, 91), photo(64, 33), noise(31, 31)):
        score = good.score_alone(image)
        assert score == good.score_alone(image)
        assert 0 < score < 1
        assert bad.score_alone(image) == pytest.approx(1 - score, abs=1e-6)
    with pytest.raises(Inapplicable, match="31 pixels a side; the image has 31x30"):
        good.score_alone(noise(31, 30))


def test_clipiqa_is_the_softmax_of_scaled_cosines(clip):
    image = photo(64, 48)
    x = (torch.from_numpy(image / 255.0).permute(2, 0, 1) - torch.tensor(MEAN)[:, None, None]).float()
    visual = clip.visual((x / torch.tensor(DEVIATION)[:, None, None])[None])[0].numpy()
    texts = clip.embed_texts(torch.tensor([GOOD_PHOTO, BAD_PHOTO])).numpy()
    cosines = texts @ visual / np.linalg.norm(visual) / np.linalg.norm(texts, axis=1)
    odds = np.exp(cosines / 0.07)  # the scale that a new network has
    score = ClipPreference(clip.state_dict(), "clip-rn50", "cpu", [GOOD_PHOTO, BAD_PHOTO]).score_alone(image)
    assert score == pytest.approx(odds[0] / odds.sum(), abs=1e-5)


class Archived(nn.Module):
    """Tensors under dotted names, to be kept as TorchScript keeps CLIP."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            first, _, rest = name.partition(".")
            if not rest:
                self.register_buffer(first, tensor)
        for first in {name.partition(".")[0] for name in tensors if "." in name}:
            beginning = f"{first}."
            inner = {name[len(beginning) :]: tensor for name, tensor in tensors.items() if name.startswith(beginning)}
            self.add_module(first, Archived(inner))


def test_clip_is_read_from_its_archive_without_what_is_no_weight(clip):
    tensors = {name: tensor.half() for name, tensor in clip.state_dict().items()}
    extra = {"input_resolution": torch.tensor(224), "visual.bn1.num_batches_tracked": torch.tensor(7)}
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Archived(tensors | extra)), file)
    read = known_file("clip-rn50").read(file.getvalue())
    assert read.keys() == tensors.keys()
    assert torch.equal(read["text_projection"], tensors["text_projection"])
    with pytest.raises(WeightsError, match="no TorchScript archive"):
        known_file("clip-rn50").read(b"not an archive")
