"""Reading: which inputs a configuration means, and their branches in chunks of entries, in any format."""

from pidlab.read.find import (
    absolute,
    chained,
    each_path,
    find_all,
    find_one,
    find_sources,
    has_place,
    lines_of,
    with_friends,
)
from pidlab.read.formats import identity_of, is_wide, trees_in, usual_collection
from pidlab.read.source import Source, stem_of
from pidlab.read.table import STEP, Chunk, Table
