"""What stands where in a rendered street, and how it looks."""
