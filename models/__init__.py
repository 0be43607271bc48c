"""The workshop: data, training, export, quantisation, evaluation, and the shipped bundles."""

import sys

# OpenVINO and NNCF report their use through this package where something has installed it. None in its place makes its
# import fail, as if it were not there: both go on without it, and nothing is sent.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # exactly that is meant
