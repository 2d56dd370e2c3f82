"""What a command has written."""


def written(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def lines_of(folder):
    return (folder / "predictions.jsonl").read_text().splitlines()
