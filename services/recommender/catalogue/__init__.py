"""Every article that may be shown, in the memory of each worker, kept within a second of the
database.

A request takes a `View` and works with it: a view is columns in numpy, and never changes. The
`Catalogue` follows the database and makes the next one. Rejected: SQL per request, which grows with
the reader's history.

    catalogue = Catalogue(engine, now_ms)
    catalogue.refresh()
    catalogue.view().newest(10, now_ms())
"""

from services.recommender.catalogue.following import Catalogue
from services.recommender.catalogue.view import NO_AUTHOR, NO_ROW, View, make_view

__all__ = ["NO_AUTHOR", "NO_ROW", "Catalogue", "View", "make_view"]
