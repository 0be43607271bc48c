"""Results folders of nnU-Net v2: what they say, and the network that they hold."""
