"""From a catalog to batches: samplers, dataset, loader, pair labels and transforms."""
