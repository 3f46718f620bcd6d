"""The one error that reading data raises."""

__all__ = ["DataError"]


class DataError(ValueError):
    """Something is wrong with a data set on disk or on its way there; the message names the file, the row, the cure.

    >>> raise DataError("groove/info.csv, row 3: bpm is 'fast'")
    Traceback (most recent call last):
    musicai.data.errors.DataError: groove/info.csv, row 3: bpm is 'fast'

    Chapter 1.
    """

    def __str__(self) -> str:
        """The message, with the bytes of file names that are not UTF-8 escaped so that it can be printed."""
        return super().__str__().encode("utf-8", "backslashreplace").decode()
