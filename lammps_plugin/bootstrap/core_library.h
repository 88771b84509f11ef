// The other shared object of the plugin, which has the pair styles that need Python.

#ifndef FITSNAP_NN_CORE_LIBRARY_H
#define FITSNAP_NN_CORE_LIBRARY_H

#include "inner_pair.h"

#include <memory>

namespace fitsnap_nn {

// A pair style that computes with Python's help; the first call in a process finds and starts Python. To be called on
// all ranks: what fails on one is an error of LAMMPS on all.
std::unique_ptr<InnerPair> create_python_pair(LAMMPS_NS::LAMMPS *lmp, int count, char **words);

}    // namespace fitsnap_nn

#endif
