"""Two ideas beyond the paper, each against k = 8 on shows for equal cost; see `__main__`."""
