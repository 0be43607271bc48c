"""`edgecls bench`: what engines and pipelines do on this device.

`measure.py` is the page to read first. Nothing here imports rich but `screen.py`, and matplotlib but `plot.py`.
"""
