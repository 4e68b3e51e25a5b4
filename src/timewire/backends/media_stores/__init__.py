"""Where media are kept: a directory, or an object store such as S3."""
