"""`python -m musicai` is the command `musicai`."""

import sys

from musicai.cli import main

if __name__ == "__main__":
    sys.exit(main())
