#include "core_library.h"

#include "find_function.h"
#include "interpreter.h"

#include "comm.h"
#include "error.h"
#include "lammps.h"

#include <dlfcn.h>
#include <stdexcept>
#include <string>

// Handles of Open MPI are variables. Weak, so that the guards can run, and refuse, in an MPI that has them not.
#pragma weak ompi_mpi_char
#pragma weak ompi_mpi_int
#pragma weak ompi_mpi_op_min

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

using CreatePair = decltype(fitsnap_nn_create_pair);
using StartPython = decltype(fitsnap_nn_start_python);

CreatePair *load_core() {
  const auto program = provide_python();
  const auto path = plugin_folder() / CORE;
  void *core = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!core)
    throw std::runtime_error(std::string("the core of the plugin cannot be loaded: ") + dlerror());
  const auto start_python = find_function<StartPython>("fitsnap_nn_start_python", core);
  const auto create_pair = find_function<CreatePair>("fitsnap_nn_create_pair", core);
  if (!start_python || !create_pair)
    throw std::runtime_error(path.string() + " is not the core of this plugin");
  if (!program.empty())
    start_python(program.c_str());
  return create_pair;
}

// Ends the run on all ranks with the words of the first rank that has any.
void fail_together(LAMMPS *lmp, std::string failure) {
  int me = lmp->comm->me, nprocs = lmp->comm->nprocs;
  int failing = failure.empty() ? nprocs : me;
  int first;
  MPI_Allreduce(&failing, &first, 1, MPI_INT, MPI_MIN, lmp->world);
  if (first == nprocs)
    return;
  int length = static_cast<int>(failure.size());
  MPI_Bcast(&length, 1, MPI_INT, first, lmp->world);
  failure.resize(length);
  MPI_Bcast(&failure[0], length, MPI_CHAR, first, lmp->world);
  lmp->error->all(FLERR, "fitsnap_nn on rank " + std::to_string(first) + ": " + failure);
}

}    // namespace

std::unique_ptr<InnerPair> create_python_pair(LAMMPS *lmp, int count, char **words) {
  static CreatePair *create = nullptr;
  std::string failure;
  try {
    if (!create)
      create = load_core();
  } catch (const std::exception &error) {
    failure = error.what();
  }
  fail_together(lmp, failure);
  return std::unique_ptr<InnerPair>(create(lmp, count, words));
}

}    // namespace fitsnap_nn
