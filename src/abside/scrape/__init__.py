"""What Prometheus reads of a process: the text of `/metrics`, and the figures that every process of ours has."""
