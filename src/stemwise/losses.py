"""What the networks are trained to make small.

Conventions: B batch, I instrument part, D dimension, F frequency bin, T frame. Labels are integers
per mixture and part; -1 means that the part is left out of that mixture.

References: equation (1) of the paper (triplet), sections III-A2 and III-B2 (L1 on magnitudes);
Khosla et al., "Supervised contrastive learning", NeurIPS 2020, equation 2.
"""

import torch
from torch.nn import functional

__all__ = ["contrastive", "magnitude_l1", "presence", "separation", "triplet"]

EPSILON = 1e-6


def triplet(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, *, margin: float
) -> torch.Tensor:
    """Return the mean triplet loss, equation (1) of the paper:

        L = mean over i of max(0, d(a_i, p_i) - d(a_i, n_i) + margin)

    d is the Euclidean distance, not squared, of vectors that are not normalised (section III-A2);
    as in the authors' code, 1e-6 is added to each difference, which keeps the gradient of equal
    vectors finite.

    Args:
        anchor: (B, D) the part's own numbers.
        positive: (B, D).
        negative: (B, D).
        margin: delta; 0.2 in the authors' code, not stated in the paper.
    """  # noqa: D415
    if not anchor.shape == positive.shape == negative.shape:
        shapes = ", ".join(str(tuple(view.shape)) for view in (anchor, positive, negative))
        raise ValueError(f"shapes differ: {shapes}")
    near = functional.pairwise_distance(anchor, positive, eps=EPSILON)
    far = functional.pairwise_distance(anchor, negative, eps=EPSILON)
    return (near - far + margin).clamp(min=0).mean()


def magnitude_l1(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of two magnitude spectrograms of one shape, (...).

    The separation loss of one clip (sections III-A2, III-B2); the stages sum it over the clips of
    a triplet.
    """
    if estimate.shape != reference.shape:
        raise ValueError(f"shapes differ: {tuple(estimate.shape)}, {tuple(reference.shape)}")
    return (estimate - reference).abs().mean()


def contrastive(
    embedding: torch.Tensor, labels: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Return the supervised contrastive loss of each part, (I,).

    For part i, mixtures with the same label are each other's positives, whatever else plays in
    them, and all other mixtures in which the part plays are negatives:

        L_i = mean over a of -1/|P(a)| sum_{p in P(a)} log( exp(z_a z_p / t) / sum_{b != a} exp(z_a z_b / t) )

    Anchors without a positive are left out; a part without any gives 0.

    Args:
        embedding: (B, I, D), blocks of length 1.
        labels: (B, I) integers; -1 where the part does not play.
        temperature: t, above 0.
    """  # noqa: E501
    z = embedding.transpose(0, 1)  # (I, B, D)
    label = labels.T  # (I, B)
    playing = label >= 0
    itself = torch.eye(label.shape[1], dtype=torch.bool, device=label.device)
    compared = playing[:, :, None] & playing[:, None, :] & ~itself
    positive = compared & (label[:, :, None] == label[:, None, :])
    similarity = z @ z.transpose(1, 2) / temperature  # (I, B, B)
    log_sum = similarity.masked_fill(~compared, -torch.inf).logsumexp(dim=2, keepdim=True)
    log_probability = (similarity - log_sum).masked_fill(~positive, 0.0)
    positives = positive.sum(dim=2)
    per_anchor = -log_probability.sum(dim=2) / positives.clamp(min=1)
    anchors = (positives > 0).sum(dim=1)
    return per_anchor.sum(dim=1) / anchors.clamp(min=1)


def presence(logits: torch.Tensor, playing: torch.Tensor) -> torch.Tensor:
    """Return the mean binary cross-entropy of `logits` (B, I) against `playing` (B, I) in 0..1."""
    return functional.binary_cross_entropy_with_logits(logits, playing.float())


def shares(masks: torch.Tensor, mixture: torch.Tensor, stems: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the masks with the true shares of every bin.

    Bins count by the root of the mixture's magnitude relative to its mean. Other than an L1
    distance, whose best answer is the median and so nothing at all for a part that is seldom the
    loudest, it asks for the share that is expected.

    Args: as of `separation`, with masks that add up to 1 over the parts.
    """
    scale = mixture.mean(dim=(1, 2), keepdim=True) + 1e-8
    true = stems / (stems.sum(dim=1, keepdim=True) + 1e-7)
    entropy = -(true * masks.clamp(min=1e-6).log()).sum(dim=1)
    return ((mixture / scale).sqrt() * entropy).mean()


def separation(masks: torch.Tensor, mixture: torch.Tensor, stems: torch.Tensor) -> torch.Tensor:
    """Return the mean L1 distance of masked mixture and stems, on magnitudes (section III-A2).

    Departure: magnitudes are mel magnitudes, relative to the mixture's mean, so that loud and soft
    mixtures count alike, and compressed by a power of 0.5, so that weak bins count too.

    Args:
        masks: (B, I, F, T) in 0..1.
        mixture: (B, F, T) mel magnitudes of the mixture.
        stems: (B, I, F, T) mel magnitudes of the stems.
    """
    scale = mixture.mean(dim=(1, 2), keepdim=True)[:, None] + 1e-8
    estimate = (masks * mixture[:, None] / scale + 1e-8).sqrt()
    reference = (stems / scale + 1e-8).sqrt()
    return (estimate - reference).abs().mean()
