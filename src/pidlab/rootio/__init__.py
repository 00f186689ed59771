"""ROOT objects and files, written and read without ROOT: histograms, graphs, efficiencies, friend trees, results."""

from pidlab.rootio.efficiency import Efficiency, read_efficiency, tefficiency
from pidlab.rootio.friends import FriendFile, FriendTree, FriendWriter, read_marker
from pidlab.rootio.graphs import tgraph, tgraph_asymm_errors, tgraph_errors
from pidlab.rootio.histograms import Bins, fill, from_cells, th1, th2, th3, tprofile
from pidlab.rootio.polygons import tcutg
from pidlab.rootio.results.run import write_results

__all__ = [
    "Bins",
    "Efficiency",
    "FriendFile",
    "FriendTree",
    "FriendWriter",
    "fill",
    "from_cells",
    "read_efficiency",
    "read_marker",
    "tcutg",
    "tefficiency",
    "tgraph",
    "tgraph_asymm_errors",
    "tgraph_errors",
    "th1",
    "th2",
    "th3",
    "tprofile",
    "write_results",
]
