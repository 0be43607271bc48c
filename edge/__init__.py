"""A frame in, a decision out. Nothing here knows of configuration files, brokers or training."""
