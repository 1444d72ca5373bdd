"""The U-Net against diffusers on the same weights, as a whole and block by block, and against brute force."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.nn import UNet
from course_lib.nn.mlp import TimeMLP, sinusoidal_embedding
from course_lib.nn.unet import (
    DDGAN_CIFAR10,
    DDPM_CIFAR10,
    AdaGN,
    Downsample,
    ResidualBlock,
    SelfAttention,
    Upsample,
    fir_down,
    fir_up,
    join,
)

SMALL = {"size": 8, "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}
ADAPTIVE = {
    **SMALL,
    "latent_dim": 5,
    "style_dim": 6,
    "resblock": "biggan",
    "fir": True,
    "rescale": True,
    "progressive_input": True,
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=rng(seed), dtype=dtype)


def randomised(module, seed=0):
    """The module with every weight drawn, so that no zero of the start hides a path."""
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        parameter.data = draw(*parameter.shape, seed=seed) / math.sqrt(fan_in)
        seed += 1
    return module


def count(make, **config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make(**config).parameters())


# --- the same network in diffusers -----------------------------------------------------------------------------------------

RESNET = {
    "norm1": "norm1",
    "conv1": "conv1",
    "time": "time_emb_proj",
    "norm2": "norm2",
    "conv2": "conv2",
    "shortcut": "conv_shortcut",
}


def resnet_weights(ours, peer, prefix=""):
    """Our names of a `ResnetBlock2D`'s weights."""
    pairs = {
        f"{prefix}{a}.{kind}": getattr(getattr(peer, b), kind)
        for a, b in RESNET.items()
        for kind in ("weight", "bias")
        if getattr(peer, b) is not None
    }
    return pairs if ours is None else {**ours, **pairs}


def attention_weights(peer, prefix=""):
    """Our names of an `Attention`'s weights; q, k and v become one matrix."""
    return {
        f"{prefix}{a}.{kind}": value
        for kind in ("weight", "bias")
        for a, value in (
            ("norm", getattr(peer.group_norm, kind)),
            ("qkv", torch.cat([getattr(layer, kind) for layer in (peer.to_q, peer.to_k, peer.to_v)])),
            ("out", getattr(peer.to_out[0], kind)),
        )
    }


def weights_of(peer):
    """A whole `UNet2DModel`'s weights under our names."""
    ours = {}
    for name, layer in {
        "first": peer.conv_in,
        "time.0": peer.time_embedding.linear_1,
        "time.2": peer.time_embedding.linear_2,
        "norm": peer.conv_norm_out,
        "last": peer.conv_out,
    }.items():
        ours |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    if peer.class_embedding is not None:
        ours["label.weight"] = peer.class_embedding.weight
    for way, change, stages in (("down", "shrink", peer.down_blocks), ("up", "grow", peer.up_blocks)):
        for level, stage in enumerate(stages):
            for i, resnet in enumerate(stage.resnets):
                ours = resnet_weights(ours, resnet, f"{way}.{level}.{i}.")
            for i, attention in enumerate(getattr(stage, "attentions", [])):
                ours |= attention_weights(attention, f"{way}.{level}.{i}.attention.")
            sampler = (stage.downsamplers if way == "down" else stage.upsamplers) or []
            for layer in sampler:
                conv = layer.conv
                ours |= {
                    f"{change}.{level}.conv.weight": conv.weight,
                    f"{change}.{level}.conv.bias": conv.bias,
                }
    for i, resnet in enumerate(peer.mid_block.resnets):
        ours = resnet_weights(ours, resnet, f"middle.{i}.")
    return ours | attention_weights(peer.mid_block.attentions[0], "middle.0.attention.")


def peer_unet(size, channels, widths, groups, attention, classes=None):
    diffusers = pytest.importorskip("diffusers")
    sides = [size // 2**level for level in range(len(widths))]
    down = tuple("AttnDownBlock2D" if side in attention else "DownBlock2D" for side in sides)
    up = tuple("AttnUpBlock2D" if side in attention else "UpBlock2D" for side in reversed(sides))
    return diffusers.UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        freq_shift=1,
        flip_sin_to_cos=False,
        down_block_types=down,
        up_block_types=up,
        block_out_channels=widths,
        layers_per_block=2,
        norm_eps=1e-6,
        norm_num_groups=groups,
        attention_head_dim=None,
        num_class_embeds=classes and classes + 1,
    )


