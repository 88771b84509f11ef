"""Drawing of a structure: an orthographic projection with cell, bonds and atoms, as SVG without external parts."""

from __future__ import annotations

from itertools import product

import numpy as np

from fitsnap_nn.reports.predicted import Integers, Structure
from fitsnap_nn.reports.results import Floats

MAX_ATOMS = 300  # atoms drawn
FEW_ATOMS = 16  # up to which the images of atoms on the faces of the cell are drawn too
FACE = 0.02  # fractional coordinate up to which an atom is on a face
BOND = 1.15  # longest bond in units of the sum of the covalent radii
MAX_COORDINATION = 5  # mean number of bonds per atom up to which bonds are drawn
NEAREST = 0.6  # sum of the radii of spheres in units of the shortest distance, at most
RADIUS = 0.55  # radius of a sphere in units of the covalent radius
TILT, TURN = np.radians(-75.0), np.radians(22.0)
PIXELS = 260.0  # longer side of the drawing
MARGIN = 0.4  # Å


def structure_svg(structure: Structure, title: str) -> str:
    """Return an SVG element: atoms in the colours of Jmol, a red ring around the one with the largest force error.

    Args:
        structure: atoms and cell. Of large structures the atoms nearest to the one with the largest error are drawn.
        title: text for readers who do not see the drawing.
    """
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors

    chosen, marked = _chosen(structure)
    positions = structure.positions[chosen]
    if len(chosen) <= FEW_ATOMS:
        images, shifts = _on_faces(structure, chosen)
        chosen, positions = np.concatenate([chosen, chosen[images]]), np.concatenate([positions, shifts])
    bond_radii = covalent_radii[structure.numbers[chosen]]
    radii = _shrunk(RADIUS * bond_radii, positions)
    view = _view()
    atoms = positions @ view
    edges = _edges(structure) @ view if structure.pbc.any() else np.zeros((0, 2, 3))
    scale, origin, size = _frame(atoms, radii, edges)

    def place(points: Floats) -> Floats:
        """Return pixels of (..., 3) coordinates in the view; y points downwards."""
        moved = (points[..., :2] - origin) * scale
        moved[..., 1] = size[1] - moved[..., 1]
        return moved

    lines = [_line(start, end, "#9a9a9a", 0.8) for start, end in map(place, edges)]
    xy, colours = place(atoms), jmol_colors[structure.numbers[chosen]]
    drawn = [(atoms[i, 2], _atom(xy[i], radii[i] * scale, colours[i])) for i in range(len(atoms))]
    drawn += [
        (atoms[[i, j], 2].mean() - 0.01, _line(xy[i], xy[j], "#777777", 3.0)) for i, j in _bonds(positions, bond_radii)
    ]
    drawn.sort(key=lambda item: item[0])
    ring = ""
    if marked is not None:
        x, y = xy[marked]
        ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radii[marked] * scale + 2:.1f}" fill="none" stroke="#c00020" '
        ring += 'stroke-width="2"/>'
    body = "".join([*lines, *(shape for _, shape in drawn), ring])
    box = f'viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" width="{size[0]:.0f}" height="{size[1]:.0f}"'
    start = f'<svg class="structure" xmlns="http://www.w3.org/2000/svg" role="img" {box}>'
    return f"{start}<title>{_escaped(title)}</title>{body}</svg>"


def is_cut(structure: Structure) -> bool:
    """Return whether only some of the atoms are drawn."""
    return len(structure.numbers) > MAX_ATOMS


def _chosen(structure: Structure) -> tuple[Integers, int | None]:
    """Return the indices of the atoms to draw, and which of these is marked."""
    errors, count = structure.force_errors, len(structure.numbers)
    worst = int(np.argmax(errors)) if len(errors) and count > 1 and errors.max() > 1e-6 else None
    chosen = np.arange(count)
    if count > MAX_ATOMS:
        centre = structure.positions[worst or 0]
        distance = np.linalg.norm(structure.positions - centre, axis=1)
        chosen = np.sort(np.argsort(distance, kind="stable")[:MAX_ATOMS])
    return chosen, None if worst is None else int(np.searchsorted(chosen, worst))


def _on_faces(structure: Structure, chosen: Integers) -> tuple[Integers, Floats]:
    """Return images on the opposite faces of the cell of atoms on its faces: number of the atom, and position (Å)."""
    if not structure.pbc.all() or abs(np.linalg.det(structure.cell)) < 1e-6:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 3))
    positions = structure.positions[chosen]
    fractions = np.linalg.solve(structure.cell.T, positions.T).T
    images, places = [], []
    for shift in product((0, 1), repeat=3):
        on = (np.abs(fractions) < FACE) | (np.array(shift) == 0)
        if any(shift):
            numbers = np.nonzero(on.all(axis=1))[0]
            images.append(numbers)
            places.append(positions[numbers] + np.array(shift) @ structure.cell)
    return np.concatenate(images), np.concatenate(places)


def _shrunk(radii: Floats, positions: Floats) -> Floats:
    """Return radii of spheres, in compressed structures reduced so that spheres do not overlap."""
    if len(positions) < 2:
        return radii
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    distance[np.diag_indices(len(positions))] = np.inf
    shrink = (distance / (radii[:, None] + radii[None])).min()
    return radii * min(1.0, NEAREST * float(shrink))


def _view() -> Floats:
    """Return the rotation that is applied to row vectors from the right; the last component is the depth."""
    turn = np.array([[np.cos(TURN), -np.sin(TURN), 0], [np.sin(TURN), np.cos(TURN), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])
    view: Floats = (tilt @ turn).T
    return view


def _edges(structure: Structure) -> Floats:
    """Return (12, 2, 3) both ends of the edges of the cell; its origin is that of the coordinates."""
    corners = {corner: np.array(corner) @ structure.cell for corner in product((0, 1), repeat=3)}
    pairs = [(a, b) for a, b in product(corners, repeat=2) if a < b and sum(map(abs, np.subtract(a, b))) == 1]
    return np.array([(corners[a], corners[b]) for a, b in pairs])


def _frame(atoms: Floats, radii: Floats, edges: Floats) -> tuple[float, Floats, Floats]:
    """Return pixels per Å, the lower left corner of the view (Å), and its size (pixels)."""
    reach = (radii + MARGIN)[:, None]
    corners = edges[..., :2].reshape(-1, 2)
    around = [corners - 0.5 * MARGIN, corners + 0.5 * MARGIN]
    points = np.concatenate([atoms[:, :2] - reach, atoms[:, :2] + reach, *around])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = PIXELS / float((high - low).max())
    return scale, low, (high - low) * scale


def _bonds(positions: Floats, radii: Floats) -> list[tuple[int, int]]:
    """Return pairs of atoms at the distance of a bond; none of close-packed structures, which have no bonds."""
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    near = (distance < BOND * (radii[:, None] + radii[None])) & (distance > 0)
    pairs = [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(near)), strict=True)]
    return pairs if 2 * len(pairs) <= MAX_COORDINATION * len(radii) else []


def _atom(place: Floats, radius: float, colour: Floats) -> str:
    fill = "#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in colour))
    x, y = place
    shine = f'<circle cx="{x - 0.3 * radius:.1f}" cy="{y - 0.3 * radius:.1f}" r="{0.35 * radius:.1f}" fill="#fff" '
    shine += 'opacity="0.55"/>'
    sphere = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" stroke="#333" stroke-width="0.7"/>'
    return sphere + shine


def _line(start: Floats, end: Floats, colour: str, width: float) -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
