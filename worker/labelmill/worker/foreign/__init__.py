"""Import: a classification checkpoint made elsewhere becomes a version, or is refused."""
