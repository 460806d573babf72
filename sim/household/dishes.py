"""The looks of food, dishes, and what lies about in kitchens and bathrooms."""

from __future__ import annotations

from qsft_robot.sim.household.kinds import KINDS, boxes, kind, turned
from qsft_robot.sim.household.meshes import Mesh

# Food.


@kind("apple", "red", "green", "dark red")
def _apple(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.12, 0.0), (0.31, 0.16), (0.32, 0.34), (0.16, 0.5)], (0, 0, 0), colour)
    mesh.box((0.05, 0.05, 0.16), (0, 0, 0.48), "dark brown").box((0.2, 0.1, 0.03), (0.12, 0, 0.58), "light green")


@kind("tomato", "tomato")
def _tomato(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.16, 0.0), (0.38, 0.13), (0.38, 0.27), (0.18, 0.4)], (0, 0, 0), colour)
    mesh.box((0.36, 0.08, 0.04), (0, 0, 0.4), "dark green").box((0.08, 0.36, 0.04), (0, 0, 0.4), "dark green")


@kind("potato", "tan")
def _potato(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.08, 0.0), (0.22, 0.09), (0.25, 0.22), (0.1, 0.36)], (0, 0, 0), colour, stretch=1.7)
    mesh.box((0.06, 0.05, 0.03), (0.1, -0.1, 0.32), "brown").box((0.06, 0.05, 0.03), (-0.16, 0, 0.33), "brown")


@kind("bread", "tan")
def _bread(mesh: Mesh, colour: str) -> None:
    mesh.box((0.86, 0.42, 0.26), (0, 0, 0), "wood").box((0.82, 0.38, 0.1), (0, 0, 0.26), colour)
    for x in (-0.24, 0.0, 0.24):
        mesh.box((0.04, 0.3, 0.02), (x, 0, 0.36), "brown", turn=0.4)


@kind("lettuce", "light green")
def _lettuce(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.14, 0.0), (0.4, 0.16), (0.44, 0.34)], (0, 0, 0), "green")
    mesh.lathe([(0.3, 0.3), (0.34, 0.44), (0.2, 0.58), (0.06, 0.64)], (0, 0, 0), colour)


turned("egg", ("cream", "skin"), (None, [(0.08, 0), (0.22, 0.12), (0.24, 0.26), (0.15, 0.44), (0.05, 0.52)]))

# Dishes and cooking.


@kind("mug", "blue", "orange", "purple")
def _mug(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.27, 0.0), (0.27, 0.56)], (-0.06, 0, 0), colour)
    mesh.lathe([(0.22, 0.0), (0.22, 0.02)], (-0.06, 0, 0.56), "dark brown")
    mesh.box((0.2, 0.09, 0.09), (0.28, 0, 0.4), colour).box((0.2, 0.09, 0.09), (0.28, 0, 0.1), colour)
    mesh.box((0.09, 0.09, 0.39), (0.39, 0, 0.1), colour)


@kind("pan", "black")
def _pan(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.26, 0.0), (0.3, 0.12)], (-0.18, 0, 0), colour)
    mesh.lathe([(0.24, 0.0), (0.24, 0.01)], (-0.18, 0, 0.12), "dark").box((0.46, 0.1, 0.06), (0.3, 0, 0.08), "red wood")


@kind("pot", "steel")
def _pot(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.32, 0.0), (0.32, 0.4)], (0, 0, 0), colour).lathe([(0.27, 0), (0.27, 0.02)], (0, 0, 0.4), "dark")
    mesh.box((0.18, 0.16, 0.07), (0.39, 0, 0.28), "black").box((0.18, 0.16, 0.07), (-0.39, 0, 0.28), "black")


@kind("kettle", "red", "steel")
def _kettle(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.3, 0.0), (0.34, 0.16), (0.14, 0.42)], (0, 0, 0), colour)
    mesh.lathe([(0.06, 0), (0.04, 0.1)], (0, 0, 0.42), "black")
    mesh.box((0.09, 0.09, 0.32), (0.4, 0, 0.18), colour).box((0.06, 0.08, 0.3), (-0.26, 0, 0.36), "black")
    mesh.box((0.42, 0.08, 0.07), (-0.06, 0, 0.64), "black").box((0.06, 0.08, 0.24), (0.13, 0, 0.42), "black")


@kind("ladle", "silver")
def _ladle(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.1, 0.0), (0.24, 0.14), (0.24, 0.2)], (-0.1, 0, 0), colour)
    mesh.lathe([(0.18, 0), (0.18, 0.01)], (-0.1, 0, 0.2), "dark").box((0.1, 0.07, 0.75), (0.12, 0, 0.1), colour)


turned("cup", ("teal", "yellow", "pink"), (None, [(0.2, 0), (0.32, 0.6)]), ("white", [(0.26, 0.6), (0.26, 0.62)]))
turned("bowl", ("navy", "dark red", "green"), (None, [(0.18, 0), (0.45, 0.3)]), ("cream", [(0.38, 0.3), (0.38, 0.32)]))
turned("plate", ("light blue", "white"), (None, [(0.26, 0), (0.46, 0.07)]), ("white", [(0.3, 0.07), (0.3, 0.09)]))
boxes("knife", ("silver",), (None, (0.52, 0.16, 0.04), (0.2, 0, 0.02)), ("black", (0.36, 0.13, 0.09), (-0.26, 0, 0)))
boxes("butterknife", ("silver",), (None, (0.4, 0.12, 0.04), (0.22, 0, 0.02)), ("steel", (0.44, 0.09, 0.06),
       (-0.22, 0, 0)))  # fmt: skip
