"""An arm with six joints and a gripper at a countertop, in PyBullet."""
