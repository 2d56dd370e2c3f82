"""The command as a whole: help, exit codes, and what reaches the user of errors and warnings."""

import argparse
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from fcis.cli import info
from fcis.cli.main import build_parser, main
from fcis.core.errors import InputError

COMMANDS = ("demo", "predict", "train", "evaluate", "convert", "info")


def process(*arguments, **options):
    """Run the installed command's module in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fcis", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        **options,
    )


@pytest.fixture
def broken(monkeypatch):
    """Let `fcis info` end in an exception."""

    def install(error):
        def run(options):
            raise error

        monkeypatch.setattr(info, "run", run)

    return install


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_parses(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    example = out[out.index("example:") :].splitlines()[1].split()
    assert example[:2] == ["fcis", command]
    assert build_parser().parse_args(example[1:]).command == command
    assert "--device DEVICE" in out


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(f"\n    {command} " in out for command in (*COMMANDS, "data"))


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("fcis 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND; see fcis --help"),
        (["segment"], "argument COMMAND: invalid choice: 'segment' (choose from "),
        (["predict"], "the following arguments are required: INPUT; see fcis predict --help"),
        (["train", "--train", "x"], "the following arguments are required: --val, --recipe"),
        (["evaluate", "--data", "x"], "the following arguments are required: --weights"),
        (["convert", "x.params"], "the following arguments are required: TARGET; see fcis convert"),
        (["data"], "the following arguments are required: ACTION; see fcis data --help"),
        (["data", "mend"], "argument ACTION: invalid choice: 'mend' (choose from "),
        (["data", "check"], "the following arguments are required: DATA; see fcis data check"),
        (["data", "preview", "x", "--count", "a"], "argument --count: invalid int value: 'a'"),
        (["info", "--colour"], "unrecognized arguments: --colour; see fcis --help"),
        (["predict", "x", "--score", "0.5"], "unrecognized arguments: --score 0.5"),
        (["predict", "x", "--max-pixels", "1e6"], "--max-pixels: invalid int value: '1e6'"),
        (
            ["train", "--weights", "a", "--weights", "b"],
            "--weights is given twice; one is possible; see fcis train --help",
        ),
        (["predict", "x", "--roi-side", "wide"], "--roi-side: invalid float value: 'wide'"),
    ],
)
def test_bad_arguments_are_one_line(capsys, arguments, message):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fcis: ") and message in err and err.count("\n") == 1


def test_bad_input_is_one_line(capsys, broken):
    broken(InputError("a.png: is\n  bad"))
    assert main(["info"]) == 2
    assert capsys.readouterr() == ("", "fcis: a.png: is bad\n")


def test_a_bug_is_a_traceback(broken):
    broken(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        main(["info"])


def test_interrupts(capsys, monkeypatch, interruptible):
    def run(options):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(info, "run", run)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "fcis: interrupted\n"


def test_warnings_are_one_line(capsys, monkeypatch):
    def run(options):
        warnings.warn("x.json: is\nodd", stacklevel=1)
        return 0

    monkeypatch.setattr(info, "run", run)
    shown = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["info"]) == 0
    assert capsys.readouterr().err == "fcis: warning: x.json: is odd\n"
    assert warnings.showwarning is shown


def test_the_parser_keeps_no_state():
    for _ in range(2):
        options = build_parser().parse_args(["predict", "x", "--weights", "a"])
        assert isinstance(options, argparse.Namespace) and options.weights == ["a"]


def test_help_and_bad_arguments_do_not_load_torch():
    code = (
        "import sys, fcis.cli.main\n"
        "assert fcis.cli.main.main(['predict', '--nonsense']) == 2\n"
        "try: fcis.cli.main.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'lightning', 'timm', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def commands(parser, *before):
    """Yield the words of every command, those of groups included."""
    groups = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for name, inner in groups[0].items() if groups else ():
        yield (*before, name)
        yield from commands(inner, *before, name)


@pytest.mark.parametrize("words", list(commands(build_parser())), ids=" ".join)
def test_help_and_a_wrong_option_of_every_command_do_not_load_torch(words):
    code = (
        "import sys\n"
        "from fcis.cli.main import main\n"
        f"assert main([*{words}, '--nonsense']) == 2\n"
        f"try: main([*{words}, '--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print([m for m in ('torch', 'lightning', 'timm', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_process_with_good_input(tmp_path, tiny_weights):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    done = process("predict", "x.png", "--weights", tiny_weights, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 instances in 1 image: predictions\n"
    assert (tmp_path / "predictions" / "x.overlay.png").is_file()


def test_process_with_bad_input(tmp_path, tiny_weights):
    done = process("predict", "missing.png", "--weights", tiny_weights, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "fcis: missing.png: no such file or folder; check the spelling and the rights\n"
    )


def test_process_whose_reader_goes_away(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m fcis info | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
