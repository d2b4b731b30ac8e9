"""Which clips make a batch, and the batches themselves."""
