"""The sandbox against tools that know nothing of this project.

Run as `python -m tests.interoperability`: the vendor's own command-line client does all its commands. With
`OMI_OPENAPI=FILE`, which names the API's OpenAPI file, tools that know that file alone send requests as well; they are
schemathesis and openapi-python-client 0.29, which this project does not install. Exits with 1 after printing what does
not fit.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.interoperability import official_command


def by_the_file(path: Path, examples: int) -> Iterator[str]:
    """Give what the tools find that know the OpenAPI file; they are needed with that file alone."""
    from tests.interoperability import generated_client, random_requests

    yield from random_requests.check(path, examples)
    yield from generated_client.check(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interoperability")
    parser.add_argument("--examples", type=int, default=100, help="random requests an operation and kind of data")
    options = parser.parse_args()
    # The sandbox logs each 500, and some are right.
    logging.disable()
    troubles = list(official_command.check())
    file = os.environ.get("OMI_OPENAPI")
    if file:
        troubles += by_the_file(Path(file), options.examples)
    else:
        print("OMI_OPENAPI names no OpenAPI file: no random requests, no generated client")
    for trouble in troubles:
        print(trouble)
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
