"""The command line: `musicai --help`."""


def main() -> int:
    """Run the command line."""
    return 0
