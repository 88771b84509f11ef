#include "collective.h"

#include "failing_rank.h"
#include "python_object.h"

#include "comm.h"

namespace fitsnap_nn {

void error_on_all_ranks(LAMMPS_NS::LAMMPS *lmp, int rank, const std::string &failure) {
  raise_failure_of(lmp, rank, failure, lmp->comm->nprocs > 1 ? "on rank " + std::to_string(rank) + ": " : "");
}

void call_on_all_ranks(LAMMPS_NS::LAMMPS *lmp, const std::function<void()> &work) {
  const std::string failure = error_of(work);
  const int failing = lowest_failing_rank(lmp, failure);
  if (failing < lmp->comm->nprocs)
    error_on_all_ranks(lmp, failing, failure);
}

std::string error_of(const std::function<void()> &work) {
  const GilGuard lock;
  try {
    work();
  } catch (const std::exception &error) {
    // An empty message means success to the callers.
    const std::string message = error.what();
    return message.empty() ? "an exception without a message" : message;
  }
  return {};
}

}    // namespace fitsnap_nn
