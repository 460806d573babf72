"""The looks of what lies about in living rooms and bedrooms, of lamps, and of a kind that has no look of its own."""

from __future__ import annotations

from qsft_robot.sim.household.kinds import KINDS, boxes, kind, turned
from qsft_robot.sim.household.meshes import Mesh

# To read and to write.


@kind("book", "dark red", "blue", "dark green")
def _book(mesh: Mesh, colour: str) -> None:
    mesh.box((0.72, 0.52, 0.05), (0, 0, 0), colour).box((0.68, 0.5, 0.1), (0.03, 0, 0.05), "white")
    mesh.box((0.72, 0.52, 0.05), (0, 0, 0.15), colour).box((0.4, 0.12, 0.01), (0, 0, 0.2), "gold")


@kind("newspaper", "silver")
def _newspaper(mesh: Mesh, colour: str) -> None:
    mesh.box((0.84, 0.64, 0.06), (0, 0, 0), colour).box((0.66, 0.1, 0.01), (0, 0.2, 0.06), "black")
    for y in (0.04, -0.08, -0.2):
        mesh.box((0.3, 0.05, 0.01), (-0.2, y, 0.06), "grey").box((0.3, 0.05, 0.01), (0.2, y, 0.06), "grey")


boxes("pen", ("blue", "black"), (None, (0.6, 0.12, 0.1), (-0.08, 0, 0)), ("silver", (0.18, 0.08, 0.07), (0.3, 0, 0.01)),
      ("silver", (0.24, 0.05, 0.04), (-0.2, 0, 0.1)))  # fmt: skip
boxes("pencil", ("yellow",), (None, (0.6, 0.12, 0.1), (0, 0, 0)), ("pink", (0.12, 0.12, 0.1), (-0.36, 0, 0)),
      ("black", (0.14, 0.06, 0.06), (0.37, 0, 0.02)))  # fmt: skip
boxes(
    "tissuebox",
    ("light blue", "pink"),
    (None, (0.72, 0.42, 0.28), (0, 0, 0)),
    ("white", (0.2, 0.1, 0.24), (0, 0, 0.28)),
)
boxes("painting", ("gold",), (None, (0.8, 0.1, 0.8), (0, 0, 0)), ("sky", (0.64, 0.02, 0.64), (0, -0.06, 0.08)),
      ("green", (0.64, 0.02, 0.26), (0, -0.07, 0.08)))  # fmt: skip

# To play with, to carry about.


@kind("cellphone", "black")
def _cellphone(mesh: Mesh, colour: str) -> None:
    mesh.box((0.42, 0.7, 0.08), (0, 0, 0), colour).box((0.34, 0.54, 0.01), (0, 0.02, 0.08), "light blue")


@kind("remotecontrol", "dark")
def _remotecontrol(mesh: Mesh, colour: str) -> None:
    mesh.box((0.3, 0.84, 0.12), (0, 0, 0), colour).box((0.1, 0.1, 0.03), (0, 0.3, 0.12), "red")
    for y in (0.08, -0.08, -0.24):
        mesh.box((0.07, 0.08, 0.02), (-0.07, y, 0.12), "white").box((0.07, 0.08, 0.02), (0.07, y, 0.12), "white")


@kind("laptop", "silver", "dark")
def _laptop(mesh: Mesh, colour: str) -> None:
    mesh.box((0.9, 0.56, 0.06), (0, -0.08, 0), colour).box((0.76, 0.3, 0.01), (0, 0.0, 0.06), "black")
    mesh.box((0.9, 0.05, 0.58), (0, 0.2, 0.05), colour, lean=0.25)
    mesh.box((0.78, 0.02, 0.46), (0, 0.18, 0.1), "light blue", lean=0.25)


@kind("basketball", "orange")
def _basketball(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.14, 0), (0.36, 0.18), (0.39, 0.36)], (0, 0, 0), colour)
    mesh.lathe([(0.4, 0.34), (0.4, 0.4)], (0, 0, 0), "black").lathe(
        [(0.39, 0.4), (0.36, 0.56), (0.14, 0.74)], (0, 0, 0), colour
    )


@kind("baseballbat", "light wood")
def _baseballbat(mesh: Mesh, colour: str) -> None:
    mesh.box((0.5, 0.2, 0.16), (0.22, 0, 0), colour).box((0.3, 0.12, 0.1), (-0.16, 0, 0.03), colour)
    mesh.box((0.16, 0.14, 0.12), (-0.38, 0, 0.02), "black")


