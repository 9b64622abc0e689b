"""Pictures: coloured label maps, comparisons, contact sheets, charts."""
