// Comparison of the masses of LAMMPS' atom types with the elements of pair_coeff.

#ifndef FITSNAP_NN_MASSES_H
#define FITSNAP_NN_MASSES_H

#include "lammps.h"

#include <string>
#include <vector>

namespace fitsnap_nn {

// Warns if the mass of a type is not that of its element. Raises a LAMMPS error if several types have the masses of
// each other's elements: then the types are in another order than the elements. Masses that are not set are not
// compared. `symbols` holds an element, or NULL, for each type.
void check_masses(LAMMPS_NS::LAMMPS *lmp, const std::vector<std::string> &symbols);

}    // namespace fitsnap_nn

#endif
