"""The sandbox against tools that know the API's OpenAPI file alone.

Run as `OMI_OPENAPI=FILE python -m tests.interoperability`.
Needs schemathesis and openapi-python-client 0.29, which this project does not install. Exits with 1 after printing what
does not fit.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from tests.interoperability import generated_client, random_requests


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interoperability")
    parser.add_argument("--examples", type=int, default=100, help="random requests an operation and kind of data")
    options = parser.parse_args()
    if "OMI_OPENAPI" not in os.environ:
        parser.error("OMI_OPENAPI must name the API's OpenAPI file")
    path = Path(os.environ["OMI_OPENAPI"])
    # The sandbox logs each 500, and some are right.
    logging.disable()
    troubles = [
        *random_requests.check(path, options.examples),
        *generated_client.check(path),
    ]
    for trouble in troubles:
        print(trouble)
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
