"""The plan of a rendered street: its objects, their places and their appearance."""
