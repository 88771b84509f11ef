// Functions that are resolved when needed: a missing one must not keep the plugin from loading.

#ifndef FITSNAP_NN_FIND_FUNCTION_H
#define FITSNAP_NN_FIND_FUNCTION_H

#include <dlfcn.h>

namespace fitsnap_nn {

// A C function of a shared object, by default of any in this process. Null if there is none.
template <typename Function> Function *find_function(const char *name, void *library = RTLD_DEFAULT) {
  return reinterpret_cast<Function *>(dlsym(library, name));
}

}    // namespace fitsnap_nn

#endif
