// Python in this process: whether it is there, where its program and library are, and loading the library.

#ifndef FITSNAP_NN_INTERPRETER_H
#define FITSNAP_NN_INTERPRETER_H

#include <filesystem>

namespace fitsnap_nn {

// The folder of the shared object that this is compiled into.
std::filesystem::path plugin_folder();

// Makes Python's functions available to the shared objects that are loaded from here on. Returns the program whose
// Python is to be started, or an empty path where one is running already. Throws std::runtime_error if there is no
// program, or no library, of the version this was built for.
std::filesystem::path provide_python();

}    // namespace fitsnap_nn

#endif
