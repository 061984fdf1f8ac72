"""From Kafka to the store: each partition is a chain of files, and the store, not Kafka, remembers how far it got."""
