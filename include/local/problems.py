"""What the local environment says when it cannot go on."""


class LocalError(Exception):
    """Something that the person at the terminal can understand and act upon; its text is all that is shown."""
