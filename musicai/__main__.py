"""Run the `musicai` command with `python -m musicai`."""

from musicai.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
