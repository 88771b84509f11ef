// Errors for what LAMMPS' own forms of pair_style mliap compute wrong without a message.

#ifndef FITSNAP_NN_BUILTIN_CHECKS_H
#define FITSNAP_NN_BUILTIN_CHECKS_H

#include "lammps.h"

#include <string>
#include <vector>

namespace LAMMPS_NS {
class NeighList;
class Pair;
}    // namespace LAMMPS_NS

namespace fitsnap_nn {

// Raises a LAMMPS error if neigh_modify exclude removes neighbours of an atom, on which its energy depends, or atoms,
// whose own energy LAMMPS still adds. `symbols` are the element of each atom type, or NULL.
void refuse_exclusions(LAMMPS_NS::LAMMPS *lmp, const std::vector<std::string> &symbols);

// Message about two atoms at the same place, a pair that LAMMPS skips; empty if there are none.
std::string contact_of(const LAMMPS_NS::LAMMPS &lmp, const LAMMPS_NS::NeighList &list,
                       const std::vector<std::string> &symbols);

// Message about an energy or a force that is not finite after `pair` has computed; empty if all are.
std::string not_finite_result(const LAMMPS_NS::LAMMPS &lmp, const LAMMPS_NS::Pair &pair);

}    // namespace fitsnap_nn

#endif