@kind("tennisracket", "green")
def _tennisracket(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.32, 0), (0.32, 0.08)], (0.16, 0, 0), colour).lathe(
        [(0.25, 0), (0.25, 0.01)], (0.16, 0, 0.08), "white"
    )
    for offset in (-0.12, 0.0, 0.12):
        mesh.box((0.03, 0.44, 0.01), (0.16 + offset, 0, 0.09), "grey").box(
            (0.44, 0.03, 0.01), (0.16, offset, 0.09), "grey"
        )
    mesh.box((0.36, 0.1, 0.08), (-0.32, 0, 0), "black")


@kind("keychain", "gold")
def _keychain(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.18, 0), (0.18, 0.06)], (-0.2, 0, 0), "steel").lathe([(0.1, 0), (0.1, 0.01)], (-0.2, 0, 0.06), "dark")
    mesh.box((0.46, 0.1, 0.06), (0.16, 0.12, 0), colour, turn=0.4).box(
        (0.46, 0.1, 0.06), (0.16, -0.12, 0), colour, turn=-0.4
    )
    mesh.box((0.12, 0.24, 0.06), (0.36, 0.2, 0), colour, turn=0.4)


@kind("watch", "brown", "black")
def _watch(mesh: Mesh, colour: str) -> None:
    mesh.box((0.24, 0.86, 0.06), (0, 0, 0), colour).lathe([(0.25, 0), (0.25, 0.12)], (0, 0, 0), "gold")
    mesh.lathe([(0.18, 0), (0.18, 0.01)], (0, 0, 0.12), "white").box((0.04, 0.16, 0.01), (0, 0.06, 0.13), "black")


boxes("creditcard", ("gold", "blue"), (None, (0.78, 0.5, 0.04), (0, 0, 0)),
      ("black", (0.78, 0.12, 0.01), (0, 0.14, 0.04)), ("silver", (0.16, 0.12, 0.01), (-0.24, -0.08, 0.04)))  # fmt: skip
turned("cd", ("silver",), (None, [(0.42, 0), (0.42, 0.04)]), ("purple", [(0.26, 0.04), (0.26, 0.05)]),
       ("white", [(0.1, 0.05), (0.1, 0.06)]))  # fmt: skip

# To stand about.


@kind("alarmclock", "red", "teal")
def _alarmclock(mesh: Mesh, colour: str) -> None:
    mesh.box((0.66, 0.28, 0.5), (0, 0, 0.04), colour).box((0.5, 0.02, 0.38), (0, -0.15, 0.1), "white")
    mesh.box((0.04, 0.02, 0.16), (0, -0.17, 0.28), "black").box((0.16, 0.02, 0.04), (0.07, -0.17, 0.27), "black")
    mesh.lathe([(0.14, 0), (0.06, 0.12)], (-0.2, 0, 0.54), "gold").lathe(
        [(0.14, 0), (0.06, 0.12)], (0.2, 0, 0.54), "gold"
    )


@kind("vase", "purple", "teal", "white")
def _vase(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.16, 0), (0.28, 0.2), (0.12, 0.44), (0.18, 0.52)], (0, 0, 0), colour)
    for x, flower in ((-0.12, "red"), (0.14, "yellow")):
        mesh.box((0.04, 0.04, 0.3), (x * 0.7, 0, 0.5), "green").lathe(
            [(0.04, 0), (0.13, 0.08), (0.05, 0.16)], (x, 0, 0.78), flower
        )


@kind("statue", "steel", "gold")
def _statue(mesh: Mesh, colour: str) -> None:
    mesh.box((0.48, 0.4, 0.16), (0, 0, 0), "dark").lathe([(0.1, 0.16), (0.26, 0.44), (0.1, 0.54)], (0, 0, 0), colour)
    mesh.lathe([(0.08, 0.54), (0.17, 0.66), (0.15, 0.82), (0.05, 0.9)], (0, 0, 0), colour)