@pytest.mark.parametrize("classes", [None, 10])
def test_whole_network_equals_diffusers(classes):
    peer = randomised(peer_unet(28, 1, (32, 64, 64), 8, (14,), classes)).double()
    ours = UNet(classes=classes).double()
    ours.load_state_dict(weights_of(peer), strict=True)
    x, t = draw(3, 1, 28, 28, dtype=torch.float64), torch.tensor([0, 500, 999])
    y = None if classes is None else torch.tensor([3, 9, 10])
    with torch.no_grad():
        a, b = ours(x, t, y), peer(x, t, class_labels=y).sample
    assert b.std() > 0.1
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)  # float64; the embedding is float32 in both


def test_gradients_equal_those_of_diffusers():
    peer = randomised(peer_unet(8, 2, (8, 16), 2, (4,))).double()
    ours = UNet(2, 8, 8, (1, 2), attention=(4,)).double()
    ours.load_state_dict(weights_of(peer))
    x, t = draw(2, 2, 8, 8, dtype=torch.float64), torch.tensor([7, 70])
    ours(x, t).square().sum().backward()
    peer(x, t).sample.square().sum().backward()
    expected = weights_of_gradients(peer)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-8, atol=1e-8)


def weights_of_gradients(peer):
    for parameter in peer.parameters():
        parameter.data = parameter.grad
    return weights_of(peer)


def test_number_of_weights_at_the_papers_size():
    assert count(UNet, **DDPM_CIFAR10) == 35_746_307  # Ho et al. 2020: 35.7 million
    with torch.device("meta"):
        peer = peer_unet(32, 3, (128, 256, 256, 256), 32, (16,))
    assert sum(parameter.numel() for parameter in peer.parameters()) == 35_746_307
    assert count(UNet) == 1_623_169


# --- block by block --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        ((8, 8), {}),
        ((8, 16), {}),
        ((8, 16), {"rescale": True}),
        ((8, 8), {"resample": "down"}),
        ((8, 8), {"resample": "up"}),
        ((8, 16), {"resample": "down", "fir": True, "rescale": True}),
        ((8, 16), {"resample": "up", "fir": True, "rescale": True}),
    ],
)
def test_residual_block_equals_diffusers(channels, options):
    resnet = pytest.importorskip("diffusers.models.resnet")
    resample = options.get("resample")
    peer = resnet.ResnetBlock2D(
        in_channels=channels[0],
        out_channels=channels[1],
        temb_channels=12,
        groups=4,
        up=resample == "up",
        down=resample == "down",
        kernel="fir" if options.get("fir") else None,
        output_scale_factor=math.sqrt(2) if options.get("rescale") else 1.0,
        use_in_shortcut=None if resample is None else True,
    )
    randomised(peer)
    ours = ResidualBlock(*channels, 12, 4, **options)
    ours.load_state_dict(resnet_weights(None, peer))
    x, embedding = draw(2, channels[0], 6, 6), draw(2, 12, seed=1)
    with torch.no_grad():
        # ours takes the embedding behind its SiLU, which all blocks share
        a, b = ours(x, F.silu(embedding)), peer(x, embedding)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("heads", "rescale"), [(1, False), (2, False), (1, True)])
def test_attention_equals_diffusers(heads, rescale):
    processor = pytest.importorskip("diffusers.models.attention_processor")
    peer = processor.Attention(
        16,
        heads=heads,
        dim_head=16 // heads,
        rescale_output_factor=math.sqrt(2) if rescale else 1.0,
        eps=1e-6,
        norm_num_groups=4,
        residual_connection=True,
        bias=True,
        upcast_softmax=True,
        _from_deprecated_attn_block=True,
    )
    randomised(peer)
    ours = SelfAttention(16, 4, heads, rescale)
    ours.load_state_dict(attention_weights(peer))
    x = draw(3, 16, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), peer(x), rtol=1e-5, atol=2e-6)


