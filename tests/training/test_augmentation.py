import torch

from stemwise.stage_settings import TimbreSettings
from stemwise.training.augmentation import Timbres, equaliser, played

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


def retimbred(sound, labels, jitter=0.0, **told):
    torch.manual_seed(0)
    nothing = {"semitones": 0.0, "drive_db": 0.0, "colour_deviation_db": 0.0, "rooms": 0.0}
    return Timbres(labels, TimbreSettings(**nothing | told), RATE_HZ).played(sound, jitter)


def test_stems_of_one_label_get_one_timbre_and_others_others():
    noise = torch.randn(RATE_HZ, generator=chance()).expand(4, 5, -1)
    labels = torch.tensor([7, 7, 9, 7])[:, None] * 10 + torch.arange(5)
    for told in (
        {"semitones": 3.0}, {"drive_db": 12.0}, {"colour_deviation_db": 4.0}, {"rooms": 1.0}
    ):  # fmt: skip
        heard = retimbred(noise, labels, **told)
        torch.testing.assert_close(heard[1], heard[0])
        torch.testing.assert_close(heard[3], heard[0])
        others = [heard[0, 0], *heard[2], *heard[0, 1:]]
        differ = sum((a - b[: len(a)]).abs().max() > 0.01 for a in others for b in others)
        assert differ > 40, told  # of 90; drive leaves half as they are
    assert retimbred(noise, labels) is noise


def test_a_timbre_shifts_both_segments_and_leaves_them_their_own_speeds():
    n = torch.arange(RATE_HZ)
    tones = torch.sin(2 * torch.pi * 500 * n / RATE_HZ).expand(2, 40, -1)
    heard = retimbred(tones, torch.arange(40).expand(2, -1), jitter=0.5, semitones=4.0)
    assert heard.shape == (2, 40, int((RATE_HZ - 1) / 2 ** (4.5 / 12)))
    peaks_hz = torch.fft.rfft(heard, 16 * RATE_HZ).abs().argmax(dim=-1) / 16
    semitones = 12 * torch.log2(peaks_hz / 500)
    assert semitones.mean(dim=0).std() > 1.5
    apart = (semitones[0] - semitones[1]).abs()
    assert 0.1 < apart.mean() < apart.max() < 1.02


def test_a_driven_timbre_is_denser_at_its_level():
    noise = 0.1 * torch.randn(200, RATE_HZ, generator=chance())
    heard = retimbred(noise, torch.arange(200), drive_db=12.0)
    level = heard.square().mean(dim=-1).sqrt()
    torch.testing.assert_close(level, noise.square().mean(dim=-1).sqrt(), rtol=1e-3, atol=0)
    crest = heard.abs().amax(dim=-1) / level
    untouched = (heard == noise).all(dim=-1)
    assert 60 < untouched.sum() < 140
    assert crest[~untouched].min() < 2 < 3 < crest[untouched].min()


def test_a_coloured_timbre_is_smooth_over_octaves():
    impulses = torch.zeros(200, RATE_HZ)
    impulses[:, RATE_HZ // 2] = 1
    heard = retimbred(impulses, torch.arange(200), colour_deviation_db=4.0)
    gains_db = 20 * torch.fft.rfft(heard).abs().log10()
    octaves = gains_db[:, [63, 125, 250, 500, 1000, 2000, 3999]]
    steps_db = octaves.diff(dim=1)
    assert 2 < steps_db.std() < 5
    assert gains_db[:, 100:].diff(dim=1).abs().max() < 0.5


def test_a_timbre_in_a_room_goes_on_and_dies_away():
    impulses = torch.zeros(200, 2 * RATE_HZ)
    impulses[:, 10] = 1
    heard = retimbred(impulses, torch.arange(200), rooms=0.5)
    torch.testing.assert_close(heard.norm(dim=1), torch.ones(200), rtol=1e-2, atol=0)
    rest = heard[:, 11:] / heard[:, 10:11]
    wet_db = 20 * rest.norm(dim=1).clamp(min=1e-6).log10()
    inside = wet_db > -40
    assert 70 < inside.sum() < 130
    assert wet_db[inside].min() > -20.5
    assert wet_db[inside].max() < 0.5
    early, late = rest[inside, : RATE_HZ // 10], rest[inside, 3 * RATE_HZ // 10 : RATE_HZ // 2]
    assert (early.norm(dim=1) > 2 * late.norm(dim=1)).all()
