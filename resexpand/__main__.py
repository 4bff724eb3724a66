"""``python -m resexpand``: the same as the command ``resexpand``."""

import sys

from resexpand.cli import main

if __name__ == "__main__":
    sys.exit(main())
