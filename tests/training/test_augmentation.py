import torch

from stemwise.training.augmentation import equaliser, played

RATE_HZ = 8000


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_each_sound_is_played_at_a_speed_of_its_own():
    n = torch.arange(RATE_HZ)
    tones = torch.sin(2 * torch.pi * 500 * n / RATE_HZ).expand(16, 5, -1)
    faster = played(tones, 3.0, chance())
    assert faster.shape == (16, 5, int((RATE_HZ - 1) / 2**0.25))
    size = 8 * RATE_HZ  # bins of an eighth of a hertz
    peaks_hz = torch.fft.rfft(faster, size).abs().argmax(dim=-1) / 8
    semitones = 12 * torch.log2(peaks_hz / 500)
    assert semitones.abs().max() < 3.02
    assert semitones.min() < -2 < 2 < semitones.max()
    assert len(semitones.flatten().unique()) > 60
    assert faster.abs().amax(dim=-1).min() > 0.95
    assert played(tones, 0.0) is tones


def test_an_equaliser_is_smooth_over_bands_and_constant_over_time():
    gains_db = 20 * equaliser(torch.zeros(400, 128, 3), 4.0, chance()).log10()
    assert gains_db.shape == (400, 128, 1)
    assert 3 < gains_db[:, 0].std() < 5
    assert (gains_db[:, 1:] - gains_db[:, :-1]).abs().max() < 1
    assert (equaliser(torch.zeros(2, 128, 3), 0.0) == 1).all()


def test_what_is_drawn_follows_the_generator_or_torch_itself():
    mel, sound = torch.zeros(4, 32, 3), torch.randn(4, 1000)
    for draw in (lambda c: equaliser(mel, 3.0, c), lambda c: played(sound, 1.0, c)):
        assert torch.equal(draw(chance()), draw(chance()))
        assert not torch.equal(draw(chance()), draw(chance(1)))
        torch.manual_seed(0)
        first = draw(None)
        torch.manual_seed(0)
        assert torch.equal(draw(None), first)
