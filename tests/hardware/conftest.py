"""Makes the helpers that lie beside the hardware tests importable by their file names."""

import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# Own ROS domain for every test process, and nothing leaves this computer.
os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randrange(1, 101))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
