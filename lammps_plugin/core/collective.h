// Errors in parallel: a failure on one rank becomes a LAMMPS error on all ranks, so that no rank waits for another in
// MPI.

#ifndef FITSNAP_NN_COLLECTIVE_H
#define FITSNAP_NN_COLLECTIVE_H

#include "lammps.h"

#include <functional>
#include <string>

namespace fitsnap_nn {

// Raises a LAMMPS error on all ranks, with the failure message of `rank`. Collective.
[[noreturn]] void error_on_all_ranks(LAMMPS_NS::LAMMPS *lmp, int rank, const std::string &failure);

// Runs `work` with the GIL held. If it throws on any rank, all ranks raise a LAMMPS error with the message of the
// lowest such rank. Collective; `work` itself must not communicate.
void call_on_all_ranks(LAMMPS_NS::LAMMPS *lmp, const std::function<void()> &work);

// Runs `work` with the GIL held, without communication. Returns the message of the exception, empty for none.
std::string error_of(const std::function<void()> &work);

}    // namespace fitsnap_nn

#endif
