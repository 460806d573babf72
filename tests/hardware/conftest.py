"""Makes the helpers that lie beside the hardware tests importable by their file names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
