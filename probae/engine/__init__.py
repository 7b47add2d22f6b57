"""The training engine behind `pb.fit`: batches, steps, validation, the state of a run, and who watches it."""
