"""Label spaces, and the tables from stored ids to them."""
