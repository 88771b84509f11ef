// Functions that are looked for when they are needed, because without them the plugin must still load.

#ifndef FITSNAP_NN_FIND_FUNCTION_H
#define FITSNAP_NN_FIND_FUNCTION_H

#include <dlfcn.h>

namespace fitsnap_nn {

// A C function of a shared object, or of any in this process; null if there is none.
template <typename Function> Function *find_function(const char *name, void *library = RTLD_DEFAULT) {
  return reinterpret_cast<Function *>(dlsym(library, name));
}

}    // namespace fitsnap_nn

#endif
