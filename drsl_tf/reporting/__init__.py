"""Reports on finished runs, as pages that need nothing but a browser."""
