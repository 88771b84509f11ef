// Checks that the plugin is compatible with the LAMMPS that has loaded it.

#ifndef FITSNAP_NN_GUARDS_H
#define FITSNAP_NN_GUARDS_H

#include <string>

namespace fitsnap_nn {

// How this LAMMPS differs from the one that the plugin was compiled for; empty if it does not. Calls only functions of
// the C library interface: in another version the memory layout of LAMMPS' C++ classes may differ.
std::string incompatibility(void *lmp);

// Prints that the plugin is not used, on world rank 0 only.
void print_warning(void *lmp, const std::string &reason);

}    // namespace fitsnap_nn

#endif
