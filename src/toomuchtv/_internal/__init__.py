"""What users of the library never import."""
