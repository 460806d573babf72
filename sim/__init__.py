"""Gymnasium environments. Importing this package registers their ids."""

import gymnasium

PICK_PLACE = "qsft_robot/PickPlace-v0"
DRAWER_GRASP = "qsft_robot/DrawerGrasp-v0"

_ENTRY_POINTS = {
    PICK_PLACE: "qsft_robot.sim.countertop.pick_place:PickPlaceEnv",
    DRAWER_GRASP: "qsft_robot.sim.countertop.drawer_grasp:DrawerGraspEnv",
}
for _id, _entry_point in _ENTRY_POINTS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(id=_id, entry_point=_entry_point)
