"""The one error that users see as a single line."""


class UserError(Exception):
    """Bad input: one line that names the file, field or value, and the remedy.

    The command line prints it without a traceback and exits with status 2.
    """
