"""`python -m probae` is the command `probae`."""

import sys

from probae.cli import main

if __name__ == "__main__":
    sys.exit(main())
