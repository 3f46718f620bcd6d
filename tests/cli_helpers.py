"""Running the command line within the test's own process."""

from musicai import cli


def run(capsys, *words, code=0):
    """The lines of stdout and of stderr."""
    try:
        found = cli.main(list(words))
    except SystemExit as end:
        found = end.code or 0
    out, err = capsys.readouterr()
    assert found == code, err
    return out.splitlines(), err.splitlines()
