"""What the command line turns into one line on the screen instead of a traceback."""


class UserError(Exception):
    """A mistake in what the user asked for: reported as one line, exit status 2."""


class TrainingFailed(Exception):
    """A fit that ended without a usable model: reported as one line, exit status 1."""
