// A failure on one rank becomes a LAMMPS error on all ranks. Used by both shared objects, hence without Python.

#ifndef FITSNAP_NN_FAILING_RANK_H
#define FITSNAP_NN_FAILING_RANK_H

#include "comm.h"
#include "error.h"
#include "lammps.h"

#include <string>

// In Open MPI's ABI MPI_CHAR and the like are addresses of these variables, in MPICH's they are integers. As weak
// symbols they do not prevent the bootstrap from loading in another MPI, where its guards then refuse with a clear
// message.
#pragma weak ompi_mpi_char
#pragma weak ompi_mpi_int
#pragma weak ompi_mpi_op_min

namespace fitsnap_nn {

// Lowest rank with a non-empty `failure`, or the number of ranks if there is none. Collective.
inline int lowest_failing_rank(LAMMPS_NS::LAMMPS *lmp, const std::string &failure) {
  const int mine = failure.empty() ? lmp->comm->nprocs : lmp->comm->me;
  int lowest = mine;
  MPI_Allreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, lmp->world);
  return lowest;
}

// Raises a LAMMPS error on all ranks: `prefix` and the failure message of `rank`. Collective.
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