boxes("fork", ("silver",), (None, (0.5, 0.1, 0.06), (-0.2, 0, 0)), (None, (0.12, 0.34, 0.06), (0.1, 0, 0)),
       *((None, (0.3, 0.07, 0.06), (0.3, y, 0)) for y in (-0.135, 0.0, 0.135)))  # fmt: skip
boxes("spatula", ("black",), (None, (0.46, 0.1, 0.07), (-0.22, 0, 0)), ("dark", (0.4, 0.36, 0.05), (0.2, 0, 0)),
       *(("steel", (0.28, 0.04, 0.01), (0.2, y, 0.05)) for y in (-0.1, 0.0, 0.1)))  # fmt: skip


@kind("spoon", "silver")
def _spoon(mesh: Mesh, colour: str) -> None:
    mesh.box((0.56, 0.1, 0.06), (-0.16, 0, 0.02), colour)
    mesh.lathe([(0.14, 0), (0.18, 0.09)], (0.26, 0, 0), colour, stretch=1.3).lathe(
        [(0.12, 0), (0.12, 0.01)], (0.26, 0, 0.09), "steel", stretch=1.3)  # fmt: skip


boxes("dishsponge", ("yellow",), (None, (0.66, 0.42, 0.2), (0, 0, 0)), ("green", (0.66, 0.42, 0.08), (0, 0, 0.2)))
turned("saltshaker", ("white",), (None, [(0.2, 0), (0.15, 0.42)]), ("steel", [(0.16, 0.42), (0.1, 0.56)]))
turned("peppershaker", ("black",), (None, [(0.2, 0), (0.15, 0.42)]), ("silver", [(0.16, 0.42), (0.1, 0.56)]))
turned("glassbottle", ("glass", "mint"), (None, [(0.19, 0), (0.19, 0.48), (0.07, 0.64), (0.07, 0.8)]),
        ("teal", [(0.09, 0.8), (0.09, 0.88)]))  # fmt: skip
turned("winebottle", ("dark green",), (None, [(0.19, 0), (0.19, 0.52), (0.07, 0.68), (0.07, 0.92)]),
        ("cream", [(0.2, 0.14), (0.2, 0.38)]), ("dark red", [(0.08, 0.84), (0.08, 0.98)]))  # fmt: skip

# Bath and cleaning.


@kind("soapbottle", "pink", "light green")
def _soapbottle(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.22, 0), (0.24, 0.46), (0.1, 0.56)], (0, 0, 0), colour)
    mesh.box((0.08, 0.08, 0.2), (0, 0, 0.56), "white").box((0.32, 0.1, 0.08), (0.1, 0, 0.74), "white")


@kind("spraybottle", "light blue", "white")
def _spraybottle(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.22, 0), (0.22, 0.42), (0.09, 0.56)], (0, 0, 0), colour)
    mesh.box((0.4, 0.16, 0.16), (0.08, 0, 0.56), "red").box((0.08, 0.1, 0.2), (0.22, 0, 0.38), "red")


@kind("plunger", "dark red")
def _plunger(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.32, 0), (0.28, 0.16), (0.08, 0.3)], (0, 0, 0), colour).box((0.09, 0.09, 0.66), (0, 0, 0.28),
                                                                             "light wood")  # fmt: skip


boxes("soapbar", ("mint", "pink"), (None, (0.56, 0.36, 0.18), (0, 0, 0)), ("white", (0.3, 0.14, 0.02), (0, 0, 0.18)))
boxes("cloth", ("light blue", "pink"), (None, (0.8, 0.6, 0.06), (0, 0, 0)),
      ("white", (0.5, 0.6, 0.06), (-0.1, 0, 0.06)), (None, (0.3, 0.6, 0.07), (-0.2, 0, 0.1)))  # fmt: skip
boxes("handtowel", ("orange", "teal"), (None, (0.7, 0.3, 0.56), (0, 0, 0)), ("white", (0.72, 0.32, 0.1), (0, 0, 0.1)))
boxes("towel", ("purple",), (None, (0.84, 0.3, 0.8), (0, 0, 0)), ("white", (0.86, 0.32, 0.12), (0, 0, 0.14)))
turned("toiletpaper", ("white",), (None, [(0.32, 0), (0.32, 0.42)]), ("brown", [(0.11, 0.42), (0.11, 0.44)]))
turned("toiletpaperroll", ("cardboard",), (None, [(0.17, 0), (0.17, 0.5)]), ("dark brown", [(0.12, 0.5), (0.12, 0.52)]))
turned("papertowelroll", ("white",), ("wood", [(0.3, 0), (0.3, 0.05)]), (None, [(0.24, 0.05), (0.24, 0.8)]),
        ("wood", [(0.06, 0.8), (0.06, 0.9)]))  # fmt: skip
KINDS["papertowel"] = KINDS["papertowelroll"]
boxes("scrubbrush", ("white",), (None, (0.1, 0.1, 0.6), (0, 0, 0.2)), ("blue", (0.24, 0.24, 0.24), (0, 0, 0)))
