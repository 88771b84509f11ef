#include "builtin_checks.h"

#include "contacts.h"

#include "atom.h"
#include "error.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"

#include <cmath>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

// Index 0 is unused, as in LAMMPS' arrays by type.
std::vector<char> types_with_element(const std::vector<std::string> &symbols) {
  std::vector<char> known = {0};
  for (const std::string &symbol : symbols)
    known.push_back(symbol != "NULL");
  return known;
}

}    // namespace

void refuse_exclusions(LAMMPS *lmp, const std::vector<std::string> &symbols) {
  const Neighbor *neighbor = lmp->neighbor;
  if (!neighbor->exclude)
    return;
  const std::vector<char> known = types_with_element(symbols);
  bool excluded = neighbor->nex_group > 0 || neighbor->nex_mol > 0;
  for (int k = 0; k < neighbor->nex_type; ++k)
    excluded |= known[neighbor->ex1_type[k]] && known[neighbor->ex2_type[k]];
  if (excluded)
    lmp->error->all(FLERR,
                    "pair_style mliap model nn does not support neigh_modify exclude, which fix gcmc uses, too: the "
                    "energy of an atom depends on all its neighbors, and LAMMPS still adds the energy of an atom that "
                    "is excluded from all interactions. Use model mliappy for fix gcmc");
}

std::string contact_of(const LAMMPS &lmp, const NeighList &list, const std::vector<std::string> &symbols) {
  const Atom &atom = *lmp.atom;
  const std::vector<char> known = types_with_element(symbols);
  for (int ii = 0; ii < list.inum; ++ii) {
    const int i = list.ilist[ii];
    if (!known[atom.type[i]])
      continue;
    for (int jj = 0; jj < list.numneigh[i]; ++jj) {
      const int j = list.firstneigh[i][jj] & NEIGHMASK;    // the upper bits mark special (bonded) neighbours
      const double dx = atom.x[j][0] - atom.x[i][0], dy = atom.x[j][1] - atom.x[i][1], dz = atom.x[j][2] - atom.x[i][2];
      const double squared = dx * dx + dy * dy + dz * dz;
      if (!are_apart(squared) && known[atom.type[j]])
        return contact_message(lmp, i, j, squared);
    }
  }
  return {};
}

std::string not_finite_result(const LAMMPS &lmp, const Pair &pair) {
  const Atom &atom = *lmp.atom;
  for (int i = 0; i < atom.nlocal + atom.nghost; ++i)
    if (!std::isfinite(atom.f[i][0] + atom.f[i][1] + atom.f[i][2]))
      return "the force on atom " + std::to_string(atom.tag[i]) + " is not a finite number at step " +
             std::to_string(lmp.update->ntimestep);
  if (!std::isfinite(pair.eng_vdwl))
    return "the energy is not a finite number at step " + std::to_string(lmp.update->ntimestep);
  return {};
}

}    // namespace fitsnap_nn
