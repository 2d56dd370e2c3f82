from fcis.core.progress import progress, say


def test_progress_is_silent_for_short_work(capsys):
    assert list(progress([1, 2, 3], total=3, what="counting")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_progress_shows_long_work(capsys, monkeypatch):
    import time

    from tqdm import tqdm

    start = time.time()
    clock = iter(range(1000))
    monkeypatch.setattr(tqdm, "_time", None, raising=False)
    monkeypatch.setattr("tqdm.std.time", lambda: start + 40 * next(clock))
    list(progress(range(3), total=3, what="counting"))
    out, err = capsys.readouterr()
    assert out == "" and "counting" in err and "3/3" in err and "image" in err


def test_a_watcher_takes_the_place_of_the_bar(capsys):
    seen = []
    items = progress("ab", total=2, what="counting", watch=lambda *counts: seen.append(counts))
    assert list(items) == ["a", "b"]
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_the_logger(caplog, capsys):
    caplog.set_level("INFO", logger="fcis")
    say("found a thing")
    assert caplog.messages == ["found a thing"]
    assert capsys.readouterr().out == ""
