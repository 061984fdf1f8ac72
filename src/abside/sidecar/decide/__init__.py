"""The answers of the localhost API: from a request to what is decided and recorded."""
