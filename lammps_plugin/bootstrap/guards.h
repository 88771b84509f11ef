// Whether this shared object may be used in the LAMMPS that has loaded it.

#ifndef FITSNAP_NN_GUARDS_H
#define FITSNAP_NN_GUARDS_H

#include <string>

namespace fitsnap_nn {

// What differs between the LAMMPS at hand and the one that this was compiled for; empty if nothing does. Asks C
// functions only: with another version the layout of LAMMPS' C++ objects is not the one known here.
std::string why_not_loadable(void *lmp);

// Says it once in an MPI job.
void print_refusal(void *lmp, const std::string &reason);

}    // namespace fitsnap_nn

#endif
