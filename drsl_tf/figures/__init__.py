"""Pictures for people: label maps in colour, comparisons, contact sheets."""
