#include "core_library.h"

#include "failing_rank.h"
#include "find_function.h"
#include "interpreter.h"

#include "comm.h"
#include "lammps.h"

#include <dlfcn.h>
#include <stdexcept>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

using CreatePair = decltype(fitsnap_nn_create_pair);
using StartPython = decltype(fitsnap_nn_start_python);

CreatePair *load_core() {
  const auto executable = load_python();
  const auto path = plugin_folder() / CORE;
  // RTLD_LOCAL: its symbols, among them copies of inline functions, must not replace those of other libraries.
  void *core = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!core)
    throw std::runtime_error(
        std::string(
            "the core of the plugin cannot be loaded, rebuild it with `python -m fitsnap_nn doctor --rebuild`: ") +
        dlerror());
  const auto start_python = find_function<StartPython>("fitsnap_nn_start_python", core);
  const auto create_pair = find_function<CreatePair>("fitsnap_nn_create_pair", core);
  if (!start_python || !create_pair)
    throw std::runtime_error(path.string() +
                             " is not the core of this plugin. Rebuild it: python -m fitsnap_nn doctor --rebuild");
  if (!executable.empty())
    start_python(executable.c_str());
  return create_pair;
}

}    // namespace

std::unique_ptr<InnerPair> create_python_pair(LAMMPS *lmp, int narg, char **arg) {
  static CreatePair *create = nullptr;
  std::string failure;
  try {
    if (!create)
      create = load_core();
  } catch (const std::exception &error) {
    failure = error.what();
  }
  const int failing = lowest_failing_rank(lmp, failure);
  if (failing < lmp->comm->nprocs)
    raise_failure_of(lmp, failing, failure, "fitsnap_nn on rank " + std::to_string(failing) + ": ");
  return std::unique_ptr<InnerPair>(create(lmp, narg, arg));
}

}    // namespace fitsnap_nn
