"""Dry runs: the same query parameter on every operation that changes something, and its answer.

A dry run is answered in quada's own form at every path, DNSimple's, PowerDNS's and external-dns's
too: their forms have no place for what goes and what the checks say.
"""

from typing import Annotated, Any, Final

from fastapi import Query
from fastapi.responses import JSONResponse

from quada.api.data import edited_data
from quada.api.operations import Edited

DryRun = Annotated[
    bool, Query(description="Tell what would be removed and added, and change nothing.")
]
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Done; or, with `dry_run`, what would come, in quada's form",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
"""What a changing operation of another's form answers at 200, for OpenAPI."""


def told(edited: Edited) -> JSONResponse:
    """Answer what a dry run found."""
    return JSONResponse(edited_data(edited))
