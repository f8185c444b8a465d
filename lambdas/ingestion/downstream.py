"""What happens to a record after it was stored: the place for your code."""

from collections.abc import Mapping
from typing import Any


def downstream(record: Mapping[str, Any]) -> None:
    """Called in the region that stored a record, once the table holds it, with the item's attributes by ``contract``'s names.

    Both kinds come here, told apart by ``processingStatus``; ``json.loads(record["data"])`` is a ``VALID`` one. It comes at
    least once: what is done here must bear to be done again. An exception has this record tried again, and in the end set aside
    in the queue; the others of its batch are handled all the same.
    """
