"""The one error that reading data raises."""


class DataError(ValueError):
    """Something is wrong with a data set on disk or on its way there; the message names the file, the row, the cure."""
