"""Ask an address and end with 0 when it answers 200: the readiness check of everything that has an HTTP address.

A program of its own because it must run where the part runs, in namespaces that this process cannot enter. It proves
that a server answers, not who it is: that is why it does not check certificates.
"""

import http.client
import ssl
import sys
import urllib.error
import urllib.request

try:
    context = ssl._create_unverified_context()  # noqa: S323
    with urllib.request.urlopen(sys.argv[1], timeout=5, context=context) as answer:  # noqa: S310
        sys.exit(0 if answer.status == 200 else f"answered {answer.status}")
except urllib.error.HTTPError as error:
    sys.exit(f"answered {error.code}: {error.read(500).decode(errors='replace')}")
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"no answer: {error}")
