"""The status page: what the lines do, for people beside the machine. Only with `http` in the configuration."""
