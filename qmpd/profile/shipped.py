"""The schema that comes with qmpd."""

from __future__ import annotations

from pathlib import Path

import qmpd


def schema_path() -> Path:
    """The main file of the shipped schema.

    An installed qmpd has it inside the package, a checkout beside it.

    :raises FileNotFoundError: the schema is in neither place
    """
    package = Path(qmpd.__file__).parent
    places = (package / "schema" / "qmpd.json", package.parent / "schema" / "qmpd.json")
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"qmpd's schema is missing: {' and '.join(map(str, places))}")
