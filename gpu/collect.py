"""Put what a call brought back where it belongs: results into the record, state for the next call.

python gpu/collect.py path/to/what/came/back
"""

import sys
from pathlib import Path

from common import GPU, RECORD
from travel import collect

from fcis.cli.parser import Parser
from fcis.core.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Collect, and say what there was."""
    parser = Parser(prog="gpu/collect.py", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with *.jsonl and state-*")
    parser.add_argument("--results", type=Path, default=RECORD, metavar="DIR")
    parser.add_argument("--state", type=Path, default=GPU / "carry" / "state")
    try:
        options = parser.parse_args(arguments)
        if not options.folder.is_dir():
            raise InputError(f"{options.folder}: no such folder; give the one that came back")
        told = collect(options.folder, options.results, options.state)
    except InputError as error:
        print(f"gpu/collect.py: {error}", file=sys.stderr)
        return 2
    print("\n".join(told) or f"{options.folder}: neither results nor state")
    return 0


if __name__ == "__main__":
    sys.exit(main())
