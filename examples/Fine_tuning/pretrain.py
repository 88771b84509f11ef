"""Write ``pretrained.model``, a file as mace-torch writes it: a small MACE trained on copper and on tantalum.

    python pretrain.py

It stands for a foundation model, which cannot be shipped. Only mace-torch is used. The two metals are the groups Cu and
Ta of ../CuTa_graphs; the mixed crystals are left for the fine-tuning.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from ase.io import read
from mace import data, modules, tools
from mace.tools import torch_geometric

ELEMENTS, CUTOFF, EPOCHS = (29, 73), 4.5, 20
ENERGIES = [-3.5, -8.0]  # of an atom in the two metals, eV: the network learns the rest
DATA = Path(__file__).resolve().parent.parent / "CuTa_graphs" / "CuTa.xyz"


def batches(config_types: tuple[str, ...], table: tools.AtomicNumberTable) -> torch_geometric.dataloader.DataLoader:
    """Return the configurations of some groups as shuffled batches of mace."""
    keys = data.KeySpecification(arrays_keys={"forces": "forces"}, info_keys={"energy": "energy"})
    graphs = []
    for atoms in read(DATA, ":"):
        if atoms.info["config_type"] in config_types:
            atoms.info["energy"] = atoms.get_potential_energy()
            atoms.arrays["forces"] = atoms.get_forces()
            one = data.config_from_atoms(atoms, key_specification=keys)
            graphs.append(data.AtomicData.from_config(one, z_table=table, cutoff=CUTOFF))
    return torch_geometric.dataloader.DataLoader(graphs, batch_size=4, shuffle=True, drop_last=False)


def network() -> torch.nn.Module:
    """Return a small MACE."""
    from e3nn import o3  # after mace, which lets torch load the tables of e3nn

    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=6,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps("8x0e + 8x1o"),
        MLP_irreps=o3.Irreps("8x0e"),
        atomic_energies=[ENERGIES],
        avg_num_neighbors=20.0,
        atomic_numbers=list(ELEMENTS),
        correlation=2,
        gate=torch.nn.functional.silu,
        radial_MLP=[32, 32],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        heads=["default"],
    )


def main(path: Path, epochs: int = EPOCHS) -> None:
    """Train and save."""
    torch.manual_seed(1)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, amsgrad=True)
    loader = batches(("Cu", "Ta"), tools.AtomicNumberTable(list(ELEMENTS)))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        errors = []
        for batch in loader:
            optimizer.zero_grad()
            found = model(batch.to_dict(), training=True)
            atoms = batch.ptr[1:] - batch.ptr[:-1]
            energies = (found["energy"] - batch["energy"]) / atoms
            forces = found["forces"] - batch["forces"]
            loss = 10.0 * energies.square().mean() + forces.square().mean()
            loss.backward()
            optimizer.step()
            errors.append(forces.detach().abs().mean().item())
        schedule.step()
        print(f"epoch {epoch:2d}  force error {1e3 * sum(errors) / len(errors):.0f} meV/Å")
    torch.save(model, path)
    print(f"{path.name} written")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "pretrained.model"))
