"""`python -m fcis`: the command, for whoever does not have it on the path."""

import sys

from fcis.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
