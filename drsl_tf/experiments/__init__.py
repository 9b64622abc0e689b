"""A whole experiment: launched, loaded, evaluated, exported, inspected."""
