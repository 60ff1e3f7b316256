"""The one exception that a user is meant to read."""


class VidgenError(Exception):
    """Report a mistake of the user's, worded for the user: what is wrong, the number, the remedy.

    The app shows the sentence as it is; the command line prints it and exits with code 2.
    """
