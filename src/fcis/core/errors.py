"""The one exception that means "your input, not our bug"."""


class InputError(ValueError):
    """Bad input: a single line that names the file or value and the remedy.

    The command line prints the message without a traceback and exits with code 2.
    """
