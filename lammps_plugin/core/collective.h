// What goes wrong on one rank ends all of them, with the same message and none waiting for another.

#ifndef FITSNAP_NN_COLLECTIVE_H
#define FITSNAP_NN_COLLECTIVE_H

#include "lammps.h"

#include <functional>
#include <string>

namespace fitsnap_nn {

// Raises a LAMMPS error on all ranks, with the failure of `rank`; called by all ranks.
[[noreturn]] void fail_everywhere(LAMMPS_NS::LAMMPS *lmp, int rank, const std::string &failure);

// Does `work` under Python's lock, on all ranks; where it throws on any of them, all raise the LAMMPS error of the
// lowest.
void call_on_all_ranks(LAMMPS_NS::LAMMPS *lmp, const std::function<void()> &work);

// The same on this rank alone: the message of what `work` threw, or nothing.
std::string failure_of(const std::function<void()> &work);

}    // namespace fitsnap_nn

#endif
