"""`python -m musicai` is the command `musicai`."""

from musicai.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
