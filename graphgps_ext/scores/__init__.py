"""The score store: the attention scores of stage 1, the only thing that crosses from one stage to the other.

Format, version 2: a folder that any tool can read, without pickle.

    manifest.json     the fields of :class:`Manifest`, and a checksum of themselves; UTF-8
    indptr.npy        int64 [N + 1]    the attention graph in CSR by target: the in-edges of node i are
    source.npy        int32 [E]        indptr[i]:indptr[i + 1] (source is int64 from 2³¹ nodes on)
    edge_type.npy     int8 [E]         0 graph, 1 expander, 2 self-loop, 3 node→virtual, 4 virtual→node
    layer_0.npy ...   float32 [E]      one file per layer, layer 0 nearest the input: softmax over the
                                       in-edges of a node: each non-empty row sums to one

The arrays are plain NumPy files (version 1.0, little endian): `numpy.load(file, mmap_mode='r')` reads them.
The checksum of an array is that of its content, whatever the header of its file looks like:
:func:`graphgps_ext.fingerprints.fingerprint`, the first 32 hexadecimal digits of the SHA-256 of a text such
as `float32 (6,)`, then the bytes of the array. That of the manifest, its field `check`, is the fingerprint of
`json.dumps` of all other fields in alphabetical order.
The folder appears whole or not at all: it is written beside its place and renamed.
"""

from graphgps_ext.scores.checksums import graph_fingerprint, split_fingerprint
from graphgps_ext.scores.find import find, stores
from graphgps_ext.scores.manifest import FORMAT_VERSION, MANIFEST, Manifest, read_manifest
from graphgps_ext.scores.store import AttentionScores, load, save, verify

__all__ = [
    'FORMAT_VERSION',
    'MANIFEST',
    'AttentionScores',
    'Manifest',
    'find',
    'graph_fingerprint',
    'load',
    'read_manifest',
    'save',
    'split_fingerprint',
    'stores',
    'verify',
]
