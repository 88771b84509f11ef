// Finds the Python executable and loads its shared library, if no Python is in this process yet.

#ifndef FITSNAP_NN_INTERPRETER_H
#define FITSNAP_NN_INTERPRETER_H

#include <filesystem>

namespace fitsnap_nn {

// Folder of the shared object that contains this function.
std::filesystem::path plugin_folder();

// Makes Python's functions available to shared objects that are loaded afterwards. Returns the executable whose
// interpreter is to be started, or an empty path if one is already running. Throws std::runtime_error if no executable
// or library of the version is found that the plugin was built for.
std::filesystem::path load_python();

}    // namespace fitsnap_nn

#endif
