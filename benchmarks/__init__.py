"""What the method and the program are measured by: adaptation, and speed."""
