"""Find moments of a catalog by how they look and how they sound."""
