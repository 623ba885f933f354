"""A data set as shards of TFRecords (`zoo.common.packs`): written once, read by index."""
