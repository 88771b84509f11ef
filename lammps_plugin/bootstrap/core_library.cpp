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
  const int failing = lowest_failing_rank(lmp, failure);
  if (failing < lmp->comm->nprocs)
    raise_failure_of(lmp, failing, failure, "fitsnap_nn on rank " + std::to_string(failing) + ": ");
  return std::unique_ptr<InnerPair>(create(lmp, count, words));
}

}    // namespace fitsnap_nn
