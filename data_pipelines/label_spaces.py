"""Label spaces and the tables between them."""

from __future__ import annotations

IGNORE_ID = 255
