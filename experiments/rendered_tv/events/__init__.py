"""What happens in the studio's films: motions, how they look, and how they sound."""
