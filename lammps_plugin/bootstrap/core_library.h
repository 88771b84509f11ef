// Loads the core, the shared object with the pair styles that need Python.

#ifndef FITSNAP_NN_CORE_LIBRARY_H
#define FITSNAP_NN_CORE_LIBRARY_H

#include "inner_pair.h"

#include <memory>

namespace fitsnap_nn {

// Creates a pair style that calls Python. The first call in a process loads the core and starts Python. Collective: a
// failure on one rank raises a LAMMPS error on all.
std::unique_ptr<InnerPair> create_python_pair(LAMMPS_NS::LAMMPS *lmp, int narg, char **arg);

}    // namespace fitsnap_nn

#endif
