// What fails on one rank ends all of them with its message: for both shared objects of the plugin, so without Python.

#ifndef FITSNAP_NN_FAILING_RANK_H
#define FITSNAP_NN_FAILING_RANK_H

#include "comm.h"
#include "error.h"
#include "lammps.h"

#include <string>

// Handles of Open MPI are variables. Weak, so that the bootstrap's guards can run, and refuse, in an MPI that has them
// not.
#pragma weak ompi_mpi_char
#pragma weak ompi_mpi_int
#pragma weak ompi_mpi_op_min

namespace fitsnap_nn {

// The lowest rank whose failure has any words, or the number of ranks where none has; called by all ranks.
inline int lowest_failing_rank(LAMMPS_NS::LAMMPS *lmp, const std::string &failure) {
  const int mine = failure.empty() ? lmp->comm->nprocs : lmp->comm->me;
  int lowest = mine;
  MPI_Allreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, lmp->world);
  return lowest;
}

// Raises a LAMMPS error on all ranks, with the failure of `rank` after a prefix; called by all ranks.
[[noreturn]] inline void raise_failure_of(LAMMPS_NS::LAMMPS *lmp, int rank, std::string failure,
                                          const std::string &prefix) {
  int length = static_cast<int>(failure.size());
  MPI_Bcast(&length, 1, MPI_INT, rank, lmp->world);
  failure.resize(length);
  MPI_Bcast(failure.data(), length, MPI_CHAR, rank, lmp->world);
  lmp->error->all(FLERR, prefix + failure);
}

}    // namespace fitsnap_nn

#endif
