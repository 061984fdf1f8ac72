"""The sources of documents: files, directories, ConfigMaps as volumes, git."""
