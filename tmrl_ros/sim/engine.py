"""Import MuJoCo without letting it open any OpenGL library.

`import mujoco` loads the OpenGL backend that `MUJOCO_GL` names and fails where that library is
missing. The simulation makes its own contexts (see `rendering`), and physics needs none, so the
import is done with OpenGL disabled and the variable is put back afterwards.
"""

import os

_VARIABLE = "MUJOCO_GL"
REQUESTED_GL = os.environ.get(_VARIABLE, "").strip().lower()
"""What the person asked for through `MUJOCO_GL` before this import; may be empty."""

os.environ[_VARIABLE] = "disable"
try:
    import mujoco
finally:
    if REQUESTED_GL:
        os.environ[_VARIABLE] = REQUESTED_GL
    else:
        del os.environ[_VARIABLE]

__all__ = ["REQUESTED_GL", "mujoco"]
