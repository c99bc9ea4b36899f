"""``python -m recon.cli``: the command line without its script."""

import sys

from recon.cli import main

if __name__ == "__main__":
    sys.exit(main())
