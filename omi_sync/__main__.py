"""`python -m omi_sync` is the command `omi-conversations`."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
