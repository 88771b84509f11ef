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

constexpr const char *EXECUTABLE_VARIABLE = "FITSNAP_NN_PYTHON";
constexpr const char *EXECUTABLE = "python" EXPECTED_PYTHON;
constexpr const char *LIBRARY = "libpython" EXPECTED_PYTHON ".so.1.0";

std::string environment_variable(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

// Python of the innermost environment that contains `folder`: usually the one that the plugin is installed in. It is
// found without an activated environment, as in batch jobs.
fs::path executable_above(fs::path folder) {
  for (; folder != folder.root_path(); folder = folder.parent_path())
    if (fs::exists(folder / "bin" / EXECUTABLE))
      return folder / "bin" / EXECUTABLE;
  return {};
}

fs::path executable_on_path() {
  std::istringstream folders(environment_variable("PATH"));
  for (std::string folder; std::getline(folders, folder, ':');)
    if (!folder.empty() && fs::exists(fs::path(folder) / EXECUTABLE))
      return fs::path(folder) / EXECUTABLE;
  return {};
}

fs::path find_executable() {
  std::string chosen = environment_variable(EXECUTABLE_VARIABLE);
  if (!chosen.empty())
    return chosen;
  fs::path folder = plugin_folder();
  for (const fs::path &executable : {executable_above(folder), executable_on_path()})
    if (!executable.empty())
      return executable;
  throw std::runtime_error("Python models need Python " EXPECTED_PYTHON
                           ", which is neither in an environment that contains " +
                           folder.string() + " nor on the PATH. Set " + EXECUTABLE_VARIABLE +
                           " to the python that has fitsnap_nn installed");
}

// The executable that a virtual environment is based on, or `executable` itself if it is not in one. Only the base
// installation has the shared library; pyvenv.cfg names its folder (key `home`, PEP 405).
fs::path base_executable(const fs::path &executable) {
  std::ifstream file(executable.parent_path().parent_path() / "pyvenv.cfg");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("home", 0) == 0 && line.find('/') != std::string::npos)
      return fs::path(line.substr(line.find('/'))) / EXECUTABLE;
  return executable;
}

void load_libpython(const fs::path &executable) {
  fs::path base = base_executable(executable);
  std::string reasons;
  // The executable may be a symbolic link, as /usr/local/bin/python3, into the prefix that holds the library.
  for (const fs::path &path : {base, fs::weakly_canonical(base)}) {
    fs::path prefix = path.parent_path().parent_path();
    for (const fs::path &folder : {prefix / "lib", prefix / "lib" / MULTIARCH, prefix / "lib64"}) {
      if (!fs::exists(folder / LIBRARY))
        continue;
      // Extension modules such as NumPy's are not linked to libpython: they need its symbols to be global.
      if (dlopen((folder / LIBRARY).c_str(), RTLD_NOW | RTLD_GLOBAL))
        return;
      reasons += std::string(" (") + dlerror() + ")";
    }
  }
  throw std::runtime_error("the Python of " + executable.string() + " has no shared library " + LIBRARY + reasons +
                           ". Run LAMMPS from Python instead: " + executable.string() + " -m fitsnap_nn lmp -in FILE");
}

void check_version(const std::string &version) {
  if (version.rfind(EXPECTED_PYTHON ".", 0) != 0)
    throw std::runtime_error("the plugin was built for Python " EXPECTED_PYTHON ", but this process runs Python " +
                             version.substr(0, version.find(' ')) +
                             ". Rebuild it with that Python: python -m fitsnap_nn doctor --rebuild");
}

}    // namespace

fs::path plugin_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void *>(&plugin_folder), &info))
    throw std::runtime_error("the dynamic loader does not report the path of the plugin");
  return fs::absolute(info.dli_fname).lexically_normal().parent_path();
}

fs::path load_python() {
  auto is_initialized = find_function<PyIsInitialized>("Py_IsInitialized");
  fs::path executable;
  if (!is_initialized || !is_initialized())
    executable = find_executable();
  if (!is_initialized)
    load_libpython(executable);
  check_version(find_function<PyGetVersion>("Py_GetVersion")());
  return executable;
}

}    // namespace fitsnap_nn
