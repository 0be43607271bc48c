"""The workshop: data, training, export, quantisation, evaluation, and the shipped bundles."""
