"""Events that happen in rendered films: their motion, their appearance and their sound."""
