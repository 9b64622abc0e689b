"""Reports on runs, as self-contained HTML pages."""