def test_resampling_convolutions_equal_diffusers():
    down = pytest.importorskip("diffusers.models.downsampling")
    up = pytest.importorskip("diffusers.models.upsampling")
    x = draw(2, 6, 8, 8)
    with torch.no_grad():
        ours, peer = Downsample(6, 9), randomised(down.Downsample2D(6, use_conv=True, out_channels=9))
        ours.conv.load_state_dict(peer.conv.state_dict())
        torch.testing.assert_close(ours(x), peer(x))
        ours, peer = Upsample(6), randomised(up.Upsample2D(6, use_conv=True))
        ours.conv.load_state_dict(peer.conv.state_dict())
        torch.testing.assert_close(ours(x, None), peer(x))
        ours, peer = Downsample(6, 9, fir=True), randomised(down.FirDownsample2D(6, 9, use_conv=True))
        ours.conv.load_state_dict(peer.Conv2d_0.state_dict())
        torch.testing.assert_close(ours(x), peer(x), rtol=1e-5, atol=2e-6)


def test_sinusoidal_embedding_equals_diffusers_and_its_formula():
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    t = torch.tensor([0, 1, 250, 999])
    peer = embeddings.get_timestep_embedding(t, 32, flip_sin_to_cos=False, downscale_freq_shift=1)
    torch.testing.assert_close(sinusoidal_embedding(t, 32), peer, rtol=0, atol=0)
    exact = sinusoidal_embedding(t.double(), 8)
    for i, step in enumerate(t.tolist()):
        for j in range(4):
            frequency = 10_000 ** (-j / 3)
            assert exact[i, j].item() == pytest.approx(math.sin(step * frequency), abs=1e-12)
            assert exact[i, 4 + j].item() == pytest.approx(math.cos(step * frequency), abs=1e-12)


# --- the filter ------------------------------------------------------------------------------------------------------------


def filtered(image, taps, pad):
    """Brute force: every output pixel of the full correlation with the outer product of the taps."""
    h, w = image.shape
    padded = torch.zeros(h + sum(pad), w + sum(pad), dtype=image.dtype)
    padded[pad[0] : pad[0] + h, pad[0] : pad[0] + w] = image
    n = len(taps)
    out = torch.zeros(padded.shape[0] - n + 1, padded.shape[1] - n + 1, dtype=image.dtype)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for a in range(n):
                for b in range(n):
                    out[i, j] += taps[a] * taps[b] * padded[i + a, j + b]
    return out


def test_filter_by_brute_force():
    x, taps = draw(1, 2, 6, 6, dtype=torch.float64), (1 / 8, 3 / 8, 3 / 8, 1 / 8)
    for channel in range(2):
        expected = filtered(x[0, channel], taps, (1, 1))[::2, ::2]
        torch.testing.assert_close(fir_down(x)[0, channel], expected, rtol=1e-12, atol=1e-12)
        spread = torch.zeros(12, 12, dtype=torch.float64)
        spread[::2, ::2] = x[0, channel]
        expected = 4 * filtered(spread, taps, (2, 1))
        torch.testing.assert_close(fir_up(x)[0, channel], expected, rtol=1e-12, atol=1e-12)


