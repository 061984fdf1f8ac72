"""The agent: everything that knows YAML and ConfigMaps."""
