"""The one error that reading data raises."""


class DataError(ValueError):
    """Something is wrong with a data set on disk or on its way there; the message names the file, the row, the cure.

    >>> raise DataError("notes.mid: truncated")
    Traceback (most recent call last):
    musicai.data.errors.DataError: notes.mid: truncated

    Chapter 1.
    """

    def __str__(self) -> str:
        """The message; bytes of a file name that are not UTF-8 are escaped, for such text cannot be printed."""
        return super().__str__().encode("utf-8", "backslashreplace").decode()