@kind("wateringcan", "green")
def _wateringcan(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.26, 0), (0.24, 0.42)], (-0.08, 0, 0), colour).lathe(
        [(0.18, 0), (0.18, 0.01)], (-0.08, 0, 0.42), "dark"
    )
    mesh.box((0.1, 0.1, 0.44), (0.26, 0, 0.12), colour).box((0.2, 0.14, 0.08), (0.34, 0, 0.52), colour)
    mesh.box((0.08, 0.1, 0.4), (-0.42, 0, 0.1), colour).box((0.24, 0.1, 0.08), (-0.3, 0, 0.46), colour)


@kind("candle", "cream", "pink")
def _candle(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.3, 0), (0.3, 0.05)], (0, 0, 0), "gold").lathe([(0.18, 0), (0.18, 0.5)], (0, 0, 0.05), colour)
    mesh.lathe([(0.05, 0), (0.1, 0.1), (0.02, 0.26)], (0, 0, 0.56), "flame")


@kind("pillow", "white", "light blue", "wall rose")
def _pillow(mesh: Mesh, colour: str) -> None:
    mesh.box((0.84, 0.6, 0.14), (0, 0, 0.04), colour).box((0.66, 0.44, 0.08), (0, 0, 0.18), colour)


@kind("teddybear", "brown")
def _teddybear(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.14, 0), (0.26, 0.2), (0.16, 0.42)], (0, 0, 0), colour)
    mesh.lathe([(0.12, 0), (0.22, 0.12), (0.2, 0.26), (0.08, 0.36)], (0, 0, 0.42), colour)
    for x in (-0.18, 0.18):
        mesh.box((0.12, 0.08, 0.12), (x, 0, 0.72), colour).box((0.14, 0.3, 0.14), (x, -0.2, 0), colour)
    mesh.box((0.14, 0.06, 0.1), (0, -0.2, 0.5), "tan")


@kind("box", "cardboard")
def _box(mesh: Mesh, colour: str) -> None:
    mesh.box((0.84, 0.6, 0.04), (0, 0, 0), "brown")
    for x in (-0.4, 0.4):
        mesh.box((0.04, 0.6, 0.4), (x, 0, 0), colour)
    for y in (-0.28, 0.28):
        mesh.box((0.84, 0.04, 0.4), (0, y, 0), colour)
    mesh.box((0.84, 0.26, 0.03), (0, -0.4, 0.34), "tan").box((0.84, 0.26, 0.03), (0, 0.4, 0.38), "tan")


@kind("houseplant", "green")
def _houseplant(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.2, 0), (0.28, 0.3)], (0, 0, 0), "tomato").lathe(
        [(0.1, 0.3), (0.4, 0.5), (0.3, 0.8), (0.06, 0.98)], (0, 0, 0), colour
    )


@kind("desklamp", "dark green", "navy")
def _desklamp(mesh: Mesh, colour: str) -> None:
    mesh.lathe([(0.26, 0), (0.22, 0.08)], (0, 0, 0), "dark").box((0.08, 0.08, 0.46), (0, 0, 0.08), "dark")
    mesh.lathe([(0.4, 0.5), (0.2, 0.9)], (0, 0, 0), colour)
    if colour == "light":  # it is on: rays
        for x in (-0.5, -0.17, 0.17, 0.5):
            mesh.box((0.06, 0.05, 0.24), (x, -0.1, 0.2), "yellow")
        mesh.box((0.06, 0.05, 0.16), (0, 0, 0.94), "yellow")


KINDS["floorlamp"] = KINDS["desklamp"]
boxes("television", ("black",), ("dark", (0.4, 0.3, 0.06), (0, 0, 0)), ("dark", (0.1, 0.1, 0.16), (0, 0, 0.06)),
      (None, (1.0, 0.1, 0.6), (0, 0, 0.2)), ("navy", (0.9, 0.02, 0.5), (0, -0.06, 0.25)))  # fmt: skip
boxes("boots", ("brown",), (None, (0.2, 0.5, 0.16), (-0.2, 0, 0)), (None, (0.2, 0.2, 0.5), (-0.2, 0.15, 0)),
      (None, (0.2, 0.5, 0.16), (0.2, 0, 0)), (None, (0.2, 0.2, 0.5), (0.2, 0.15, 0)))  # fmt: skip
boxes("parcel", ("cardboard",), (None, (0.7, 0.6, 0.5), (0, 0, 0)), ("red", (0.12, 0.62, 0.52), (0, 0, 0)),
      ("red", (0.72, 0.12, 0.52), (0, 0, 0)))  # fmt: skip
