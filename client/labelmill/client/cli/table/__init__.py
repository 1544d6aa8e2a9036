"""Files of texts in, files of results out: csv, jsonl, parquet and txt, always as streams."""
