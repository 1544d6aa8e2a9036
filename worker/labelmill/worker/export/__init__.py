"""Export: a fine-tuned checkpoint becomes a version's files, or is refused."""
