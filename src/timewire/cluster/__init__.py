"""Several servers that are one: what each of them does, over a log in JetStream.

gateway   holds connections; reads from a view of its own; asks the leader to append
worker    one leads: it decides and appends; the others follow, ready to take over
asking    what a gateway says to the leader, and how it is answered
"""

from timewire.cluster.gateway import serve
from timewire.cluster.operating import init, status
from timewire.cluster.transfer import import_cluster, refresh
from timewire.cluster.worker import work

__all__ = ["import_cluster", "init", "refresh", "serve", "status", "work"]
