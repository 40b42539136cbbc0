import pytest
import torch

from stemwise.models.direct import Direct, DirectShape, MaskHead
from stemwise.models.unet import Encoder

COMPACT = DirectShape(
    sample_rate_hz=22050, n_fft=2048, hop_samples=512, n_mels=128, f_min_hz=20.0,
    channels=(16, 32, 64, 128, 256, 320), pooling="mean_std", unit_blocks=True,
)  # fmt: skip


def test_every_layer_halves_rounding_up():
    encoder = Encoder((16, 32, 64, 128, 256, 512))
    sizes = [tuple(m.shape[1:]) for m in encoder.features(torch.zeros(1, 1, 1025, 259))]
    assert sizes == [
        (16, 513, 130), (32, 257, 65), (64, 129, 33), (128, 65, 17), (256, 33, 9), (512, 17, 5),
    ]  # fmt: skip


@pytest.mark.parametrize("seconds", [1, 3, 10])
def test_shapes_and_ranges(seconds):
    network = Direct(COMPACT).eval()
    mixture = torch.randn(3, 22050 * seconds, generator=torch.Generator().manual_seed(0))
    embedding, presence = network.describe(mixture)
    assert embedding.shape == (3, 5, 128)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(3, 5))
    assert presence.shape == (3, 5)
    assert ((presence >= 0) & (presence <= 1)).all()
    torch.testing.assert_close(network.embed(mixture), embedding)


def test_compact_stays_compact():
    assert sum(p.numel() for p in Direct(COMPACT).parameters()) == 3_965_093


def test_the_papers_pooling_and_blocks_are_a_setting():
    network = Direct(COMPACT.model_copy(update={"pooling": "mean", "unit_blocks": False})).eval()
    assert network.head.in_features == 320 * COMPACT.bins_out
    features = torch.randn(2, 320, 2, 7, generator=torch.Generator().manual_seed(1))
    pooled = network.pool(features)
    torch.testing.assert_close(pooled[:, 5], features[:, 2, 1].mean(dim=-1))  # channel-major
    assert network.embed(torch.randn(1, 22050)).norm(dim=-1).std() > 0


def test_silence_and_short_input():
    network = Direct(COMPACT).eval()
    embedding, presence = network.describe(torch.zeros(1, 22050))
    assert torch.isfinite(embedding).all()
    assert torch.isfinite(presence).all()
    with pytest.raises(ValueError, match="N > 1024"):
        network.embed(torch.zeros(1, 1000))


def test_masks_share_out_every_bin():
    masks = MaskHead(128, 4)(torch.randn(2, 128, 8, 9), 128, 130)
    assert masks.shape == (2, 5, 128, 130)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 128, 130))
