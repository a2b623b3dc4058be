"""How long a page of a feed is: the one place that says so.

`idl/recommend.thrift` promises the same numbers to programs in other languages, and a test
compares. Rejected: reading them out of the IDL, which states the longest page in a comment only.

    articles = request.article_num or PAGE_SIZE
"""

from __future__ import annotations

PAGE_SIZE = 10
LONGEST_PAGE = 100
