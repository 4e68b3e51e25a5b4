"""The search index in Tantivy, a library for full text in the manner of Lucene."""

from timewire.backends.tantivy.index import TantivyIndex

__all__ = ["TantivyIndex"]
