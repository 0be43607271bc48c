"""From a model of elsewhere to the files of a bundle: for the workshop and `edgecls model import`, not for the daemon.

It needs the package onnx, which a device does not have.
"""
