from made_music import tone, write_sndfile


def test_tags_are_read(catalogue, tmp_path, tiny_model):
    import mutagen
    from mutagen.id3 import TBPM, TDRC, TIT2, TPE1

    folder = tmp_path / "tagged"
    folder.mkdir()
    for name in ("a.flac", "b.mp3", "c.ogg"):
        file = mutagen.File(write_sndfile(folder / name, tone(2), 44100), easy=True)
        if file.tags is None:
            file.add_tags()
        told = {"title": "Blüe", "artist": "A", "album": "B", "date": "1999-05-01", "genre": "Jazz"}
        for key, value in (told | {"bpm": "120.5"}).items():
            file[key] = value
        file.save()
    file = mutagen.File(write_sndfile(folder / "d.wav", tone(2), 44100))
    file.add_tags()
    for frame in (TIT2(text="Blüe"), TPE1(text="A"), TDRC(text="1999"), TBPM(text="none")):
        file.tags.add(frame)
    file.save()
    write_sndfile(folder / "e - f.wav", tone(2))
    catalogue.index([folder], tiny_model)
    *easy, wav, bare = catalogue.pieces()
    for piece in easy:
        assert (piece.title, piece.artist, piece.album) == ("Blüe", "A", "B")
        assert (piece.year, piece.genre, piece.bpm) == (1999, "Jazz", 120.5)
    assert (wav.title, wav.artist, wav.year, wav.bpm) == ("Blüe", "A", 1999, None)
    assert (bare.title, bare.artist, bare.year) == ("e - f", "", None)
