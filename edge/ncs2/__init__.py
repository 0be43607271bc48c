"""The process that drives the NCS2. The daemon imports its protocol; the process imports nothing but this folder."""
