#!/usr/bin/env python3
"""Gets axe-core, which looks for what keeps people from using the status page, into `.deps/axe-core/`.

The page's tests run it in the browser. Without it they look at everything else, and say so.
"""

import io
import sys

sys.dont_write_bytecode = True

from depot.files import DEPS  # noqa: E402
from depot.npm import Npm, tarball  # noqa: E402
from depot.outcome import Unavailable, say  # noqa: E402
from depot.unpack import unpack_tar  # noqa: E402

AXE = Npm(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)

if __name__ == "__main__":
    try:
        if not (DEPS / "axe-core" / "axe.min.js").exists():
            unpack_tar(io.BytesIO(tarball(AXE).read_bytes()), DEPS / "axe-core", strip="package/")
    except Unavailable as error:
        say(f"note: axe-core: {error}")
