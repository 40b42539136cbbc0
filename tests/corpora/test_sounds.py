from collections import Counter

import pytest

from stemwise.corpora.sounds import SOUNDFONTS, draw_sound, find_soundfonts, generator
from stemwise.errors import CorpusError, UsageError
from stemwise.parts import PARTS

NAMES = [font.name for font in SOUNDFONTS]
ASKED = {
    "drums": [0, 16],
    "bass": [33, 38],
    "piano": [0],
    "guitar": [30, 25],
    "residuals": [48, 81],
}


def draw(i, part, split="train", soundfonts=NAMES):
    return draw_sound(
        generator(0, i, part), part=part, programs=ASKED[part], split=split, soundfonts=soundfonts
    )


def test_a_draw_follows_from_its_words_alone():
    assert draw(1, "guitar") == draw(1, "guitar")
    assert draw(1, "guitar") != draw(2, "guitar")


@pytest.mark.parametrize("part", PARTS)
def test_sounds_stay_in_their_family_and_range(part):
    for i in range(300):
        sound = draw(i, part)
        assert -6 <= sound.offset_db <= 6
        assert sorted(sound.programs) == sorted(ASKED[part])
        for asked, played in sound.programs.items():
            if part == "drums":
                font = next(f for f in SOUNDFONTS if f.name == sound.soundfont)
                assert (sound.bank, played) == ((128, played) if font.kits else (0, 0))
                assert played in (font.kits or (0,))
            else:
                first = {"piano": 0, "guitar": 24, "bass": 32}.get(part, asked - asked % 8)
                assert first <= played < first + 8
                assert sound.bank == 0


def test_held_out_soundfonts_play_in_the_test_only():
    held_out = {font.name for font in SOUNDFONTS if font.held_out}
    assert held_out == {"MuseScore_General", "Red_Zeppelin"}
    for split in ("train", "valid", "test"):
        drawn = {draw(i, part, split).soundfont for i in range(150) for part in PARTS}
        assert bool(drawn & held_out) == (split == "test")
        assert drawn >= {font.name for font in SOUNDFONTS if not font.held_out}


def test_few_guitars_are_driven_and_some_sounds_are_dry():
    sounds = [draw(i, "guitar") for i in range(600)]
    played = Counter(p for sound in sounds for p in sound.programs.values())
    assert 0.15 < (played[29] + played[30]) / played.total() <= 0.35
    dry = sum(not sound.effects for sound in sounds) / len(sounds)
    assert 0.08 < dry < 0.25


def test_drum_kits_differ_in_kind():
    kits = Counter(draw(i, "drums", soundfonts=["FluidR3_GM", "TimGM6mb"]).programs[0] // 8
                   for i in range(400))  # fmt: skip
    assert max(kits.values()) / kits.total() < 0.5


def test_a_missing_soundfont_names_its_package(tmp_path):
    with pytest.raises(CorpusError, match="apt-get install timgm6mb-soundfont"):
        find_soundfonts(["TimGM6mb"], folders=[tmp_path])
    with pytest.raises(UsageError, match="unknown soundfont 'Tim'"):
        find_soundfonts(["Tim"])
    (tmp_path / "Black_Pearl_4_LV2.sf2").touch()
    with pytest.raises(UsageError, match="melodic"):
        find_soundfonts(["Black_Pearl"], folders=[tmp_path])


def test_soundfonts_are_found_by_any_of_their_names(tmp_path):
    for font in SOUNDFONTS:
        (tmp_path / font.files[-1]).touch()
    assert list(find_soundfonts(folders=[tmp_path])) == NAMES
