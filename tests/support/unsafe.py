"""What imports something when it is unpickled; nothing here does when it is pickled."""

import json
import os


class Evil:
    """Runs a program."""

    def __reduce__(self):
        return os.system, ("true",)


class Odd:
    """Makes what nobody knows to be dangerous, or harmless."""

    def __reduce__(self):
        return json.JSONDecoder, ()
