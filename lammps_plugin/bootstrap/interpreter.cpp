#include "interpreter.h"

#include "find_function.h"

#include <cstdlib>
#include <dlfcn.h>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace fs = std::filesystem;

namespace fitsnap_nn {
namespace {

using PyIsInitialized = int();
using PyGetVersion = const char *();

constexpr const char *CHOICE = "FITSNAP_NN_PYTHON";
constexpr const char *PROGRAM = "python" EXPECTED_PYTHON;
constexpr const char *LIBRARY = "libpython" EXPECTED_PYTHON ".so.1.0";

std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

// The program that belongs to the first folder above this file which is an environment of Python.
fs::path program_above(fs::path folder) {
  for (; folder != folder.root_path(); folder = folder.parent_path())
    if (fs::exists(folder / "bin" / PROGRAM))
      return folder / "bin" / PROGRAM;
  return {};
}

fs::path program_on_path() {
  std::istringstream folders(environment("PATH"));
  for (std::string folder; std::getline(folders, folder, ':');)
    if (!folder.empty() && fs::exists(fs::path(folder) / PROGRAM))
      return fs::path(folder) / PROGRAM;
  return {};
}

fs::path find_program() {
  std::string chosen = environment(CHOICE);
  if (!chosen.empty())
    return chosen;
  fs::path folder = plugin_folder();
  for (const fs::path &program : {program_above(folder), program_on_path()})
    if (!program.empty())
      return program;
  throw std::runtime_error("the model needs Python " EXPECTED_PYTHON ", which is neither above " + folder.string() +
                           " nor on the PATH; set " + CHOICE + " to the python that has fitsnap_nn installed");
}

// The program that the virtual environment of another was made from, or that one itself where it is in none.
fs::path base_program(const fs::path &program) {
  std::ifstream file(program.parent_path().parent_path() / "pyvenv.cfg");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("home", 0) == 0 && line.find('/') != std::string::npos)
      return fs::path(line.substr(line.find('/'))) / PROGRAM;
  return program;
}

void load_library(const fs::path &program) {
  fs::path base = base_program(program);
  std::string reasons;
  for (const fs::path &path : {base, fs::weakly_canonical(base)}) {
    fs::path prefix = path.parent_path().parent_path();
    for (const fs::path &folder : {prefix / "lib", prefix / "lib" / MULTIARCH, prefix / "lib64"}) {
      if (!fs::exists(folder / LIBRARY))
        continue;
      // Global, for the extension modules that Python loads later.
      if (dlopen((folder / LIBRARY).c_str(), RTLD_NOW | RTLD_GLOBAL))
        return;
      reasons += std::string(" (") + dlerror() + ")";
    }
  }
  throw std::runtime_error("the Python of " + program.string() + " has no shared library " + LIBRARY + reasons +
                           "; run LAMMPS from Python instead: " + program.string() + " -m fitsnap_nn lmp -in FILE");
}

void check_version(const std::string &version) {
  if (version.rfind(EXPECTED_PYTHON ".", 0) != 0)
    throw std::runtime_error("the plugin was built for Python " EXPECTED_PYTHON ", but the one in this process is " +
                             version.substr(0, version.find(' ')) +
                             "; build it with that one: python -m fitsnap_nn doctor --rebuild");
}

}    // namespace

fs::path plugin_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void *>(&plugin_folder), &info))
    throw std::runtime_error("the dynamic loader does not say where the plugin is");
  return fs::absolute(info.dli_fname).lexically_normal().parent_path();
}

fs::path provide_python() {
  auto is_initialized = find_function<PyIsInitialized>("Py_IsInitialized");
  fs::path program;
  if (!is_initialized || !is_initialized())
    program = find_program();
  if (!is_initialized)
    load_library(program);
  check_version(find_function<PyGetVersion>("Py_GetVersion")());
  return program;
}

}    // namespace fitsnap_nn