def test_filter_equals_diffusers():
    down = pytest.importorskip("diffusers.models.downsampling")
    up = pytest.importorskip("diffusers.models.upsampling")
    x = draw(2, 3, 8, 8)
    torch.testing.assert_close(fir_down(x), down.downsample_2d(x, (1, 3, 3, 1)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fir_up(x), up.upsample_2d(x, (1, 3, 3, 1)), rtol=1e-5, atol=1e-6)


def test_filter_keeps_a_constant_and_removes_what_would_fold_over():
    flat = torch.ones(1, 1, 16, 16)
    torch.testing.assert_close(fir_down(flat)[..., 1:-1, 1:-1], torch.ones(1, 1, 6, 6))
    torch.testing.assert_close(fir_up(flat)[..., 1:-1, 1:-1], torch.ones(1, 1, 30, 30))
    stripes = (-1.0) ** torch.arange(16).expand(1, 1, 16, 16)
    assert fir_down(stripes)[..., 1:-1].abs().max() < 1e-6
    assert stripes[..., ::2].abs().min() == 1  # taking every second pixel makes a white image of them


# --- what each option does -------------------------------------------------------------------------------------------------


@pytest.mark.equation("ddgan-adagn")
def test_adaptive_group_norm_against_its_formula_and_diffusers():
    layer = randomised(AdaGN(2, 6, style_dim=3))
    x, w = 3 + 2 * draw(4, 6, 5, 5), draw(4, 3, seed=1)
    scale, shift = (w @ layer.style.weight.T + layer.style.bias).chunk(2, 1)
    out = layer(x, w)
    for image in range(4):
        for group in range(2):
            channels = slice(3 * group, 3 * group + 3)
            part = x[image, channels]
            normed = (part - part.mean()) / (part.var(correction=0) + 1e-6).sqrt()
            expected = (1 + scale[image, channels])[:, None, None] * normed + shift[image, channels][
                :, None, None
            ]
            torch.testing.assert_close(out[image, channels], expected, rtol=1e-5, atol=1e-5)
    normalization = pytest.importorskip("diffusers.models.normalization")
    peer = normalization.AdaGroupNorm(3, 6, 2, eps=1e-6)
    peer.linear.load_state_dict(layer.style.state_dict())
    torch.testing.assert_close(out, peer(x, w), rtol=1e-5, atol=1e-5)
    assert AdaGN(2, 6).weight.shape == (6,)
    assert layer.weight is None


def test_rescaled_sum_keeps_the_variance():
    x, y = draw(100_000), draw(100_000, seed=1)
    # the variance of n normal draws has relative deviation sqrt(2 / n) = 0.0045: four of them
    assert join(x, y, True).var().item() == pytest.approx(1, abs=0.018)
    assert join(x, y, False).var().item() == pytest.approx(2, abs=0.036)
    for rescale in (True, False):
        h, expected = draw(64, 16, 8, 8), 1.0
        for depth in range(12):
            block = randomised(ResidualBlock(16, 16, 8, 4, rescale=rescale), seed=10 * depth)
            out = block(h, torch.zeros(64, 8))
            branch = out * math.sqrt(2) - h if rescale else out - h
            expected = (expected + branch.var().item()) / (2 if rescale else 1)
            h = out
        # 16 x 64 x 64 pixels, but independent weights in 12 blocks only: the sum's cross terms do not vanish
        assert h.var().item() == pytest.approx(expected, rel=0.2)
        bound = branch.var().item()
        assert (h.var() < 3 * bound) == rescale  # the last branches alone, or the sum of all


def test_progressive_input_feeds_every_resolution():
    x, t = draw(2, 1, 8, 8), torch.tensor([1, 2])
    for progressive in (True, False):
        net = randomised(UNet(1, **{**ADAPTIVE, "progressive_input": progressive}))
        for parameter in net.first.parameters():
            nn.init.zeros_(parameter)  # the usual way in is shut
        z = draw(2, 5, seed=1)
        with torch.no_grad():
            change = (net(x, t, z=z) - net(-x, t, z=z)).abs().max()
        assert (change > 1e-3) == progressive


def test_attention_stands_where_it_is_asked_for():
    def sides(net):
        return [block.attention is not None for stage in net.down for block in stage], [
            block.attention is not None for stage in net.up for block in stage
        ]

    common = {"size": 8, "width": 8, "multipliers": (1, 2), "attention": (4,)}
    assert sides(UNet(**common)) == (
        [False, False, True, True],
        [True, True, True, False, False, False],
    )
    assert sides(UNet(**common, resblock="biggan")) == (
        [False, False, True, True],
        [False, False, True, False, False, False],  # once a resolution on the way up, as NCSN++ has it
    )


@pytest.mark.parametrize("config", [{**SMALL, "classes": 3}, {**ADAPTIVE, "classes": 3}])
def test_every_input_and_every_weight_counts(config):
    net = randomised(UNet(2, **config))
    adaptive = "latent_dim" in config
    x, t, y = draw(4, 2, 8, 8), torch.tensor([3, 30, 300, 900]), torch.tensor([0, 1, 2, 3])
    z = draw(4, 5, seed=1) if adaptive else None
    out = net(x, t, y, z)
    assert out.shape == (4, 2, 8, 8)
    out.square().mean().backward()
    silent = [
        name
        for name, parameter in net.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []
    with torch.no_grad():
        assert (net(x, t + 7, y, z) - out).abs().amax((1, 2, 3)).min() > 1e-3
        assert (net(x, t, y.roll(1), z) - out).abs().amax((1, 2, 3)).min() > 1e-3
        torch.testing.assert_close(net(x, t, None, z)[3], out[3])  # label 3 of 3 classes: none
        if adaptive:
            assert (net(x, t, y, z.flip(0)) - out).abs().amax((1, 2, 3)).min() > 1e-3
            torch.testing.assert_close(
                net(x, t, y, 5 * z), out, rtol=1e-4, atol=1e-4
            )  # only z's direction counts
        permutation = torch.tensor([2, 0, 3, 1])
        again = net(x[permutation], t[permutation], y[permutation], z if z is None else z[permutation])
        torch.testing.assert_close(again, out[permutation], rtol=1e-4, atol=1e-5)


def test_start_is_zero_and_each_branch_starts_shut():
    for config in (SMALL, ADAPTIVE):
        net = UNet(1, **config)
        z = draw(2, 5) if "latent_dim" in config else None
        assert net(draw(2, 1, 8, 8), torch.tensor([1, 2]), z=z).abs().max() == 0
    for module in UNet(1, **SMALL).modules():
        if isinstance(module, ResidualBlock) and module.shortcut is None:
            x = draw(2, module.conv1.in_channels, 4, 4)
            torch.testing.assert_close(module(x, draw(2, 32)), x)


@pytest.mark.parametrize(("config", "z"), [({**SMALL, "classes": 3}, None), (ADAPTIVE, draw(2, 5))])
def test_compiles_without_a_graph_break(config, z):
    net = randomised(UNet(1, **config))
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    x, t = draw(2, 1, 8, 8), torch.tensor([1, 2])
    torch.testing.assert_close(compiled(x, t, z=z), net(x, t, z=z))


@pytest.mark.parametrize(("config", "z"), [(SMALL, None), (ADAPTIVE, draw(2, 5))])
def test_bfloat16_autocast_gives_float32_near_the_full_result(config, z):
    net = randomised(UNet(1, **config))
    x, t = draw(2, 1, 8, 8), torch.tensor([1, 999])
    with torch.no_grad():
        full = net(x, t, z=z)
        with torch.autocast("cpu", torch.bfloat16):
            half = net(x, t, z=z)
    assert half.dtype == torch.float32
    # bfloat16 has 8 bits: a relative 0.4 % a layer, some twenty layers deep
    assert (half - full).std() < 0.05 * full.std()


def test_variance_channels_and_dropout():
    net = randomised(UNet(1, **SMALL, out_channels=2, dropout=0.5))
    x, t = draw(2, 1, 8, 8), torch.tensor([1, 2])
    assert net(x, t).shape == (2, 2, 8, 8)
    assert not torch.equal(net(x, t), net(x, t))
    net.eval()
    assert torch.equal(net(x, t), net(x, t))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resblock": "resnet"}, "expected one of ddpm, biggan"),
        ({"width": 30}, "multiple of 4"),
        ({"width": 140}, "32 from 128 on"),
        ({"size": 30}, "must halve 2 times"),
        ({"attention": (16,)}, "the sides of this network are"),
        ({"heads": 3}, "must divide the channels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        UNet(**options)


def test_inputs_that_do_not_fit_are_refused():
    net, x, t = UNet(1, **SMALL), draw(2, 1, 8, 8), torch.tensor([1, 2])
    with pytest.raises(ValueError, match=r"images must have shape \(B, 1, 8, 8\)"):
        net(draw(2, 1, 16, 16), t)
    with pytest.raises(ValueError, match="one entry a sample"):
        net(x, t[:1])
    with pytest.raises(ValueError, match="takes no labels"):
        net(x, t, t)
    with pytest.raises(ValueError, match="takes no code"):
        net(x, t, z=draw(2, 5))
    with pytest.raises(ValueError, match=r"needs a code z of shape \(2, 5\)"):
        UNet(1, **ADAPTIVE)(x, t)
    with pytest.raises(ValueError, match=r"z must have shape \(2, 5\)"):
        UNet(1, **ADAPTIVE)(x, t, z=draw(2, 4))
    with pytest.raises(ValueError, match="one label a sample"):
        UNet(1, **SMALL, classes=3)(x, t, t[:1])
    with pytest.raises(ValueError, match="even dimension"):
        sinusoidal_embedding(t, 7)


# --- the generator of the denoising diffusion GAN --------------------------------------------------------------------------


def test_account_of_the_released_generators_weights():
    released = count(UNet, **DDGAN_CIFAR10)
    assert released == 48_432_515  # 48.4 million
    table = count(UNet, **{**DDGAN_CIFAR10, "latent_dim": 256, "style_dim": 512, "mapping_layers": 3})
    assert table == 56_664_707  # what table 6.6 prints

    with torch.device("meta"):
        net = UNet(**DDGAN_CIFAR10)
    adaptive = [layer.style for layer in net.modules() if isinstance(layer, AdaGN)]
    styles = sum(layer.weight.numel() + layer.bias.numel() for layer in adaptive)
    mapping = sum(parameter.numel() for parameter in net.mapping.parameters())
    channels = sum(layer.out_features for layer in adaptive)  # scale and shift of every normalised map
    assert styles == channels * (256 + 1)
    assert mapping == (100 + 1) * 256 + 4 * (256 + 1) * 256
    wider = channels * (512 + 1) + (256 + 1) * 512 + 2 * (512 + 1) * 512
    assert table - released == wider - styles - mapping

    plain = [layer for layer in net.modules() if type(layer) is nn.GroupNorm]  # in attention and at the end
    assert [layer.num_channels for layer in plain].count(256) == len(plain) - 1
    more = sum(2 * layer.num_channels * (256 + 1) - 2 * layer.num_channels for layer in plain)
    assert released + more == 49_022_339  # "all" of them adaptive, as the text of 6.4.7 has it


# --- points ----------------------------------------------------------------------------------------------------------------


def test_point_network_is_an_mlp_of_all_it_is_told():
    net = randomised(TimeMLP(2, width=16, depth=2, out_dim=3, latent_dim=4, classes=5))
    x, t, y, z = draw(6, 2), torch.arange(6) * 150, torch.arange(6), draw(6, 4, seed=1)
    told = sinusoidal_embedding(t, 64) + net.label.weight[y]
    h = torch.cat([x, told, z], 1)
    linear = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [16, 16, 3]
    for layer in linear[:-1]:
        h = F.silu(h @ layer.weight.T + layer.bias)
    expected = h @ linear[-1].weight.T + linear[-1].bias
    out = net(x, t, y, z)
    torch.testing.assert_close(out, expected)
    out.square().mean().backward()
    assert all(parameter.grad.any() for parameter in net.parameters())
    torch.testing.assert_close(net(x, t, None, z)[5], out[5])  # label 5 of 5 classes: none
    assert (net(x, t + 7, y, z) - out).abs().amax(1).min() > 1e-3
    assert TimeMLP(7)(draw(2, 7), torch.rand(2)).shape == (2, 7)


def test_point_network_compiles_and_refuses_what_does_not_fit():
    net = TimeMLP(2, width=8)
    x, t = draw(3, 2), torch.arange(3)
    torch.testing.assert_close(torch.compile(net, backend="eager", fullgraph=True)(x, t), net(x, t))
    with pytest.raises(ValueError, match=r"points must have shape \(B, 2\)"):
        net(draw(3, 4), t)
    with pytest.raises(ValueError, match="takes no labels"):
        net(x, t, t)
    with pytest.raises(ValueError, match="needs a code"):
        TimeMLP(2, latent_dim=4)(x, t)
