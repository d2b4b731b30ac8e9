"""HTML pages of runs, diagnoses and evaluations, and their charts."""
