#include "collective.h"

#include "python_object.h"

#include "comm.h"
#include "error.h"

namespace fitsnap_nn {

void fail_everywhere(LAMMPS_NS::LAMMPS *lmp, int rank, std::string failure) {
  int length = static_cast<int>(failure.size());
  MPI_Bcast(&length, 1, MPI_INT, rank, lmp->world);
  failure.resize(length);
  MPI_Bcast(failure.data(), length, MPI_CHAR, rank, lmp->world);
  if (lmp->comm->nprocs > 1)
    failure = "on rank " + std::to_string(rank) + ": " + failure;
  lmp->error->all(FLERR, failure);
}

void call_on_all_ranks(LAMMPS_NS::LAMMPS *lmp, const std::function<void()> &work) {
  const std::string failure = failure_of(work);
  const int mine = failure.empty() ? lmp->comm->nprocs : lmp->comm->me;
  int lowest = mine;
  MPI_Allreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, lmp->world);
  if (lowest < lmp->comm->nprocs)
    fail_everywhere(lmp, lowest, failure);
}

std::string failure_of(const std::function<void()> &work) {
  const GilGuard lock;
  try {
    work();
  } catch (const std::exception &error) {
    const std::string message = error.what();
    return message.empty() ? "an error without a message" : message;
  }
  return {};
}

}    // namespace fitsnap_nn
